# SPDX-License-Identifier: Apache-2.0
"""How good pseudo-labels were in a training that had masks to compare them with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from medwsss.reports.charts import line
from medwsss.reports.page import table
from medwsss.reports.slices import CaseSlices
from medwsss.reports.tables import NONE

__all__ = ["NO_LABELS", "TrainingLabels", "quality"]

_FIGURES = {"accuracy": "accuracy", "soft_jaccard": "soft Jaccard", "entropy": "entropy / ln K"}
_WHEN = {"before": "network", "after": "pseudo-label"}


@dataclass(frozen=True)
class TrainingLabels:
    """What :class:`~medwsss.handlers.LabelQualityHandler` left."""

    ranges: Sequence[str]  #: names of the ranges of distance to the border
    epochs: Sequence[Mapping[str, Any]]  #: ``epoch``, and the figures ``before`` and ``after`` the solver
    cases: Mapping[str, CaseSlices]  #: of the last of these epochs, by name


NO_LABELS = TrainingLabels((), (), {})


def quality(labels: TrainingLabels) -> list[str]:
    """Figures over the epochs, and errors by distance to the border in the last one; nothing without any."""
    if not labels.epochs:
        return []
    epochs = [each["epoch"] for each in labels.epochs]
    charts = [
        line(title, {of: (epochs, [each[when][name] for each in labels.epochs]) for when, of in _WHEN.items()}, "epoch")
        for name, title in _FIGURES.items()
    ]
    last = labels.epochs[-1]
    rows = [
        [name, f"{voxels:,}", *(_share(last[when]["errors"][i]) for when in _WHEN)]
        for i, (name, voxels) in enumerate(zip(labels.ranges, last["after"]["voxels"]))
    ]
    told = (
        f"<p>Network and pseudo-labels of {len(labels.cases)} whole training cases against their dense masks, which "
        "nothing else has seen: no epoch was chosen by them. Seeds don't count.</p>\n"
    )
    caption = f"Share of wrong voxels by distance to the border of the mask, epoch {last['epoch']}"
    return [
        told,
        f'<div class="sheet charts">{"".join(charts)}</div>\n',
        table(caption, ["distance", "voxels", *_WHEN.values()], rows),
    ]


def _share(value: float | None) -> str:
    return NONE if value is None or value != value else f"{value:.3f}"
