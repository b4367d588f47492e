# SPDX-License-Identifier: Apache-2.0
"""The bundle trains: in 3-D and 2-D, with every method, on every kind of file."""

from __future__ import annotations

import json
import math
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch
from monai.transforms import Compose
from PIL import Image

from medwsss.keys import UNLABELED, VOID
from medwsss.terms.simplex import seed_mask
from tests.bundles.bundle import TINY, execute, read, train, workflow


def of(flow, name):
    return flow.parser.get_parsed_content(name)


def losses(output):
    """Training loss of every iteration, from TensorBoard's file."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(output / "tensorboard")).Reload()
    return [event.value for event in events.Scalars("train_loss")]


def test_output(trained):
    """What the report promises exists, and is what MONAI's tools take."""
    report = json.loads((trained / "report.json").read_text())
    assert report["files"].keys() == {"best model", "checkpoints", "TensorBoard", "pictures"}
    for files in report["files"].values():
        assert files and all(Path(file).exists() for file in files)
    rows = report["validation"]["Dice"]
    assert list(rows) == ["organ", "neighbour", "mass", "vessel", "mean"]
    assert rows["mean"] == pytest.approx(sum(list(rows.values())[:-1]) / 4)
    state = torch.load(trained / "model.pt", weights_only=True)
    assert all(isinstance(value, torch.Tensor) for value in state.values())
    assert len(list((trained / "pictures").rglob("*.png"))) > 0
    assert all(math.isfinite(loss) for loss in losses(trained))


def test_pseudo_labels_begin_after_warm_up(study, tmp_path):
    flow = train(study, tmp_path)
    handler = of(flow, "pseudo_labels")
    assert handler.active
    metrics = of(flow, "train#trainer").state.metrics
    assert metrics["solver_energy_after"] < metrics["solver_energy_before"]
    assert metrics["solver_steps"] >= 1


@pytest.mark.usefixtures("without_pictures")
def test_held_out_seeds(study, tmp_path):
    """They ride along with the scribble, never train, and score network and pseudo-labels."""
    flow = train(study, tmp_path, held_out_share=0.4)
    held_out = {"held_out_network", "held_out_pseudo_label"}
    figures = json.loads((tmp_path / "report.json").read_text())["last_epoch"]
    assert held_out | {"decided_by_seeds"} <= figures.keys() and all(0 <= figures[name] <= 1 for name in held_out)
    assert held_out <= of(flow, "train#trainer").state.metrics.keys()
    for batch in of(flow, "train#dataloader"):
        assert batch["held_out"].shape == batch["scribble"].shape
        aside, outside = seed_mask(batch["held_out"]), batch["held_out"] == VOID
        assert aside.any() and (batch["scribble"][aside] == UNLABELED).all()
        assert torch.equal(outside, batch["scribble"] == VOID)  # augmented alike


@pytest.mark.usefixtures("without_pictures")
@pytest.mark.parametrize("share", [0.0, 0.4])
def test_a_list_without_masks(study, tmp_path, share):
    """Nothing or held-out strokes to validate on; the model is the last epoch's, or the best of those."""
    content = json.loads((study / "dataset.json").read_text())
    items = [{k: str(study / item[k]) for k in ("image", "scribble")} for item in content["training"]]
    del content["validation"]
    (tmp_path / "list.json").write_text(json.dumps({**content, "training": items}))
    given = {"datalist": str(tmp_path / "list.json"), "allow_outside": True, "held_out_share": share}
    flow = train(study, tmp_path / "out", **given, epochs=1, warmup_epochs=1)
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    state = torch.load(tmp_path / "out" / "model.pt", weights_only=True)
    assert all(torch.equal(state[name], value) for name, value in of(flow, "network").state_dict().items())
    if not share:
        assert (report["validated_on"], report["validation"]) == ("nothing", {})
        return
    assert report["validated_on"] == "held-out strokes" and list(report["validation"]) == ["Dice"]
    assert of(flow, "validate#evaluator").state.key_metric_name == "val_dice_on_strokes"  # in logs and TensorBoard
    for trained, tested in zip(of(flow, "train#dataset").data, of(flow, "validate#dataset")):
        assert trained["scribble"].endswith(Path(tested["label"].meta["filename_or_obj"]).name)
        seeds = seed_mask(tested["label"])
        kept = of(flow, "hold_out")(of(flow, "load_training")(trained) | {})["scribble"]
        assert seeds.any() and (kept[seeds] == UNLABELED).all()


