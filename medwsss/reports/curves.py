# SPDX-License-Identifier: Apache-2.0
"""Curves of scores over what was varied, a panel a study, with bars over seeds."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from statistics import mean, stdev

from matplotlib.figure import Figure

__all__ = ["Points", "curves", "deviation", "extent"]

Points = Mapping[float, Sequence[float]]  #: the scores of all seeds at each place


def deviation(values: Sequence[float]) -> tuple[float, float]:
    """Standard deviation below and above the mean."""
    around = stdev(values) if len(values) > 1 else 0.0
    return around, around


def extent(values: Sequence[float]) -> tuple[float, float]:
    """From the mean down to the least and up to the largest."""
    return mean(values) - min(values), max(values) - mean(values)


def curves(
    panels: Mapping[str, Mapping[str, Points]],
    xlabel: str,
    ylabel: str,
    bars: Callable[[Sequence[float]], tuple[float, float]] = extent,
    levels: Mapping[str, Mapping[str, float]] | None = None,
    factors: bool = False,
) -> Figure:
    """Draw them.

    Args:
        panels: title → name of a curve → its points.
        xlabel: of every panel.
        ylabel: of every panel.
        bars: how far they reach below and above the mean.
        levels: title → name → score that holds at every place, as a line across.
        factors: places are factors, so that a half is as far from 1 as 2 is.
    """
    figure = Figure(figsize=(5 * len(panels), 4), layout="constrained")
    for axes, (title, lines) in zip(figure.subplots(1, len(panels), squeeze=False)[0], panels.items()):
        for name, points in lines.items():
            x = sorted(points)
            reach = list(zip(*(bars(points[value]) for value in x)))
            axes.errorbar(x, [mean(points[value]) for value in x], reach, marker="o", capsize=3, label=name)
        for name, level in (levels or {}).get(title, {}).items():
            axes.axhline(level, color="gray", label=name)
        if factors:
            axes.set_xscale("log", base=2)
        axes.set(title=title, xlabel=xlabel, ylabel=ylabel)
        axes.legend(fontsize=8)
    return figure
