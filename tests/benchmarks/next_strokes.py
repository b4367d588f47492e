# SPDX-License-Identifier: Apache-2.0
"""Whether strokes drawn where ``medwsss advise`` says help more than as many voxels of strokes drawn elsewhere.

    python -m tests.benchmarks.next_strokes --seeds 0 1 2

A few cases get short strokes on some slices, and a network is trained on them. Then somebody draws more, by the dense
masks: in the regions that are advised, the best first (``advised``); on slices of the same cases drawn by lot
(``random``); on slices of one more case (``another case``). Each of these trains on from the first network for as many
iterations, as does one that gets nothing. Shares are of the voxels of the first strokes, and all three get exactly as
many: the last stroke is cut off there, and where every place has its stroke, each gets another one. Scores are mean
Dice of validation cases, one a patient. Each run is done once; the report, ``docs/benchmarks/next_strokes.json`` and
``.png``, is written anew after each.
"""

from __future__ import annotations

import argparse
import random
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import count, product
from pathlib import Path
from typing import Any, NamedTuple

import nibabel as nib
import numpy as np
import torch

from medwsss.advice.command import advise
from medwsss.experiments.data import bundle_files
from medwsss.experiments.runs import command, epochs, parsed, run
from medwsss.files import read_json, write_json
from medwsss.keys import UNLABELED
from medwsss.reports.curves import curves
from medwsss.study.datalist import label_names, patient_of
from medwsss.transforms import SimulateScribble
from tests.benchmarks.report import machine

ARMS = ("advised", "random", "another case")
RESULT = Path("docs/benchmarks/next_strokes.json")
Piece = tuple[int, np.ndarray]  # of a case: where to draw


class Study(NamedTuple):
    """A study, how its first strokes are drawn, and how long a run on it is."""

    overlay: str
    start: dict[str, Any]  #: of :py:class:`medwsss.transforms.SimulateScribble`
    mask: str  #: key of the dense masks
    cases: int  #: with first strokes
    iterations: int  #: of each run
    options: dict[str, Any]


STUDIES = {
    "hippocampus": Study("hippocampus", {"length_ratio": 0.3, "slice_step": 8}, "label", 8, 200, {}),
    "acdc": Study(
        "acdc",
        {"length_ratio": 0.3, "slice_step": 3},
        "mask",
        8,
        320,
        {"samples_per_volume": 2, "batch_size": 4, "channels": [8, 16, 32, 64], "learning_rate": 0.004},
    ),
}


class Case:
    """A training case whose strokes grow."""

    def __init__(self, folder: Path, item: dict[str, Any], study: Study) -> None:
        self.image = str((folder / item["image"]).resolve())
        self.name = Path(item["image"]).name
        file = nib.load(folder / item[study.mask])
        self.mask, self.affine = np.asarray(file.dataobj).astype(np.uint8), file.affine
        self.scribble = np.full(self.mask.shape, UNLABELED, np.uint8)

    def draw(self, where: np.ndarray, seed: int, most: int | None = None, **how: Any) -> int:
        """Draw into the mask's regions ``where`` asked, so many voxels at most; returns how many are new."""
        dense = torch.from_numpy(np.where(where, self.mask, UNLABELED))[None]
        simulate = SimulateScribble(int(self.mask.max()) + 1, **how).set_random_state(seed)
        strokes = simulate(dense)[0].numpy()
        new = np.argwhere((strokes != UNLABELED) & (self.scribble == UNLABELED))[:most]
        self.scribble[tuple(new.T)] = strokes[tuple(new.T)]
        return len(new)


