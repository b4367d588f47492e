# SPDX-License-Identifier: Apache-2.0
"""nnU-Net from strokes, with and without pseudo-labels, and from dense masks: equal iterations from one common start::

    python -m tests.benchmarks.nnunet data/hippocampus_0.3/dataset.json --start 400 --iterations 400

Of a data list with strokes and masks, two raw data sets; one plan, with a network of --features; for each seed a start
of nnU-Net's own partial loss with padding as void, and from its weights, with a new optimiser and the same patches:

    partial     nnU-Net's partial loss, padding as void
    stock       the same as it comes, padding as background
    cross       with pseudo-labels, the defaults of the trainer
    collision   the same with H = collision_cross_entropy
    dense       nnU-Net's own trainer on dense masks

Dice of each class over the list's validation cases on their masks, by nnU-Net's own sliding window, without mirrored
images, and by one function for all. Rows are appended to --output as they come, and rows that are there are not run
again. Needs the extra nnunet.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

ARMS = ("partial", "stock", "collision", "cross", "dense")
STROKES, DENSE = 501, 502
_OWN = {  # of our trainer
    "partial": {"eta": 0},
    "collision": {"cross_entropy": "collision_cross_entropy"},
    "cross": {"cross_entropy": "cross_entropy"},
}


def prepare(datalist: Path, folder: Path, features: list[int], batch: int) -> None:
    """Both data sets, planned once, and preprocessed."""
    from nnunetv2.experiment_planning.plan_and_preprocess_api import extract_fingerprints, plan_experiments, preprocess

    from data_prep.__main__ import main

    for number, key in ((STROKES, "scribble"), (DENSE, "label")):
        name = f"Dataset{number}_{key}"
        if (folder / "preprocessed" / name / "done").exists():
            continue
        words = ["nnunet_raw", str(datalist), "--from", key, "--workers", "1", "--output", str(folder / "raw" / name)]
        if not (folder / "raw" / name / "dataset.json").exists() and main(words):
            raise SystemExit(1)
        extract_fingerprints([number], num_processes=1)
        plan_experiments([number])
        path = folder / "preprocessed" / name / "nnUNetPlans.json"
        plans = json.loads(path.read_text())
        configuration = plans["configurations"]["3d_fullres"]
        network = configuration["architecture"]["arch_kwargs"]
        wide = [*features, *features[-1:] * network["n_stages"]][: network["n_stages"]]
        network["features_per_stage"], configuration["batch_size"] = wide, batch
        path.write_text(json.dumps(plans))
        preprocess([number], configurations=["3d_fullres"], num_processes=[1])
        (path.parent / "done").touch()


def trainer_of(arm: str, seed: int) -> Any:
    """The trainer of an arm, from a seed."""
    from nnunetv2.run.run_training import get_trainer_from_args
    from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

    np.random.seed(seed)
    torch.manual_seed(seed)
    own = arm in _OWN
    os.environ["nnUNet_self_labeling"] = json.dumps(_OWN.get(arm, {}))
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    name = "nnUNetTrainerSelfLabeling" if own else nnUNetTrainer.__name__
    trainer = get_trainer_from_args(str(DENSE if arm == "dense" else STROKES), "3d_fullres", 0, name, device=device)
    trainer.disable_checkpointing = True
    trainer.initialize()
    return trainer


def train(trainer: Any, iterations: int, epoch: int) -> list[list[float]]:
    """Train for so many iterations, in epochs; the mean of −ln σ of each class' seeds by epoch, of our trainer."""
    trainer.num_epochs, seeds = max(1, iterations // epoch), []
    loader, _ = trainer.get_dataloaders()
    for trainer.current_epoch in range(trainer.num_epochs):
        trainer.network.train()
        trainer.lr_scheduler.step(trainer.current_epoch)
        trainer.loss.train()
        for _ in range(epoch):
            trainer.train_step(next(loader))
        if hasattr(trainer.loss, "conclude"):
            seeds.append([round(x, 3) for x in trainer.loss.conclude(trainer.device)])
            print(trainer.current_epoch, "active" if trainer.loss.active else "waits", seeds[-1], flush=True)
    return seeds


def dice(trainer: Any, dense: Path, classes: int) -> list[float]:
    """Of each class but the background, mean over validation cases that have it; masks as they were preprocessed."""
    from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor

    predictor = nnUNetPredictor(0.5, True, use_mirroring=False, device=trainer.device, allow_tqdm=False)
    predictor.manual_initialization(
        trainer.network, trainer.plans_manager, trainer.configuration_manager, None, trainer.dataset_json, "", None
    )
    trainer.network.eval()
    trainer.set_deep_supervision_enabled(False)
    names = trainer.do_split()[1]
    own, masks = (trainer.dataset_class(str(path), names) for path in (trainer.preprocessed_dataset_folder, dense))
    scores = []
    for name in names:
        image, mask = own.load_case(name)[0], masks.load_case(name)[1]
        found = predictor.predict_sliding_window_return_logits(torch.from_numpy(np.array(image[:]))).argmax(0).cpu()
        truth = torch.from_numpy(np.array(mask[:]))[0]
        pairs = [(found == k, truth == k) for k in range(1, classes)]
        scores.append([float(2 * (a & b).sum() / (a.sum() + b.sum())) if b.any() else np.nan for a, b in pairs])
    trainer.set_deep_supervision_enabled(True)
    return [round(float(score), 4) for score in np.nanmean(scores, 0)]


def main() -> None:
    """Run what is not there yet, and print it."""
    formatter = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=formatter)
    parser.add_argument("datalist", type=Path)
    parser.add_argument("--folder", type=Path, default=Path("output/nnunet"), help="of nnU-Net's three")
    parser.add_argument("--output", type=Path, help="default: results.jsonl in the folder")
    parser.add_argument("--arms", nargs="+", choices=ARMS, default=ARMS)
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1])
    parser.add_argument("--start", type=int, default=400, help="iterations of the common start")
    parser.add_argument("--iterations", type=int, default=400, help="of each arm")
    parser.add_argument("--epoch", type=int, default=20, help="iterations")
    parser.add_argument(
        "--features", nargs="+", type=int, default=[8, 16, 32, 64], help="a stage, the last one for more"
    )
    parser.add_argument("--batch", type=int, default=2)
    told = parser.parse_args()
    folder = told.folder.absolute()
    os.environ |= {f"nnUNet_{name}": str(folder / name) for name in ("raw", "preprocessed", "results")}
    os.environ |= {"nnUNet_n_proc_DA": "1", "nnUNet_extTrainer": str(_external())}
    prepare(told.datalist, folder, told.features, told.batch)
    os.environ["nnUNet_n_proc_DA"] = "0"
    output = told.output or folder / "results.jsonl"
    settings = {name: getattr(told, name) for name in ("start", "iterations", "epoch", "features", "batch")}
    lines = output.read_text().splitlines() if output.exists() else []
    done = [(row["arm"], row["seed"], row["settings"]) for row in map(json.loads, lines)]
    for seed in told.seeds:
        start = folder / f"start_{seed}_{told.start}_{'-'.join(map(str, told.features))}.pt"
        for arm in ["start", *told.arms]:
            if (arm, seed, settings) in done and (arm != "start" or start.exists()):
                continue
            began, trainer = time.process_time(), trainer_of("partial" if arm == "start" else arm, seed)
            if arm != "start":
                trainer.network.load_state_dict(torch.load(start, weights_only=True))
            seeds = train(trainer, told.start if arm == "start" else told.iterations, told.epoch)
            if arm == "start":
                torch.save(trainer.network.state_dict(), start)
            spent = round(time.process_time() - began, 1)
            masks = folder / "preprocessed" / f"Dataset{DENSE}_label" / "nnUNetPlans_3d_fullres"
            scores = dice(trainer, masks, len(trainer.label_manager.all_labels))
            row = {"arm": arm, "seed": seed, "dice": scores, "mean": round(float(np.mean(scores)), 4), "cpu_s": spent}
            print(json.dumps(row), flush=True)
            with output.open("a") as file:
                file.write(json.dumps(row | {"settings": settings, "seeds": seeds}) + "\n")


def _external() -> Path:
    import medwsss.nnunet

    return Path(medwsss.nnunet.__file__).parent / "external"


if __name__ == "__main__":
    main()
