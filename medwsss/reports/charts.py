# SPDX-License-Identifier: Apache-2.0
"""Charts inside a page, which take its colour of text, so that they are read on light and dark alike."""

from __future__ import annotations

import io
import re
from collections.abc import Mapping
from html import escape
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

__all__ = ["Points", "line", "read_scalars", "reliability", "svg"]

_BLUE = "#56B4E9"
_COLORS = (_BLUE, "#E69F00", "#009E73")

Points = tuple[list[int], list[float]]  #: steps and values


def read_scalars(folder: Path) -> dict[str, Points]:
    """What a run has written for TensorBoard, by tag, of a step it went through twice the last; empty without files."""
    if not any(folder.glob("events.out.tfevents.*")):
        return {}
    events = EventAccumulator(str(folder), size_guidance={"scalars": 0}).Reload()
    found = {tag: {each.step: each.value for each in events.Scalars(tag)} for tag in events.Tags()["scalars"]}
    return {tag: (sorted(of), [of[step] for step in sorted(of)]) for tag, of in found.items()}


def line(title: str, curves: Mapping[str, Points], xlabel: str) -> str:
    """Curves by their names; a single one needs none."""
    figure = Figure(figsize=(4, 2.4), layout="constrained")
    axes = figure.subplots()
    for color, (name, points) in zip(_COLORS, curves.items()):
        axes.plot(*points, color=color, marker="." if len(points[0]) < 50 else "", label=name)
    axes.set(title=title, xlabel=xlabel)
    if len(curves) > 1:
        axes.legend(frameon=False)
    told = (
        f"{name} from {values[0]:.4g} to {values[-1]:.4g} in {len(values)} values".strip()
        for name, (_, values) in curves.items()
    )
    return svg(figure, f"{title}: {'; '.join(told)}")


def reliability(title: str, sums: np.ndarray, error: float) -> str:
    """Share of right voxels over confidence, with the share of all voxels that each bin holds below.

    Args:
        title: of the chart.
        sums: ``3 × bins``: voxels, sums of confidence, right voxels.
        error: expected calibration error.
    """
    voxels, confidence, right = sums
    some = voxels > 0
    figure = Figure(figsize=(4, 4.4), layout="constrained")
    above, below = figure.subplots(2, height_ratios=(3, 1), sharex=True)
    above.plot((0, 1), (0, 1), color="black", linestyle=":", label="confidence = accuracy")
    above.plot(confidence[some] / voxels[some], right[some] / voxels[some], color=_BLUE, marker="o", label="network")
    above.set(title=title, ylabel="share of right voxels", xlim=(0, 1), ylim=(0, 1))
    above.legend(loc="upper left", frameon=False)
    edges = np.linspace(0, 1, len(voxels) + 1)
    below.stairs(voxels / voxels.sum(), edges, fill=True, color=_BLUE)
    below.set(xlabel="confidence of the predicted class", ylabel="share of voxels")
    facts = ", ".join(f"{r / n:.2f} right at {c / n:.2f}" for n, c, r in sums.T if n)
    return svg(figure, f"{title}, expected calibration error {error:.3f}: {facts}")


def svg(figure: Figure, label: str) -> str:
    """A figure as part of a page; ``label`` is what a person who cannot see it is told."""
    stream = io.StringIO()
    nothing: Mapping[str, None] = dict.fromkeys(("Creator", "Date", "Format", "Type"))
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": label}):  # its ids are unique in a page
        figure.savefig(stream, format="svg", transparent=True, metadata=nothing)
    text = stream.getvalue()
    text = text[text.index("<svg") :].replace("#000000", "currentColor")
    text = re.sub(r' id="[a-z0-9.]+_\d+"', "", text)  # of its parts, which are called alike in every figure
    return text.replace("<svg", '<svg role="img" aria-label="%s"' % escape(label), 1)
