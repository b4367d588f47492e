# SPDX-License-Identifier: Apache-2.0
"""Appendix A's check: soft Jaccard index between a solver's pseudo-labels and the exact minimiser, on CamVid images.

    python -m tests.benchmarks.agreement --images 100

The all-quadratic energy has a closed-form minimiser, which ``RandomWalker`` finds. The index is
``Σ min(y, y*) / Σ max(y, y*)`` over unlabelled pixels and classes, 1 for equal soft labels. The paper reports
99.2 % for its solver on 100 images.
"""

from __future__ import annotations

import argparse
import json

import torch
from torch import Tensor
from tqdm import trange

from medwsss.keys import UNLABELED
from medwsss.solvers import GradientDescent, NaturalGradient, RandomWalker
from medwsss.terms import SelfLabelingEnergy
from tests.benchmarks.problems import camvid
from tests.benchmarks.report import OUTPUT, machine


def soft_jaccard(y: Tensor, exact: Tensor, free: Tensor) -> float:
    """``Σ min / Σ max`` over the free voxels."""
    low, high = torch.minimum(y, exact) * free, torch.maximum(y, exact) * free
    return (low.sum() / high.sum()).item()


def main() -> None:
    """Measure, write, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=100)
    parser.add_argument("--eta", type=float, default=0.3)
    parser.add_argument("--lam", type=float, default=6.0)
    parser.add_argument("--steps", type=int, default=200, help="of gradient descent")
    arguments = parser.parse_args()
    scores: dict[str, list[float]] = {"GradientDescent": [], "NaturalGradient": [], "start": []}
    for index in trange(arguments.images):
        problem = camvid(index)
        energy = SelfLabelingEnergy("quadratic", "quadratic", problem.neighborhood, arguments.eta, arguments.lam)
        inputs = problem[:3]
        exact, free = RandomWalker(energy)(*inputs).labels, problem.scribble == UNLABELED
        bound = energy.bind(*inputs)
        scores["start"].append(soft_jaccard(bound.reset(bound.sigma), exact, free))
        for solver in (GradientDescent(energy, arguments.steps), NaturalGradient(energy)):
            scores[type(solver).__name__].append(soft_jaccard(solver(*inputs).labels, exact, free))
    means = {name: sum(values) / len(values) for name, values in scores.items()}
    report = {"machine": machine(), **vars(arguments), "mean": means, "images_each": scores}
    OUTPUT.mkdir(parents=True, exist_ok=True)
    (OUTPUT / "agreement.json").write_text(json.dumps(report, indent=1) + "\n")
    for name, value in means.items():
        print(f"{name:20}{value:.4%} (least {min(scores[name]):.4%})")


if __name__ == "__main__":
    main()
