# SPDX-License-Identifier: Apache-2.0
"""The page at the end of an evaluation: figures with intervals, cases to look at, calibration, and how it was run."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

import numpy as np

from medwsss.reports.cases import article, layers, switches
from medwsss.reports.charts import Points, line, read_scalars, reliability
from medwsss.reports.label_quality import NO_LABELS, TrainingLabels, quality
from medwsss.reports.page import page, section, table
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
    labels: TrainingLabels = NO_LABELS,
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
        labels: what training left of its pseudo-labels.
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
        section(
            "Cases",
            *layers(names, [of for *_, of in cases] + list(labels.cases.values()), strokes),
            *(_case(scores, key, *each, strokes) for each in cases),
            *(article(f"Training case: {name}", "", of) for name, of in labels.cases.items()),
        ),
        section("Pseudo-labels", *quality(labels)),
        section("Calibration", _calibration(calibration)),
        section("Training", _curves(read_scalars(scalars) if scalars else {})),
        section("All cases", _all_cases(scores, key)),
        section("Data", f"<pre>{escape(data)}</pre>\n" if data else ""),
        *(
            section(name, table(name, ("name", "value"), map(_escaped, of.items()), "facts") if of else "")
            for name, of in facts.items()
        ),
    ]
    page(path, title, parts, switches(names))


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


def _case(scores: Scores, key: str, index: int, what: str, of: CaseSlices, strokes: bool) -> str:
    values = zip(scores.named(key), scores.figures[key][index])
    each = ", ".join(f"{escape(c)} {_number(v)}" for c, v in values)
    about = f"Patient {escape(scores.patients[index])}. {escape(key)}: {each}."
    return article(f"{what}: {scores.cases[index]}", about, of, strokes)


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


def _curves(scalars: Mapping[str, Points]) -> str:
    """A chart a figure; what there is before and after a solve goes into one."""
    charts: dict[str, dict[str, Points]] = {}
    for tag, points in scalars.items():
        name, _, when = tag.rpartition("_")
        pair = when in ("before", "after")
        if np.isfinite(points[1]).any():
            charts.setdefault(name if pair else tag, {})[when if pair else ""] = points
    drawn = [
        line(name.replace("_", " "), curves, "iteration" if name == "train_loss" else "epoch")
        for name, curves in charts.items()
    ]
    return f'<div class="sheet charts">{"".join(drawn)}</div>\n' if drawn else ""


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
