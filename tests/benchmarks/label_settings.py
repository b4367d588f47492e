# SPDX-License-Identifier: Apache-2.0
"""How good pseudo-labels are against dense masks, by the settings of energy and solver, without training.

    python -m tests.benchmarks.label_settings --runs output/robustness/acdc_2d/pce_length1_seed0 … --cases 6

Each run's network predicts training cases; each setting gets its predictions, or uniform ones, and the scribbles, and
is one change from the centre. 2-D networks' slices are solved one by one. Mean Dice over classes, then over cases, of
the labels' argmax; then foreground volume over the true one. Writes ``output/benchmarks/label_settings.json``, ``.md``.
"""

from __future__ import annotations

import argparse
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
from tests.benchmarks.acdc_models import Case
from tests.benchmarks.report import machine, save, table

VALUES: dict[str, tuple[Any, ...]] = {  # the centre's comes first
    "bandwidth": (0.02, 0.01, 0.035, 0.07, 0.1),
    "smoothing": (0.5, 0.0, 0.25, 0.7, 1.0),
    "eta": (0.005, 0.02, 0.1, 0.3),
    "steps": (30, 3, 8, 15, 60),
    "levels": (3, 0),
    "relaxation": ("log_quadratic", "collision_divergence", "quadratic", "normalized_quadratic"),
    "cross_entropy": ("collision_cross_entropy", "quadratic", "cross_entropy", "reverse_cross_entropy"),
    "lam": (6.0, 1.0, 20.0),
    "connectivity": (1, 2),
    "temperature": (1.0,),  # what logits are divided by
}
CENTRE = {name: values[0] for name, values in VALUES.items()}
SETTINGS = {"centre": CENTRE}
SETTINGS |= {f"{name} {value}": CENTRE | {name: value} for name, values in VALUES.items() for value in values[1:]}
SETTINGS["smoothing 0.0, bandwidth 0.035"] = CENTRE | {"smoothing": 0.0, "bandwidth": 0.035}
SETTINGS |= {f"eta 0.1, temperature {value}": CENTRE | {"eta": 0.1, "temperature": value} for value in (3, 10)}


@torch.no_grad()
def whole_cases(folder: Path, number: int, **overrides: Any) -> tuple[list[Case], FinishedRun]:
    """So many training cases evenly, by a finished run's own transforms and inferer, and the run.

    Spacing is the study's; ``overrides`` are of the run's configuration, such as another ``datalist``.
    """
    run = FinishedRun(folder, {"held_out_share": 0.0, **overrides})
    handler, masks, loaded = run["volume_labels"], dense_cases(folder, run), []
    for index in range(0, len(handler.cases), max(1, len(handler.cases) // number))[:number]:
        case = handler.cases[index]
        image, scribble, truth = (x.as_tensor()[None] for x in (case[IMAGE], case[SCRIBBLE], masks[index][SCRIBBLE]))
        logits = safe_log(handler.predict(image.to(run.device)).cpu())
        guide = case[GUIDE].as_tensor()[None] if GUIDE in case else image
        loaded.append(Case(logits, guide, scribble, truth, list(run["study"].typical_spacing)))
    return loaded, run


def cases(folder: Path, number: int) -> tuple[list[Case], str]:
    """:func:`whole_cases`, as batches of slices where the network is one of slices, and the title of their study."""
    loaded, run = whole_cases(folder, number)
    if run["bundle_root"] != "bundles/scribble":
        raise ValueError(f"expected a run of bundles/scribble in {folder}, got one of {run['bundle_root']}")
    axes, spacing = run["spatial_dims"], run["spacing"]
    if axes == 2:
        loaded = [Case(*(x[0].movedim(-1, 0) for x in case[:-1]), spacing) for case in loaded]
    return loaded, f"no network, {Path(run['dataset_dir']).name}, {axes}-D"


def solve(case: Case, s: dict[str, Any]) -> Tensor:
    """Classes ``B *S``, by setting ``s``."""
    neighborhood = GridNeighborhood(s["connectivity"], s["bandwidth"], case.spacing, s["smoothing"])
    energy = SelfLabelingEnergy(s["cross_entropy"], s["relaxation"], neighborhood, s["eta"], s["lam"])
    solver = NaturalGradient(energy, s["steps"], levels=s["levels"], coarse_steps=6)
    return solver(case.logits / s["temperature"], case.guide, case.scribble).labels.argmax(1)


def column(loaded: list[Case]) -> dict[str, float]:
    """A figure for each row of the table."""
    metrics, ratios = {name: ClassDiceMetric(loaded[0].logits.shape[1]) for name in ("network", *SETTINGS)}, []
    for case in loaded:
        truth, counts = case.truth.flatten(), seed_mask(case.truth).flatten()
        classes = {name: solve(case, setting).flatten() for name, setting in SETTINGS.items()}
        for name, labels in {"network": case.logits.argmax(1).flatten(), **classes}.items():
            metrics[name](labels[None, None], truth[None, None])  # slices together are one case
        ratios.append(float((classes["centre"] > 0)[counts].sum() / (truth > 0)[counts].sum()))
    return {name: metric.aggregate().item() for name, metric in metrics.items()} | {"centre, volume": mean(ratios)}


def main() -> None:
    """Predict, solve, score, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=Path, nargs="+", required=True, help="folders that medwsss.experiments wrote")
    parser.add_argument("--cases", type=int, default=6, help="of each study")
    arguments = parser.parse_args()
    networks, without = {}, {}
    for folder in arguments.runs:
        loaded, study = cases(folder, arguments.cases)
        networks[str(folder)] = column(loaded)
        if study not in without:
            without[study] = column([case._replace(logits=0 * case.logits) for case in loaded])
    columns, rows = networks | without, []
    for name in next(iter(columns.values())):
        row = {title: values[name] for title, values in columns.items()}
        means = {"networks' mean": mean(row[title] for title in networks), "mean": mean(row.values())}
        rows.append({"setting": name, **row, **means})
    report = {"machine": machine(), "cases": arguments.cases, "centre": CENTRE, "rows": rows}
    print(save("label_settings", report, table(rows, {title: title for title in rows[0]})))


if __name__ == "__main__":
    main()
