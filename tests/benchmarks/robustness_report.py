# SPDX-License-Identifier: Apache-2.0
"""Table, curves and correlations from the lines of :mod:`tests.benchmarks.robustness`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import mean
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from scipy.stats import spearmanr

from tests.benchmarks.runs import spread

METHODS = {
    "pce": "seeds only",
    "gd": "gradient descent",
    "paper": "paper's setting",
    "default": "default",
    "full": "dense",
}
KNOBS = ("bandwidth", "guide_smoothing", "lam", "eta", "solver_eta", "warmup_epochs")
RESAMPLES = 10_000

Line = dict[str, Any]


def score(line: Line) -> float:
    """mIoU of the validation where it is taken, else mean Dice."""
    figures = line["IoU"] if "IoU" in line else line["Dice"]
    return float(figures["mean"])


def chosen(lines: Sequence[Line], **facts: Any) -> list[Line]:
    """Lines with these facts, the default's untouched one unless a knob is asked for."""
    facts = {"knob": "", **facts}
    return [line for line in lines if all(line[name] == value for name, value in facts.items())]


def cases(lines: Sequence[Line]) -> np.ndarray:
    """Dice of each validation case: mean over its foreground classes, then over seeds."""
    figures = [np.array(line["cases"]["Dice"], dtype=float) for line in lines]  # null is NaN
    return np.asarray(np.mean([np.nanmean(values, axis=1) for values in figures], axis=0))


def paired(first: np.ndarray, second: np.ndarray) -> str:
    """Mean of ``first − second`` over cases, with its 95 % bootstrap interval."""
    difference = first - second
    draws = np.random.default_rng(0).integers(len(difference), size=(RESAMPLES, len(difference)))
    low, high = np.percentile(difference[draws].mean(1), (2.5, 97.5))
    return f"{difference.mean():+.3f} [{low:+.3f}, {high:+.3f}]"


def table(lines: Sequence[Line]) -> str:
    """Scores by study and method, and the default's difference in Dice to each of the others, case by case."""
    methods = list(METHODS)
    titles = [
        *METHODS.values(),
        *(f"default − {METHODS[m]}" for m in methods if m != "default"),
        "CPU minutes",
        "seeds",
    ]
    text = ["| study | " + " | ".join(titles) + " |", "|---" * (len(titles) + 1) + "|"]
    for study, length in dict.fromkeys((line["study"], line["length"]) for line in lines):
        runs = {method: chosen(lines, study=study, length=length, method=method) for method in methods}
        cells = [spread([score(line) for line in of], 3) if of else "–" for of in runs.values()]
        for method in methods:
            if method != "default":
                seeds = {line["seed"] for line in runs[method]} & {line["seed"] for line in runs["default"]}
                pair = [[line for line in runs[m] if line["seed"] in seeds] for m in ("default", method)]
                cells.append(paired(*map(cases, pair)) if seeds else "–")
        every = [line for of in runs.values() for line in of]
        cells.append(f"{mean(line['cpu_minutes'] for line in every):.1f}" if every else "–")
        cells.append(str(len({line["seed"] for line in every})))
        text.append(f"| {study}, length {length:g} | " + " | ".join(cells) + " |")
    return "\n".join(text)


def correlation(lines: Sequence[Line]) -> str:
    """Spearman's between held-out accuracy of the network and dense score, of all runs of a study that have both."""
    text = ["| study | runs | Spearman's ρ |", "|---|---|---|"]
    scored = [line for line in lines if "held_out_network" in line["last_epoch"]]
    for study in dict.fromkeys(line["study"] for line in scored):
        of = [line for line in scored if line["study"] == study]
        rho = spearmanr([line["last_epoch"]["held_out_network"] for line in of], list(map(score, of))).statistic
        text.append(f"| {study} | {len(of)} | {rho:.2f} |")
    return "\n".join(text)


def panels(studies: Sequence[str], draw: Callable[[Any, str], None], xlabel: str) -> Figure:
    """A panel a study."""
    figure = Figure(figsize=(5 * len(studies), 4), layout="constrained")
    for axes, study in zip(figure.subplots(1, len(studies), squeeze=False)[0], studies):
        draw(axes, study)
        axes.set(title=study, xlabel=xlabel, ylabel="mean Dice or mIoU")
        axes.legend(fontsize=8)
    return figure


def curve(axes: Any, points: dict[float, list[float]], label: str) -> None:
    """Means with the range over seeds."""
    x = sorted(points)
    y = [mean(points[value]) for value in x]
    reach = [[m - min(points[v]) for v, m in zip(x, y)], [max(points[v]) - m for v, m in zip(x, y)]]
    axes.errorbar(x, y, reach, marker="o", capsize=3, label=label)


def by_length(lines: Sequence[Line], studies: Sequence[str]) -> Figure:
    """A curve a method; dense masks have no strokes, and are a level."""

    def draw(axes: Any, study: str) -> None:
        for method, title in METHODS.items():
            points: dict[float, list[float]] = {}
            for line in chosen(lines, study=study, method=method):
                points.setdefault(line["length"], []).append(score(line))
            if method == "full" and points:
                axes.axhline(mean(value for values in points.values() for value in values), color="gray", label=title)
            elif points:
                curve(axes, points, title)

    return panels(studies, draw, "length of the strokes")


def by_knob(lines: Sequence[Line], studies: Sequence[str]) -> Figure:
    """A curve a hyper-parameter; all of them meet at the default."""

    def draw(axes: Any, study: str) -> None:
        varied = [line for line in lines if line["study"] == study and line["knob"]]
        lengths = {line["length"] for line in varied}
        middle = [line for line in chosen(lines, study=study, method="default") if line["length"] in lengths]
        for knob in KNOBS:
            points: dict[float, list[float]] = {}
            for line in middle + [line for line in varied if line["knob"] == knob]:
                points.setdefault(line["factor"], []).append(score(line))
            curve(axes, points, knob)
        axes.set_xscale("log", base=2)

    return panels(studies, draw, "times the default")


def render(lines: Sequence[Line], folder: Path) -> str:
    """Write ``robustness.md`` and, where there are runs for them, ``lengths.png`` and ``sensitivity.png``."""
    text = f"{table(lines)}\n\nHeld-out seeds against the validation's dense masks:\n\n{correlation(lines)}\n"
    (folder / "robustness.md").write_text(text)
    lengths = {study: {x["length"] for x in lines if x["study"] == study} for study in (x["study"] for x in lines)}
    if several := [study for study, values in lengths.items() if len(values) > 1]:
        by_length(lines, several).savefig(folder / "lengths.png", dpi=120)
    if varied := list(dict.fromkeys(line["study"] for line in lines if line["knob"])):
        by_knob(lines, varied).savefig(folder / "sensitivity.png", dpi=120)
    return text
