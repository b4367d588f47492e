# SPDX-License-Identifier: Apache-2.0
"""The page at the end of an evaluation: figures with intervals, cases to look at, calibration, and how it was run."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.colors import to_hex

from medwsss.keys import VOID
from medwsss.reports.charts import line, read_scalars, reliability
from medwsss.reports.markup import element
from medwsss.reports.overlays import ERRORS, overlay
from medwsss.reports.page import page, section, table
from medwsss.reports.pictures import class_colors
from medwsss.reports.scores import Scores, mean
from medwsss.reports.slices import CaseSlices
from medwsss.reports.tables import NONE

__all__ = ["chosen_cases", "write_evaluation"]

Row = Mapping[str, Any]

_FEW = 10  # patients, below which the bootstrap's percentiles miss much of what another sample would give

_POLICY = (
    "A class that is in neither prediction nor truth of a case is left out of all means. One that is in only one of "
    "them counts as 0, and as the diagonal of the volume in distances. Voxels without a label don't count."
)
_LAYERS = {"scribble": "strokes", "prediction": "prediction", "truth": "truth", "error": "errors"}


def chosen_cases(scores: Scores, title: str, worst: int = 3) -> dict[int, str]:
    """The worst cases, the median one and the best by a figure's mean over classes, higher being better.

    Returns:
        index of a case → what it is; each case once, cases with nothing to measure never.
    """
    values = mean(scores.figures[title].T)
    order = [int(i) for i in np.argsort(values, kind="stable") if not np.isnan(values[i])]  # NaN are last
    if not order:
        return {}
    middle = (len(order) - 1) // 2
    places = {i: f"Worst case {n}" for n, i in enumerate(order[: min(worst, max(middle, 1))], 1)}
    for i, name in ((order[middle], "Median case"), (order[-1], "Best case")):
        places.setdefault(i, name)
    return places


def write_evaluation(
    path: Path,
    title: str,
    scores: Scores,
    rows: Sequence[Row],
    key: str,
    cases: Sequence[tuple[int, str, CaseSlices]],
    calibration: Mapping[str, tuple[np.ndarray, Row]],
    scalars: Path | None,
    facts: Mapping[str, Mapping[str, str]],
    data: str = "",
    notes: str = "",
    validated_on: str = "masks",
) -> None:
    """Write the page.

    Args:
        path: the file.
        title: of the page.
        scores: of the cases.
        rows: their summary.
        key: title of the figure that cases are sorted by.
        cases: those to look at: index, what it is, slices.
        calibration: title → ``3 × bins`` sums of all cases, and the summary of its error.
        scalars: folder of the training's TensorBoard files.
        facts: title of a table → its rows.
        data: about the cases.
        notes: on the figures.
        validated_on: "masks", or the kind of strokes that the figures are agreement with.
    """
    strokes = validated_on != "masks"
    patients = len(set(scores.patients))
    count = f"{len(scores.cases)} cases of {patients} patients"
    told = "Patients are by the list's key 'patient', where that is missing by names of files. "
    if patients < _FEW:
        told += f"Intervals of fewer than {_FEW} patients are too narrow. "
    found = (
        f"<p>{count}. {told}"
        + ("Figures are agreement with strokes, no scores of masks." if strokes else "")
        + "</p>\n"
    )
    names = scores.class_names
    parts = [
        found,
        section("Figures", _figures(rows, patients), f'<p class="note">{escape(notes)} {_POLICY}</p>\n'),
        section("Cases", *_layers(names, cases, strokes), *(_case(scores, key, *each, strokes) for each in cases)),
        section("Calibration", _calibration(calibration)),
        section("Training", _curves(read_scalars(scalars) if scalars else {})),
        section("All cases", _all_cases(scores, key)),
        section("Data", f"<pre>{escape(data)}</pre>\n" if data else ""),
        *(
            section(name, table(name, ("name", "value"), map(_escaped, of.items()), "facts") if of else "")
            for name, of in facts.items()
        ),
    ]
    page(path, title, parts, _switches(names))


def _figures(rows: Sequence[Row], patients: int) -> str:
    titles = list(dict.fromkeys(row["figure"] for row in rows))
    classes = list(dict.fromkeys(row["class"] for row in rows))
    cells = {(row["class"], row["figure"]): _cell(row, patients) for row in rows}
    lines = ([escape(name), *(cells.get((name, title), NONE) for title in titles)] for name in classes)
    caption = "Means over patients, with 95 % bootstrap intervals; distances (mm) are better when smaller"
    return table(caption, ["class", *map(escape, titles)], lines)


def _cell(row: Row, patients: int) -> str:
    if np.isnan(row["mean"]):
        return NONE
    text = _number(row["mean"])
    if not np.isnan(row["low"]):
        text += f' <span class="interval">{_interval(row)}</span>'
    fewer = row["patients"] < patients
    return text + (f' <span class="interval">{row["patients"]} patients</span>' if fewer else "")


def _number(value: float) -> str:
    """As many digits as one can use of shares and of millimetres."""
    return NONE if np.isnan(value) else f"{value:.3f}" if abs(value) < 10 else f"{value:.1f}"


def _layers(names: Sequence[str], cases: Sequence[tuple[int, str, CaseSlices]], strokes: bool) -> list[str]:
    """Switches of layers and classes, which are the legend, too."""
    if not cases:
        return []
    layers = [("scribble", "prediction", "error"), ("prediction", "truth", "error")][not strokes]
    keys = {name: _sample(name, "#FFFFFF") for name in ("prediction", "truth")}
    switches = [_switch(f"show-{name}", _LAYERS[name], keys.get(name, ""), name != "error") for name in layers]
    there = np.unique(np.concatenate([np.unique((of.pred, of.truth)) for *_, of in cases]))
    for k in range(0 if strokes else 1, len(names)):
        if k in there:
            color = to_hex(class_colors(k + 1)[-1])
            switches.append(_switch(f"show-class-{k}", names[k], _sample("prediction", color)))
    meaning = {"missed": f"called {names[0]}", "added": f"should be {names[0]}", "confused": "of another class"}
    swatches = {name: element("rect", width=18, height=10, fill=color) for name, color in ERRORS.items()}
    kinds = ", ".join(f"{_key(area)} {name} ({escape(meaning[name])})" for name, area in swatches.items())
    lines = "" if strokes else "Solid lines are the prediction, dashed ones the truth. "
    told = (
        f"{lines}Errors are areas: {kinds}. Slices are those with most wrong voxels of each case, not typical ones. "
        "Grey values reach from the 1st to the 99th percentile of the whole volume."
    )
    show = element("fieldset", element("legend", "Show"), *switches, class_="layers")
    return [show + "\n", element("p", told, class_="note") + "\n"]


def _switch(name: str, text: str, key: str = "", on: bool = True) -> str:
    box = element("input", type="checkbox", id=name, **({"checked": ""} if on else {}))
    return element("label", box, key, f" {escape(text)}")


def _key(drawn: str) -> str:
    return element("svg", drawn, class_="key", viewBox="0 0 18 10", aria_hidden="true")


def _sample(layer: str, color: str) -> str:
    return _key(element("path", class_=layer, d="M2 5H16", stroke=color))


def _switches(names: Sequence[str]) -> str:
    """Rules without which nothing could be switched: what a box that is not ticked hides."""
    ids = [*_LAYERS, *(f"class-{k}" for k in range(len(names)))]
    return "".join(f"body:has(#show-{name}:not(:checked)) .slices .{name} {{ display: none; }}\n" for name in ids)


def _case(scores: Scores, key: str, index: int, what: str, of: CaseSlices, strokes: bool) -> str:
    name, patient = scores.cases[index], scores.patients[index]
    values = scores.figures[key][index]
    each = ", ".join(f"{escape(c)} {_number(v)}" for c, v in zip(scores.named(key), values))
    figures = []
    area = of.step[0] * of.step[1] / 100 if of.unit == "mm" else 0
    for i, (number, wrong) in enumerate(zip(of.numbers, of.wrong())):
        place = f"slice {number} of {of.count}" if of.count > 1 else "whole image"
        amount = f"{wrong} pixels wrong" + (f", {wrong * area:.1f} cm²" if area else "")
        if not strokes and not ((of.truth[i] > 0) & (of.truth[i] < VOID)).any():
            amount += ", nothing but background in the truth"
        label = f"{what}, {name}, {place}, {amount}"
        figures.append(element("figure", overlay(of, i, label, strokes), element("figcaption", f"{place}: {amount}")))
    sides = (
        "Letters are the patient's sides by the file's header."
        if of.sides
        else "Shown as stored: the file does not say how the patient lies, left and right may be swapped."
    )
    if not of.unit:
        sides = ""
    if of.thickness:
        sides += f" Slices are {of.thickness:g} {escape(of.unit)} apart."
    told = f"Patient {escape(patient)}. {escape(key)}: {each}. {sides}"
    slices = element("div", *figures, class_="slices")
    return element("article", element("h3", f"{what}: {escape(name)}"), element("p", told), slices) + "\n"


def _calibration(found: Mapping[str, tuple[np.ndarray, Row]]) -> str:
    charts, rows = [], []
    for title, (sums, row) in found.items():
        if sums[0].any():
            charts.append(reliability(title, sums, row["mean"]))
            rows.append((escape(title), _number(row["mean"]), _interval(row)))
    if not charts:
        return ""
    titles = ("voxels", "expected calibration error", "95 % interval")
    return f'<div class="sheet charts">{"".join(charts)}</div>\n' + table(
        "Expected calibration error; foreground: voxels whose predicted or true class is foreground", titles, rows
    )


def _interval(row: Row) -> str:
    return NONE if np.isnan(row["low"]) else f"{_number(row['low'])} to {_number(row['high'])}"


def _curves(scalars: Mapping[str, tuple[list[int], list[float]]]) -> str:
    charts = [
        line(tag.replace("_", " "), points, "iteration" if tag == "train_loss" else "epoch")
        for tag, points in scalars.items()
        if np.isfinite(points[1]).any()
    ]
    return f'<div class="sheet charts">{"".join(charts)}</div>\n' if charts else ""


def _all_cases(scores: Scores, key: str) -> str:
    titles = [title for title in scores.figures if scores.by_case(title)]
    means = {title: mean(scores.figures[title].T) for title in titles}
    order = np.argsort(means[key], kind="stable")
    rows: Iterable[list[str]] = (
        [
            escape(scores.cases[i]),
            escape(scores.patients[i]),
            *(_number(of[i]) for of in means.values()),
        ]
        for i in order
    )
    return table(f"Means over classes, sorted by {key}", ["case", "patient", *map(escape, titles)], rows)


def _escaped(pair: tuple[str, str]) -> tuple[str, str]:
    return escape(pair[0]), escape(pair[1])
