# SPDX-License-Identifier: Apache-2.0
"""Do labels get better as their energy falls? Dice and energy along a solve, by whose opinion it listens to.

    python -m tests.benchmarks.along_a_solve --runs output/robustness/hippocampus/default_length0.3_seed0 … --cases 6

Each run's network predicts whole training cases, which are solved in their whole volume with the run's own λ, bandwidth
and relaxation, listening to it by each of ``--trusts``; once more with no opinion (σ uniform). Dice against the dense
masks and mean energy after so many steps on the full grid, and Spearman's ρ between them along the solve, of the means
over cases. Writes ``output/benchmarks/along_a_solve.json``, ``.md`` and ``.png``.
"""

from __future__ import annotations

import argparse
from itertools import product
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import torch
from scipy.stats import spearmanr

from medwsss.metrics import ClassDiceMetric
from medwsss.solvers import NaturalGradient
from medwsss.terms import GridNeighborhood, SelfLabelingEnergy
from medwsss.terms.simplex import seed_mask
from tests.benchmarks.acdc_models import Case
from tests.benchmarks.label_settings import whole_cases
from tests.benchmarks.report import OUTPUT, machine, save, table

STEPS = (8, 30, 100, 300, 1000)
NAMES = ("cross_entropy", "relaxation", "connectivity", "bandwidth", "guide_smoothing", "lam")


def along(
    loaded: list[Case], settings: dict[str, Any], eta: float, trust: str, opinion: bool = True
) -> dict[str, list[float]]:
    """Mean Dice, energy and foreground volume over the true one, after :data:`STEPS`."""
    neighborhood = GridNeighborhood(
        settings["connectivity"], settings["bandwidth"], loaded[0].spacing, settings["guide_smoothing"]
    )
    energy = SelfLabelingEnergy(
        settings["cross_entropy"], settings["relaxation"], neighborhood, eta, settings["lam"], trust
    )
    dice = [ClassDiceMetric(loaded[0].logits.shape[1]) for _ in STEPS]
    energies, volumes = torch.zeros(len(STEPS)), torch.zeros(len(STEPS))
    for case in loaded:
        logits, y, counts = case.logits * opinion, None, seed_mask(case.truth)
        for index, (done, steps) in enumerate(zip((0, *STEPS), STEPS)):
            solver = NaturalGradient(energy, max_steps=steps - done, tolerance=0)
            solution = solver(logits, case.guide, case.scribble, y)
            y = solution.labels
            labels = y.argmax(1, keepdim=True)
            dice[index](labels.flatten()[None, None], case.truth.flatten()[None, None])
            energies[index] += solution.energy[-1].sum() / len(loaded)
            volumes[index] += (labels > 0)[counts].sum() / (case.truth > 0)[counts].sum() / len(loaded)
    scores = [metric.aggregate().item() for metric in dice]
    return {"dice": scores, "energy": energies.tolist(), "volume": volumes.tolist()}


def row(run: str, opinion: str, eta: float, trust: str, found: dict[str, list[float]]) -> dict[str, Any]:
    """A line of the table."""
    texts = {str(n): f"{d:.3f} ({e:.5g})" for n, d, e in zip(STEPS, found["dice"], found["energy"])}
    rho = float(spearmanr(found["energy"], found["dice"]).statistic)
    drop = max(found["dice"]) - found["dice"][-1]
    return {"run": run, "opinion": opinion, "eta": eta, "trust": trust, **texts, "rho": rho, "drop": drop, **found}


def draw(rows: list[dict[str, Any]], path: Path) -> None:
    """Dice over steps, a panel a run, and one legend beside them."""
    runs = list(dict.fromkeys(line["run"] for line in rows))
    figure, axes = plt.subplots(1, len(runs), figsize=(4 * len(runs) + 1.5, 3.4), squeeze=False, layout="constrained")
    curves: dict[str, Any] = {}
    colours: dict[str, str] = {}
    for panel, run in zip(axes[0], runs):
        for line in (line for line in rows if line["run"] == run):
            opinion, seeded = f"{line['opinion']}, η {line['eta']:g}", line["trust"] == "seeded"
            colour = colours.setdefault(opinion, f"C{len(colours)}")
            style, label = ("-", f"{opinion}, seeded") if seeded else (":", opinion)
            (curves[label],) = panel.semilogx(STEPS, line["dice"], style, marker="o", color=colour)
        panel.set(title=run, xlabel="steps on the full grid", ylabel="Dice of pseudo-labels")
    figure.legend(curves.values(), curves.keys(), loc="outside right center", fontsize=8)
    figure.savefig(path, dpi=120)


def main() -> None:
    """Predict, solve, score, draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=Path, nargs="+", required=True, help="folders that medwsss.experiments wrote")
    parser.add_argument("--cases", type=int, default=6, help="of each study")
    parser.add_argument("--trusts", nargs="+", help="of the solver's energy (default: the run's)")
    parser.add_argument("--etas", type=float, nargs="+", help="of the solver (default: the run's)")
    arguments = parser.parse_args()
    rows: list[dict[str, Any]] = []
    unopinionated: set[str] = set()
    for folder in arguments.runs:
        loaded, of = whole_cases(folder, arguments.cases)
        settings, own, usual = {name: of[name] for name in NAMES}, of["solver_eta"], of["trust"]
        study = folder.parent.name
        if study not in unopinionated:
            unopinionated.add(study)
            rows.append(row(study, "none", own, usual, along(loaded, settings, own, usual, opinion=False)))
        for trust, eta in product(arguments.trusts or [usual], arguments.etas or [own]):
            found = along(loaded, settings, eta, trust)
            rows.append(row(study, folder.name.split("_")[0], eta, trust, found))
        titles = {
            "run": "study",
            "opinion": "opinion",
            "eta": "η",
            "trust": "trust",
            **{str(n): f"{n} steps" for n in STEPS},
        }
        titles |= {"rho": "Spearman's ρ", "drop": "best − last"}
        report = {"machine": machine(), "cases": arguments.cases, "rows": rows}
        text = save("along_a_solve", report, table(rows, titles))
    draw(rows, OUTPUT / "along_a_solve.png")
    print(text)


if __name__ == "__main__":
    main()