def patients(items: Sequence[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """One item of each patient."""
    return {patient_of(item)[0]: item for item in items}


def slices_of(cases: Sequence[Case], numbers: Sequence[int], lot: random.Random) -> Iterator[Piece]:
    """All slices of these cases, by lot."""
    every = [(k, z) for k in numbers for z in range(cases[k].mask.shape[-1])]
    for k, z in lot.sample(every, len(every)):
        where = np.zeros(cases[k].mask.shape, bool)
        where[..., z] = True
        yield k, where


def advised(cases: Sequence[Case], folder: Path, output: Path) -> Iterator[Piece]:
    """Regions that the run of this folder advises, the best first."""
    written = output / "next_strokes.json"
    report = read_json(written) if written.exists() else advise(folder, output, regions=40)
    names = {case.name.split(".")[0]: k for k, case in enumerate(cases)}
    for region in report["regions"]:
        numbers = np.asarray(nib.load(output / "masks" / f"{region['case']}.nii.gz").dataobj)
        yield names[region["case"]], numbers == region["number"]


def add_strokes(cases: Sequence[Case], pieces: Callable[[], Iterator[Piece]], voxels: int, seed: int) -> int:
    """Draw piece after piece, round after round, until there are so many new voxels; returns how many there are.

    Raises:
        ValueError: when a round finds no room.
    """
    drawn = 0
    for number in count():
        before = drawn
        for k, where in pieces():
            if drawn == voxels:
                return drawn
            drawn += cases[k].draw(where, seed + number, voxels - drawn)
        if drawn == before:
            raise ValueError(f"expected room for {voxels} voxels of strokes, got {drawn}")
    return drawn


def write_study(cases: Sequence[Case], source: Path, study: Study, folder: Path) -> Path:
    """A data list of the cases that have strokes, and of the source's validation cases."""
    content = read_json(source / "dataset.json")
    training = []
    for case in cases:
        if (case.scribble != UNLABELED).any():
            path = folder / "scribbles" / case.name
            path.parent.mkdir(parents=True, exist_ok=True)
            nib.save(nib.Nifti1Image(case.scribble, case.affine), path)
            training.append({"image": case.image, "scribble": f"scribbles/{case.name}"})
    validation = [
        {"image": str((source / item["image"]).resolve()), "label": str((source / item["label"]).resolve())}
        for item in patients(content["validation"]).values()
    ]
    names = label_names(content)
    lists = {"labels": {str(k): name for k, name in names.items()}, "training": training, "validation": validation}
    write_json(lists, folder / "dataset.json")
    return folder


def train(folder: Path, overlay: str, options: dict[str, Any], iterations: int, facts: dict[str, Any]) -> Any:
    """A run of so many iterations on the study of this folder."""
    files = bundle_files("scribble", [overlay])
    options = {"dataset_dir": str(folder), "allow_outside": True, **options}
    options["epochs"] = epochs(parsed(files, options), iterations)
    return run(command(files, folder / "run", options), folder / "run", threads=1, **facts)


def simulate(name: str, seed: int, shares: Sequence[float], iterations: int | None, data: Path, output: Path) -> Any:
    """All runs of a study and a seed, a line each as they are done."""
    study, source, place = STUDIES[name], data / name, output / f"{name}_seed{seed}"
    items = patients(read_json(source / "dataset.json")["training"])
    chosen = random.Random(seed).sample(sorted(items), study.cases + 1)

    def begin() -> tuple[list[Case], int]:
        cases = [Case(source, items[patient], study) for patient in chosen]
        everywhere = np.True_
        return cases, sum(case.draw(everywhere, seed + k, **study.start) for k, case in enumerate(cases[:-1]))

    def line(arm: str, share: float, drawn: int, cases: Sequence[Case], weights: Path | None) -> dict[str, Any]:
        folder = write_study(cases, source, study, place / f"{arm.replace(' ', '_')}_{share:g}")
        facts = {"study": name, "seed": seed, "arm": arm, "share": share, "voxels": drawn, "first": first}
        options = {**study.options, "seed": seed}
        if weights is not None:
            options["pretrained"] = f"$load_weights(@network, {str(weights)!r})"
        told = train(folder, study.overlay, options, iterations or study.iterations, facts)
        return {key: told[key] for key in (*facts, "cpu_minutes")} | {"Dice": told["Dice"]["mean"]}

    cases, first = begin()
    yield line("start", 0, 0, cases, None)
    base = place / "start_0" / "run"
    yield line("none", 0, 0, cases, base / "model.pt")
    for arm, share in product(ARMS, shares):
        cases, _ = begin()
        lot = random.Random(seed)
        places = {
            "advised": partial(advised, cases[:-1], base, place / "advice"),
            "random": partial(slices_of, cases, range(study.cases), lot),
            "another case": partial(slices_of, cases, [study.cases], lot),
        }
        drawn = add_strokes(cases, places[arm], round(share * first), seed)
        yield line(arm, share, drawn, cases, base / "model.pt")


def write_report(lines: Sequence[dict[str, Any]], path: Path) -> None:
    """All lines, and Dice over shares."""
    write_json({"machine": machine(), "runs": lines}, path)
    panels: dict[str, dict[str, dict[float, list[float]]]] = {}
    for each in lines:
        for arm in ARMS if each["arm"] == "none" else [each["arm"]]:
            if arm != "start":
                points = panels.setdefault(each["study"], {}).setdefault(arm, {})
                points.setdefault(round(each["voxels"] / each["first"], 3), []).append(each["Dice"])
    if panels:
        figure = curves(panels, "new strokes, as a share of the voxels of the first", "mean Dice of validation")
        figure.savefig(path.with_suffix(".png"), dpi=100)


def main() -> None:
    """Draw, train, score, plot."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--studies", nargs="+", default=list(STUDIES), choices=STUDIES)
    parser.add_argument("--shares", type=float, nargs="+", default=[0.25, 0.5], help="(default: 0.25 0.5)")
    parser.add_argument("--iterations", type=int, help="of each run (default: 200 and 320)")
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--output", type=Path, default=Path("output/next_strokes"), help="folder of the runs")
    parser.add_argument("--report", type=Path, default=RESULT)
    arguments = parser.parse_args()
    lines: list[dict[str, Any]] = []
    for seed, name in product(arguments.seeds, arguments.studies):
        told = simulate(name, seed, arguments.shares, arguments.iterations, arguments.data, arguments.output)
        for line in told:
            lines.append(line)
            print(line, flush=True)
            write_report(lines, arguments.report)


if __name__ == "__main__":
    main()