def test_what_the_list_declares_trains(tmp_path, study):
    """Classes in other numbers, told by the list alone; slices lie across the first axis of one volume."""
    content = json.loads((study / "dataset.json").read_text())
    numbers = np.arange(256)
    numbers[[0, 1, 2, 3, 4, UNLABELED]] = [0, 1, 2, 4, 9, 77]
    for section in "training", "validation":
        for index, item in enumerate(content[section]):
            for key in item.keys() & {"image", "scribble", "label"}:
                image = nib.load(study / item[key])
                array, affine = np.asarray(image.dataobj), image.affine
                array = array if key == "image" else numbers[array].astype(np.uint8)
                if index == 0:
                    array, affine = array.transpose(2, 0, 1), affine[:, [2, 0, 1, 3]]
                (tmp_path / item[key]).parent.mkdir(exist_ok=True)
                nib.save(nib.Nifti1Image(array, affine), tmp_path / item[key])
    content["labels"] = {"0": "background", "1": "a", "2": "b", "4": "c", "9": "d"}
    content |= {"ignore_values": [77]}
    (tmp_path / "dataset.json").write_text(json.dumps(content))
    flows = [workflow("train", **TINY, dataset_dir=str(d), output_dir=str(tmp_path / "out")) for d in (study, tmp_path)]
    for flow in flows:
        flow.initialize()
    for name in "train#deterministic_transforms", "validate#preprocessing":
        steps = [of(flow, name) for flow in flows]
        items = [of(flow, "train_items" if name.startswith("train") else "val_items")[0] for flow in flows]
        plain, other = (Compose(s)(item) for s, item in zip(steps, items))
        key = "scribble" if name.startswith("train") else "label"
        assert torch.equal(plain[key], other[key]) and torch.equal(plain["image"], other["image"])
        assert torch.allclose(plain["image"].pixdim, other["image"].pixdim)
    assert of(flows[1], "class_names") == ["background", "a", "b", "c", "d"]
    assert of(flows[0], "spacing") == of(flows[1], "spacing")


def test_slices(trained_slices):
    state = torch.load(trained_slices / "model.pt", weights_only=True)
    assert {value.ndim for name, value in state.items() if name.endswith("conv.weight")} == {4}
    assert len(losses(trained_slices)) == 6


@pytest.mark.usefixtures("without_pictures")
@pytest.mark.parametrize("method, dims", [("pce", 3), ("gd", 2), ("full", 3)])
def test_methods(study, tmp_path, method, dims):
    changes = {k: v for k, v in TINY.items() if k != "warmup_epochs"}  # the overlay's business
    changes |= {"patch_size": [16, 16, 8][:dims], "spatial_dims": dims}
    where = {"dataset_dir": str(study), "output_dir": str(tmp_path)}
    flow = execute(workflow("train", method, **changes, **where))
    assert "solver_steps" not in of(flow, "train#trainer").state.metrics  # no pseudo-labels
    assert (tmp_path / "model.pt").exists()
    if method == "full":
        batch = next(iter(of(flow, "train#dataloader")))
        assert not (batch["scribble"] == UNLABELED).any()


@pytest.mark.usefixtures("without_pictures")
@pytest.mark.parametrize(
    "options",
    [
        {"cross_entropy": "cross_entropy", "relaxation": "bilinear", "dice_weight": 0.5},
        {"cross_entropy": "reverse_cross_entropy", "relaxation": "quadratic", "connectivity": 2},
        {"cross_entropy": "quadratic", "relaxation": "log_quadratic", "bandwidth": "auto", "spacing": None},
        {"solver_eta": 0.1, "warmup_loss": 10.0},
        {"solver": {"_target_": "medwsss.solvers.GradientDescent", "energy": "@energy", "steps": 5}},
    ],
    ids=lambda options: "-".join(map(str, options)),
)
def test_names_one_may_override(study, tmp_path, options):
    flow = train(study, tmp_path, **{"epochs": 2, "val_interval": 2, **options})
    assert of(flow, "train#trainer").state.metrics["solver_steps"] >= 1
    assert all(math.isfinite(loss) for loss in losses(tmp_path))


