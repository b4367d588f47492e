# SPDX-License-Identifier: Apache-2.0
"""Are labels better by the opinion of a network that never saw their case? Two networks, each trained on half of them.

    python -m tests.benchmarks.opinions --runs output/halves/A output/halves/B

Ten training cases of each run are solved by the opinion of the run's own network, of the other run's, of their
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

from medwsss.metrics import ClassDiceMetric
from medwsss.solvers import NaturalGradient
from medwsss.terms import GridNeighborhood, SelfLabelingEnergy
from medwsss.terms.simplex import safe_log, seed_mask
from tests.benchmarks.acdc_models import Case
from tests.benchmarks.label_settings import whole_cases
from tests.benchmarks.report import machine, save, table

CASES = 10  # of each half
ETAS = (0.005, 0.02, 0.05, 0.1)
LAM, BANDWIDTH, SMOOTHING = 6.0, 0.02, 0.5


def opinions(own: Path, other: Path) -> Iterator[tuple[dict[str, Tensor], Case]]:
    """Who gives the classes of a case which probabilities, for cases of ``own``."""
    here, run = whole_cases(own, CASES)
    there, _ = whole_cases(other, CASES, datalist=run["datalist"])
    for case, seen in zip(here, there, strict=True):
        by = {"own": case.logits.softmax(1), "the other's": seen.logits.softmax(1)}
        none = torch.full_like(case.logits, 1 / case.logits.shape[1])
        yield {**by, "mean of both": (by["own"] + by["the other's"]) / 2, "none": none}, case


@torch.no_grad()
def main() -> None:
    """Predict, solve, score, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=Path, nargs=2, required=True)
    runs = parser.parse_args().runs
    scores: dict[tuple[str, str], tuple[ClassDiceMetric, list[float]]] = {}
    for own, other in (runs, runs[::-1]):
        for by, case in opinions(own, other):
            truth = case.truth.flatten()
            counts = seed_mask(truth)
            for who, sigma in by.items():
                labels = {"by itself": sigma.argmax(1)}
                for eta in ETAS:
                    neighborhood = GridNeighborhood(1, BANDWIDTH, case.spacing, SMOOTHING)
                    energy = SelfLabelingEnergy("collision_cross_entropy", "log_quadratic", neighborhood, eta, LAM)
                    solver = NaturalGradient(energy, 30, levels=5, coarse_steps=20)
                    labels[f"η {eta:g}"] = solver(safe_log(sigma), case.guide, case.scribble).labels.argmax(1)
                for what, found in labels.items():
                    metric, volumes = scores.setdefault((who, what), (ClassDiceMetric(sigma.shape[1]), []))
                    metric(found.flatten()[None, None], truth[None, None])
                    volumes.append(float((found.flatten() > 0)[counts].sum() / (truth > 0)[counts].sum()))
    rows: list[dict[str, Any]] = [
        {"opinion": who, "labels": what, "Dice": metric.aggregate().item(), "volume": mean(volumes)}
        for (who, what), (metric, volumes) in scores.items()
    ]
    print(save("opinions", {"machine": machine(), "rows": rows}, table(rows, {name: name for name in rows[0]})))


if __name__ == "__main__":
    main()
