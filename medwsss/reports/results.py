# SPDX-License-Identifier: Apache-2.0
"""The lines that trainings leave, one a run, and the figures in them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from medwsss.files import write_atomically

__all__ = ["Line", "cases", "chosen", "read_lines", "same_seeds", "score", "write_lines"]

Line = dict[str, Any]

#: What a line says of its run where it does not say it.
USUAL = {"study": "", "length": 1.0, "knob": "", "factor": 1.0}


def read_lines(path: Path) -> list[Line]:
    """The lines of a file that :func:`write_lines` wrote."""
    return [{**USUAL, **json.loads(text)} for text in path.read_text().splitlines()]


def write_lines(path: Path, lines: Sequence[Mapping[str, Any]]) -> None:
    """One JSON object a line."""
    write_atomically(memoryview("".join(json.dumps(line) + "\n" for line in lines).encode()), path)


def chosen(lines: Sequence[Line], **facts: Any) -> list[Line]:
    """Lines with these facts, those whose values are untouched unless a knob is asked for."""
    facts = {"knob": "", **facts}
    return [line for line in lines if all(line[name] == value for name, value in facts.items())]


def score(line: Line) -> float:
    """mIoU of the validation where it is taken, else mean Dice; NaN of cases that have nothing to measure."""
    figures = line["IoU"] if "IoU" in line else line["Dice"]
    return float("nan") if figures["mean"] is None else float(figures["mean"])


def cases(lines: Sequence[Line]) -> np.ndarray:
    """Dice of each validation case: mean over its foreground classes, then over seeds; NaN where it shows none."""
    figures = np.array([line["cases"]["Dice"] for line in lines], dtype=float)  # null is NaN
    count = np.isfinite(figures).sum(2)
    means = np.where(count > 0, np.nansum(figures, axis=2) / np.maximum(count, 1), np.nan)
    return np.asarray(means.mean(0))


def same_seeds(first: Sequence[Line], second: Sequence[Line]) -> tuple[list[Line], list[Line]]:
    """Those of both whose seeds both have, and whose cases have Dice."""
    first, second = ([line for line in of if "Dice" in line.get("cases", {})] for of in (first, second))
    seeds = {line["seed"] for line in first} & {line["seed"] for line in second}
    return [line for line in first if line["seed"] in seeds], [line for line in second if line["seed"] in seeds]
