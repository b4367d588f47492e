# SPDX-License-Identifier: Apache-2.0
"""Table, curves and correlations from the lines of :mod:`medwsss.experiments.robustness`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from statistics import mean

from matplotlib.figure import Figure
from scipy.stats import spearmanr

from medwsss.experiments.compare import DEFAULT
from medwsss.reports.curves import curves
from medwsss.reports.results import Line, chosen, score
from medwsss.reports.tables import difference, markdown, minutes, seeds, spread

__all__ = ["KNOBS", "METHODS", "by_knob", "by_length", "correlation", "render", "table"]

#: Method → its title; further ones go by their names.
METHODS = {
    "pce": "seeds only",
    "gd": "gradient descent",
    "paper": "paper's setting",
    DEFAULT: "default",
    "full": "dense",
}
KNOBS = ("bandwidth", "guide_smoothing", "lam", "eta", "solver_eta", "warmup_epochs")
SCORE = "mean Dice or mIoU"


def titles(lines: Sequence[Line]) -> dict[str, str]:
    """Of ``METHODS`` and of all others in the lines."""
    return METHODS | {line["method"]: line["method"] for line in lines if line["method"] not in METHODS}


def table(lines: Sequence[Line]) -> str:
    """Scores by study and method, and the default's difference in Dice to each of the others, case by case."""
    methods = titles(lines)
    others = [method for method in methods if method != DEFAULT]
    rows = []
    for study, length in dict.fromkeys((line["study"], line["length"]) for line in lines):
        runs = {method: chosen(lines, study=study, length=length, method=method) for method in methods}
        every = [line for of in runs.values() for line in of]
        cells = [spread([score(line) for line in of], 3) for of in runs.values()]
        cells += [difference(runs[DEFAULT], runs[method]) for method in others]
        rows.append([f"{study}, length {length:g}", *cells, minutes(every), seeds(every)])
    differences = (f"default − {methods[method]}" for method in others)
    return markdown(["study", *methods.values(), *differences, "CPU minutes", "seeds"], rows)


def correlation(lines: Sequence[Line]) -> str:
    """Spearman's between held-out accuracy of the network and dense score, of all runs of a study that have both."""
    rows = []
    scored = [line for line in lines if "held_out_network" in line["last_epoch"]]
    for study in dict.fromkeys(line["study"] for line in scored):
        of = [line for line in scored if line["study"] == study]
        rho = spearmanr([line["last_epoch"]["held_out_network"] for line in of], list(map(score, of))).statistic
        rows.append([study, str(len(of)), f"{rho:.2f}"])
    return markdown(["study", "runs", "Spearman's ρ"], rows)


def by(fact: str, lines: Sequence[Line]) -> dict[float, list[float]]:
    """Scores at each value of a fact."""
    return {value: [score(line) for line in lines if line[fact] == value] for value in {line[fact] for line in lines}}


def by_length(lines: Sequence[Line], studies: Sequence[str]) -> Figure:
    """A curve a method; dense masks have no strokes, and are a level."""
    panels: dict[str, dict[str, dict[float, list[float]]]] = {}
    levels: dict[str, dict[str, float]] = {}
    for study in studies:
        runs = {title: chosen(lines, study=study, method=method) for method, title in titles(lines).items()}
        dense = [score(line) for line in runs.pop(METHODS["full"])]
        levels[study] = {METHODS["full"]: mean(dense)} if dense else {}
        panels[study] = {title: by("length", of) for title, of in runs.items() if of}
    return curves(panels, "length of the strokes", SCORE, levels=levels)


def by_knob(lines: Sequence[Line], studies: Sequence[str]) -> Figure:
    """A curve a hyper-parameter; all of them meet at the default."""
    panels = {}
    for study in studies:
        varied = [line for line in lines if line["study"] == study and line["knob"]]
        lengths = {line["length"] for line in varied}
        middle = [line for line in chosen(lines, study=study, method=DEFAULT) if line["length"] in lengths]
        panels[study] = {
            knob: by("factor", middle + [line for line in varied if line["knob"] == knob]) for knob in KNOBS
        }
    return curves(panels, "times the default", SCORE, factors=True)


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
