# SPDX-License-Identifier: Apache-2.0
"""Figures of cases and classes put together by patient, with bootstrap intervals, as tables and files."""

from __future__ import annotations

import csv
import io
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from medwsss.files import write_atomically
from medwsss.reports.tables import interval

__all__ = ["Scores", "mean", "summary_of"]

MEAN = "mean"


@dataclass(frozen=True)
class Scores:
    """What an evaluation found.

    A patient of several cases counts once: intervals are over patients, since cases of one are not independent.
    """

    cases: Sequence[str]  #: name of each
    patients: Sequence[str]  #: of each case
    class_names: Sequence[str]  #: background first
    figures: Mapping[str, np.ndarray]  #: title → cases × classes, or 1 × classes of all cases in one

    def named(self, title: str) -> list[str]:
        """Names of a figure's classes; without background where the figure leaves it out."""
        return list(self.class_names[len(self.class_names) - self.figures[title].shape[1] :])

    def by_case(self, title: str) -> bool:
        """Whether the figure is one of each case."""
        return len(self.figures[title]) == len(self.cases)

    def by_patient(self, values: np.ndarray) -> np.ndarray:
        """Mean of each patient's cases, ``patients × …``, NaN left out."""
        index = np.unique(np.asarray(self.patients), return_inverse=True)[1]
        return np.stack([mean(values[index == i]) for i in range(index.max() + 1)])

    def summary(self) -> list[dict[str, Any]]:
        """A row for each figure and class, and the figure's mean over classes: mean over patients and its interval."""
        rows = []
        for title, values in self.figures.items():
            of_patients = self.by_patient(values) if self.by_case(title) else values
            columns = [*of_patients.T, mean(of_patients.T)]
            for name, column in zip([*self.named(title), MEAN], columns):
                rows.append({"figure": title, "class": name, **summary_of(column)})
                if not self.by_case(title):
                    rows[-1]["patients"] = len(set(self.patients))
        return rows

    def rows(self) -> list[dict[str, Any]]:
        """A row for each case and class, with all figures of it."""
        titles = [title for title in self.figures if self.by_case(title)]
        classes = [name for name in self.class_names if any(name in self.named(title) for title in titles)]
        found = []
        for i, (case, patient) in enumerate(zip(self.cases, self.patients)):
            for name in classes:
                row: dict[str, Any] = {"case": case, "patient": patient, "class": name}
                for title in titles:
                    names = self.named(title)
                    row[title] = float(self.figures[title][i, names.index(name)]) if name in names else float("nan")
                found.append(row)
        return found

    def write_csv(self, path: Path) -> None:
        """:py:meth:`rows` as a file; what could not be measured is empty."""
        rows = self.rows()
        stream = io.StringIO()
        writer = csv.DictWriter(stream, list(rows[0]) if rows else [], lineterminator="\n")
        writer.writeheader()
        writer.writerows({k: "" if v != v else v for k, v in row.items()} for row in rows)
        write_atomically(memoryview(stream.getvalue().encode()), path)


def mean(values: np.ndarray) -> np.ndarray:
    """Over the first axis, NaN left out; NaN where nothing is left."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        return np.asarray(np.nanmean(values, axis=0))


def summary_of(values: np.ndarray) -> dict[str, Any]:
    """Mean and median of the patients' values, the mean's 95 % interval (of two patients at least), and their number.

    Example:
        >>> summary_of(np.array([0.5, np.nan]))
        {'mean': 0.5, 'low': nan, 'high': nan, 'median': 0.5, 'patients': 1}
    """
    known = values[~np.isnan(values)]
    low, high = interval(known) if len(known) > 1 else (np.nan, np.nan)
    middle = float(np.median(known)) if known.size else np.nan
    return {"mean": float(mean(values)), "low": low, "high": high, "median": middle, "patients": len(known)}
