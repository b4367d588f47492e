# SPDX-License-Identifier: Apache-2.0
"""What pseudo-labels of scenes are worth beside the network that they listen to, by bandwidth and the solver's η.

    python -m tests.benchmarks.scene_labels output/remote_sensing_study/*/pce_*_seed0

Finished runs of ``tests.benchmarks.remote_sensing`` on seeds alone: mIoU on training images with dense masks, beyond
their seeds, or, of the one scene without, the share of right pixels of the strokes that validate. ``median`` is
:func:`medwsss.rasters.study_bandwidth`. Writes ``output/benchmarks/scene_labels.json`` and ``.md``.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from medwsss.advice.finished import FinishedRun
from medwsss.experiments.data import dense_cases
from medwsss.keys import GUIDE, IMAGE, LABEL, SCRIBBLE, VOID
from medwsss.metrics import MeanIoUMetric
from medwsss.rasters import study_bandwidth
from medwsss.solvers import NaturalGradient
from medwsss.terms import GridNeighborhood, SelfLabelingEnergy
from medwsss.terms.simplex import seed_mask
from tests.benchmarks.remote_sensing import LANDSAT
from tests.benchmarks.report import machine, save, table

ETAS = (0.005, 0.02, 0.1, 0.5)
SIDE = 320  # pixels of an image that are looked at

Labels = Callable[[Tensor, Tensor, Tensor], Tensor]


@torch.no_grad()
def seen(folder: Path, run: FinishedRun, cases: int) -> Iterator[tuple[Tensor, ...]]:
    """Logits, guide, scribble and truth of so many cases, a batch of one each."""
    loaded = run["train#cases"]
    truths = run["validate#dataset"] if LANDSAT in folder.parts else dense_cases(folder, run)
    for index in range(0, len(loaded), max(1, len(loaded) // cases)):
        case, key = loaded[index], LABEL if LANDSAT in folder.parts else SCRIBBLE
        found = (case[IMAGE], case[GUIDE], case[SCRIBBLE], truths[index][key])
        image, guide, scribble, truth = (torch.as_tensor(x).as_subclass(Tensor)[None, :, :SIDE, :SIDE] for x in found)
        logits = run["validate#inferer"](image.float(), run["network"])
        yield logits, guide.float().contiguous(), scribble.long().contiguous(), truth.long()


def score(given: list[tuple[Tensor, ...]], labels: Labels, classes: int, share: bool) -> float:
    """Mean IoU beyond the seeds, or the share of right pixels."""
    iou, right = MeanIoUMetric(classes), []
    for logits, guide, scribble, truth in given:
        y = labels(logits, guide, scribble).argmax(1, keepdim=True)
        truth = truth.masked_fill(seed_mask(scribble), VOID)
        iou(y, truth)
        right.append((y == truth)[seed_mask(truth)])
    return round(float(torch.cat(right).float().mean() if share else iou.aggregate()), 3)


def solved(solver: NaturalGradient) -> Labels:
    """Its labels."""
    return lambda *given: solver(*given).labels


def measure(folder: Path, cases: int) -> Iterator[dict[str, Any]]:
    """The network, and labels with its predictions by each setting."""
    run = FinishedRun(folder)
    given, classes, share = list(seen(folder, run, cases)), run["num_classes"], LANDSAT in folder.parts
    told = {"run": "/".join(folder.parts[-2:]), "network": score(given, lambda x, *_: x, classes, share)}
    for name, bandwidth in (("auto", "auto"), ("median", study_bandwidth(run["train#cases"]))):
        row, neighborhood = {**told, "bandwidth": name}, GridNeighborhood(2, bandwidth)
        for eta in ETAS:
            energy = SelfLabelingEnergy(relaxation="log_quadratic", neighborhood=neighborhood, eta=eta)
            row[f"η {eta:g}"] = score(given, solved(NaturalGradient(energy)), classes, share)
        yield row


def main() -> None:
    """Measure, write, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+", type=Path)
    parser.add_argument("--cases", type=int, default=6, help="of a run")
    told = parser.parse_args()
    rows = [row for folder in told.runs for row in measure(folder, told.cases)]
    print(save("scene_labels", {"machine": machine(), "rows": rows}, table(rows, {name: name for name in rows[0]})))


if __name__ == "__main__":
    main()