def test_padding_is_void(study, tmp_path):
    """A volume smaller than the patch is padded by VOID, which is no class to learn."""
    flow = train(study, tmp_path, patch_size=[32, 32, 16])
    batch = next(iter(of(flow, "train#dataloader")))
    padded = batch["image"].shape[2:].numel() - 24 * 24 * 8
    assert batch["scribble"].shape[2:] == (32, 32, 16)
    assert ((batch["scribble"] == VOID).flatten(1).sum(1) >= padded // 2).all()


# ---- other studies


def write_study(folder, suffix, shape, spacing=1.0, seedless=()):
    """Three training cases and a validation case of two classes: a bright box in the dark."""
    rng = np.random.default_rng(0)
    items = {"training": [], "validation": []}
    for index in range(4):
        label = np.zeros(shape, np.uint8)
        label[tuple(slice(n // 4, 3 * n // 4) for n in shape)] = 1
        image = (60 + 120 * label + rng.integers(0, 20, shape)).astype(np.uint8)
        scribble = np.where(rng.random(shape) < 0.1, label, UNLABELED).astype(np.uint8)
        if index in seedless:
            scribble[:] = UNLABELED
        files = {}
        for key, array in {"image": image, "label": label, "scribble": scribble}.items():
            path = folder / f"{key}_{index}{suffix}"
            if suffix == ".png":
                Image.fromarray(array).save(path)
            else:
                nib.save(nib.Nifti1Image(array, np.diag([spacing] * 3 + [1.0])), path)
            files[key] = path.name
        items["training" if index < 3 else "validation"].append(files)
    (folder / "dataset.json").write_text(json.dumps(items))
    return folder


@pytest.mark.usefixtures("without_pictures")
@pytest.mark.parametrize("suffix", [".png", ".nii.gz"])
def test_flat_images(tmp_path, suffix):
    study = write_study(tmp_path, suffix, (24, 20))
    changes = {"spatial_dims": 2, "patch_size": [16, 16], "num_classes": 2, "epochs": 12, "val_interval": 12}
    flow = train(study, tmp_path / "output", **changes)
    report = json.loads((tmp_path / "output" / "report.json").read_text())
    assert list(report["validation"]["Dice"]) == ["class 1", "mean"]
    assert of(flow, "validate#evaluator").state.best_metric > 0.5  # no network that guesses gets there


@pytest.mark.usefixtures("without_pictures")
def test_case_without_seeds(tmp_path):
    """Warned of, and worth 0: no batch is skipped, no loss is NaN."""
    study = write_study(tmp_path, ".nii", (16, 16, 8), seedless=[1])
    with pytest.warns(UserWarning, match="expected seeds, got none: .*scribble_1.nii"):
        flow = train(study, tmp_path / "output", num_classes=2, batch_size=1, samples_per_volume=1)
    assert of(flow, "train#trainer").state.skipped_batches == 0
    values = losses(tmp_path / "output")
    assert all(math.isfinite(loss) for loss in values)
    assert values[:3].count(0) == 1  # the warm-up epoch: three cases, one of them without a seed


def test_typical_spacing_reaches_the_pair_weights(tmp_path, study):
    flow = workflow("train", **TINY, dataset_dir=str(study), output_dir=str(tmp_path))
    flow.initialize()
    assert list(of(flow, "neighborhood").spacing) == pytest.approx([1, 1, 2.5])


def test_the_default_study_is_made_when_absent(tmp_path, monkeypatch):
    """From a fresh clone there is no data; the default of ``dataset_dir`` is relative to where one is."""
    monkeypatch.chdir(tmp_path)
    made = []
    monkeypatch.setattr("data_prep.phantom.make_phantom_study", lambda folder: made.append(folder) or Path("made"))
    flow = workflow("train")
    flow.parser.parse()
    assert of(flow, "datalist") == Path("made") and made == [read("train")["dataset_dir"]]
