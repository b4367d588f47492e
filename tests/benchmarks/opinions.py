# SPDX-License-Identifier: Apache-2.0
"""Are labels better by the opinion of a network that never saw their case? Two networks, each trained on half of them.

    python -m tests.benchmarks.opinions --runs output/halves/A output/halves/B

Every fifth training case of each run is solved by the opinion of the run's own network, of the other run's, of their
mean, and of nobody, with the default's settings at several η: mean Dice and foreground volume over the true one, also
of the opinions themselves. The runs' lists have dense masks, and no case in common. Writes
``output/benchmarks/opinions.json`` and ``.md``.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path
from statistics import mean
from typing import Any

import torch
from torch import Tensor

from medwsss.advice.finished import FinishedRun
from medwsss.experiments.data import dense_cases
from medwsss.keys import GUIDE, IMAGE, SCRIBBLE
from medwsss.metrics import ClassDiceMetric
from medwsss.solvers import NaturalGradient
from medwsss.terms import GridNeighborhood, SelfLabelingEnergy
from medwsss.terms.simplex import safe_log, seed_mask
from tests.benchmarks.report import machine, save, table

EVERY = 5  # case
ETAS = (0.005, 0.02, 0.05, 0.1)
LAM, BANDWIDTH, SMOOTHING = 6.0, 0.02, 0.5


def opinions(own: Path, other: Path) -> Iterator[tuple[dict[str, Tensor], Tensor, Tensor, Tensor, list[float]]]:
    """Of cases of ``own``: who says which probabilities, guide, scribble, truth, spacing."""
    run = FinishedRun(own, {"held_out_share": 0.0})
    stranger = FinishedRun(other, {"held_out_share": 0.0, "datalist": run["datalist"]})
    here, there, masks = run["volume_labels"], stranger["volume_labels"], dense_cases(own, run)
    for index in range(0, len(here.cases), EVERY):
        case = here.cases[index]
        image, scribble, truth = (x.as_tensor()[None] for x in (case[IMAGE], case[SCRIBBLE], masks[index][SCRIBBLE]))
        guide = case[GUIDE].as_tensor()[None] if GUIDE in case else image
        by = {"own": here.predict(image).cpu(), "the other's": there.predict(image).cpu()}
        by |= {
            "mean of both": (by["own"] + by["the other's"]) / 2,
            "none": torch.full_like(by["own"], 1 / by["own"].shape[1]),
        }
        yield by, guide, scribble, truth, list(run["study"].typical_spacing)


@torch.no_grad()
def main() -> None:
    """Predict, solve, score, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=Path, nargs=2, required=True)
    runs = parser.parse_args().runs
    scores: dict[tuple[str, str], tuple[ClassDiceMetric, list[float]]] = {}
    for own, other in (runs, runs[::-1]):
        for by, guide, scribble, truth, spacing in opinions(own, other):
            for who, sigma in by.items():
                labels = {"by itself": sigma.argmax(1)}
                for eta in ETAS:
                    neighborhood = GridNeighborhood(1, BANDWIDTH, spacing, SMOOTHING)
                    energy = SelfLabelingEnergy("collision_cross_entropy", "log_quadratic", neighborhood, eta, LAM)
                    solver = NaturalGradient(energy, 30, levels=5, coarse_steps=20)
                    labels[f"η {eta:g}"] = solver(safe_log(sigma), guide, scribble).labels.argmax(1)
                counts = seed_mask(truth).flatten()
                for what, found in labels.items():
                    metric, volumes = scores.setdefault((who, what), (ClassDiceMetric(sigma.shape[1]), []))
                    metric(found.flatten()[None, None], truth.flatten()[None, None])
                    volumes.append(float((found.flatten() > 0)[counts].sum() / (truth.flatten() > 0)[counts].sum()))
    rows: list[dict[str, Any]] = [
        {"opinion": who, "labels": what, "Dice": metric.aggregate().item(), "volume": mean(volumes)}
        for (who, what), (metric, volumes) in scores.items()
    ]
    print(save("opinions", {"machine": machine(), "rows": rows}, table(rows, {name: name for name in rows[0]})))


if __name__ == "__main__":
    main()
