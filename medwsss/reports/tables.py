# SPDX-License-Identifier: Apache-2.0
"""Tables in Markdown: means with deviations, and paired differences with intervals."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from statistics import mean, stdev

import numpy as np

from medwsss.reports.results import Line, cases, same_seeds

__all__ = ["NONE", "difference", "interval", "markdown", "minutes", "paired", "seeds", "spread"]

NONE = "–"  #: in a cell for which there is no run
RESAMPLES = 10_000


def markdown(titles: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """The table of these cells."""
    first, *rest = ("|" + "".join(f" {cell} |" if cell else " |" for cell in row) for row in (titles, *rows))
    return "\n".join([first, "|---" * len(titles) + "|", *rest])


def spread(figures: Sequence[float | None], digits: int) -> str:
    """Mean ± standard deviation of a sample; of one value no deviation, and nothing of what could not be measured."""
    values = [value for value in figures if value is not None]
    if not values:
        return NONE
    return f"{mean(values):.{digits}f}" + (f" ± {stdev(values):.{digits}f}" if len(values) > 1 else "")


def interval(
    values: np.ndarray, statistic: Callable[[np.ndarray], float] | None = None, resamples: int = RESAMPLES
) -> tuple[float, float]:
    """The 95 % bootstrap interval of the mean, or another statistic (percentiles, 10,000 draws, always the same)."""
    draws = np.random.default_rng(0).integers(len(values), size=(resamples, len(values)))
    found = values[draws].mean(1) if statistic is None else [statistic(values[draw]) for draw in draws]
    low, high = np.percentile(found, (2.5, 97.5))
    return float(low), float(high)


def paired(first: np.ndarray, second: np.ndarray) -> str:
    """Mean of ``first − second`` over the cases that both measure, with its 95 % bootstrap interval."""
    differences = (first - second)[~np.isnan(first - second)]
    if not differences.size:
        return NONE
    low, high = interval(differences)
    return f"{differences.mean():+.3f} [{low:+.3f}, {high:+.3f}]"


def difference(first: Sequence[Line], second: Sequence[Line], patients: Sequence[str] | None = None) -> str:
    """``paired`` in Dice of the seeds that both have, patient by patient; without patients case by case."""
    pair = same_seeds(first, second)
    return paired(*(by_patient(cases(of), patients) for of in pair)) if all(pair) else NONE


def by_patient(values: np.ndarray, patients: Sequence[str] | None) -> np.ndarray:
    """Mean of each patient's cases, which are no independent ones; NaN left out."""
    if patients is None:
        return values
    groups = [values[np.asarray(patients) == patient] for patient in dict.fromkeys(patients)]
    return np.array([np.nan if np.isnan(of).all() else np.nanmean(of) for of in groups])


def minutes(lines: Sequence[Line], digits: int = 1) -> str:
    """Mean CPU time of a run."""
    return f"{mean(line['cpu_minutes'] for line in lines):.{digits}f}" if lines else NONE


def seeds(lines: Sequence[Line]) -> str:
    """How many there are."""
    return str(len({line["seed"] for line in lines}))
