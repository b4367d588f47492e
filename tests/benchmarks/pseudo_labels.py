# SPDX-License-Identifier: Apache-2.0
"""How good pseudo-labels are against ACDC's dense masks, by η, the solver's start and steps, and spacing in weights.

    python -m tests.benchmarks.pseudo_labels --model output/compare/acdc/pce_length1_seed0/model.pt

A seeds-only 2-D network predicts training volumes slice by slice; each solver gets its predictions and the expert
scribbles. Mean Dice over volumes of the labels' argmax, a class at a time; paired differences between neighbourhoods
with a 95 % bootstrap interval.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
from torch import Tensor

from medwsss.metrics import ClassDiceMetric
from medwsss.solvers import GradientDescent, NaturalGradient, RandomWalker, Solver
from medwsss.terms import GridNeighborhood, SelfLabelingEnergy
from tests.benchmarks.acdc_models import Case, cases, load_network

BANDWIDTH = 0.1
PLANE, SPACING, CUBES = "in the plane", "3-D, spacing", "3-D, as cubes"
NETWORK, COARSE = "from the network", "from coarse grids"
ETAS = (0.3, 0.1, 0.02)


def neighborhood(kind: str, spacing: list[float]) -> GridNeighborhood:
    """Across slices not at all (they are 10⁶ times as far away), by their distance, or as if voxels were cubes."""
    scaled = {PLANE: [*spacing[:2], 1e6 * spacing[2]], SPACING: spacing, CUBES: None}
    return GridNeighborhood(bandwidth=BANDWIDTH, spacing=scaled[kind])


def natural(eta: float, start: str, steps: int) -> Callable[[GridNeighborhood], Solver]:
    """The bundle's terms and solver."""
    options = {"max_steps": steps, "tolerance": 0} | ({} if start == COARSE else {"levels": 0})
    return lambda n: NaturalGradient(SelfLabelingEnergy(neighborhood=n, eta=eta), **options)


def appendix_a(n: GridNeighborhood) -> Solver:
    """The paper's solver with its settings."""
    return GradientDescent(SelfLabelingEnergy(neighborhood=n, eta=ETAS[0]))


def walker(eta: float) -> Callable[[GridNeighborhood], Solver]:
    """The all-quadratic energy, solved exactly."""
    return lambda n: RandomWalker(SelfLabelingEnergy("quadratic", "quadratic", n, eta=eta), tolerance=1e-3)


SETTINGS: dict[str, tuple[str, Callable[[GridNeighborhood], Solver]]] = {
    f"η {eta}, {start}, {steps} steps, {kind}": (kind, natural(eta, start, steps))
    for kind, eta, start, steps in (
        *((PLANE, eta, NETWORK, steps) for eta in ETAS for steps in (10, 30)),
        *((PLANE, eta, COARSE, steps) for eta in ETAS for steps in (3, 10)),
        (SPACING, ETAS[0], COARSE, 10),
        (CUBES, ETAS[0], COARSE, 10),
    )
}
SETTINGS |= {f"Appendix A, η {ETAS[0]}, 200 steps, {PLANE}": (PLANE, appendix_a)}
SETTINGS |= {f"exact, all quadratic, η {eta}, {PLANE}": (PLANE, walker(eta)) for eta in ETAS}


def labels_of(case: Case, kind: str, make: Callable[[GridNeighborhood], Solver]) -> Tensor:
    """Pseudo-labels of a volume under one setting."""
    return make(neighborhood(kind, case.spacing))(case.logits, case.guide, case.scribble).labels


def main() -> None:
    """Solve, score, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("../shared/data/acdc"))
    parser.add_argument("--model", type=Path, required=True, help="weights of a 2-D run with acdc.json")
    parser.add_argument("--output", type=Path, default=Path("output/benchmarks/pseudo_labels.json"))
    parser.add_argument("--every", type=int, default=5, help="take every n-th training volume")
    arguments = parser.parse_args()
    metrics = {name: ClassDiceMetric(4) for name in ("network alone", *SETTINGS)}
    for case in cases(load_network(arguments.model), arguments.data, "training", arguments.every):
        metrics["network alone"](case.logits.argmax(1, keepdim=True), case.truth)
        for name, (kind, make) in SETTINGS.items():
            metrics[name](labels_of(case, kind, make).argmax(1, keepdim=True), case.truth)
    scores = {name: metric.get_buffer().numpy() for name, metric in metrics.items()}
    rows = {name: [round(float(v), 3) for v in (*np.nanmean(s, 0), np.nanmean(s))] for name, s in scores.items()}
    for name, values in rows.items():
        print(f"{name:45}" + "".join(f"{value:8.3f}" for value in values))
    differences = {}
    of = {kind: np.nanmean(scores[f"η {ETAS[0]}, {COARSE}, 10 steps, {kind}"], 1) for kind in (PLANE, SPACING, CUBES)}
    generator = np.random.default_rng(0)
    for a, b in ((SPACING, CUBES), (SPACING, PLANE)):
        difference = of[a] - of[b]
        means = generator.choice(difference, (10000, len(difference))).mean(1)
        low, high = np.percentile(means, [2.5, 97.5])
        differences[f"{a} − {b}"] = f"{difference.mean():+.3f} [{low:+.3f}, {high:+.3f}]"
    print("\n".join(f"{name}: {text}" for name, text in differences.items()))
    report = {"model": str(arguments.model), "volumes": len(of[PLANE]), "dice": rows, "differences": differences}
    arguments.output.parent.mkdir(parents=True, exist_ok=True)
    arguments.output.write_text(json.dumps(report, indent=1, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
