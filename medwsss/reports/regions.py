# SPDX-License-Identifier: Apache-2.0
"""Slices of an image with contours and strokes drawn over them: what lies below can still be judged."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import zip_longest

import matplotlib.patheffects as effects
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from medwsss.reports.pictures import class_colors, contour, stretch

__all__ = ["Panel", "draw_panels"]

_SIDE, _NARROW = 3.2, 2.0  # inches of a panel's longer side, and what the names of classes need
_COLUMNS = 5
_HALO = [effects.withStroke(linewidth=3.5, foreground="black")]  # white on black is seen on any image, by any eye


@dataclass(frozen=True)
class Panel:
    """One slice; the first array axis runs to the right."""

    image: np.ndarray  #: ``C X Y``
    strokes: np.ndarray  #: ``X Y`` classes, other numbers where there is none
    prediction: np.ndarray  #: ``X Y`` classes
    region: np.ndarray  #: ``X Y`` bool, what the panel is about
    title: str
    aspect: float = 1.0  #: height of a voxel by its width


def draw_panels(panels: Sequence[Panel], class_names: Sequence[str], title: str = "") -> np.ndarray:
    """Panels, five in a row, with a legend: strokes as dots, predicted classes as thin lines in the colours of their
    classes, the region as a white line with a black edge.

    Returns:
        H x W x 3 uint8.
    """
    width, height = panels[0].region.shape
    ratio = height * panels[0].aspect / width
    across, down = max(_NARROW, _SIDE * min(1, 1 / ratio)), _SIDE * min(1, ratio)
    columns = min(len(panels), _COLUMNS)
    rows = -(-len(panels) // columns)
    size = (max(2 * _NARROW, columns * across), rows * (down + 0.6) + 0.7)
    figure = Figure(figsize=size, dpi=120, layout="constrained")
    canvas = FigureCanvasAgg(figure)  # no pyplot: no global state, no display
    places = figure.subplots(rows, columns, squeeze=False).flat
    for axes, panel in zip_longest(places, panels):
        axes.set_axis_off()
        if panel is not None:
            _draw(axes, panel, class_colors(len(class_names)))
    figure.suptitle(title, fontsize=10)
    lines = [Line2D([], [], color="white", lw=1.5, path_effects=_HALO, label="draw here")]
    lines += [
        Line2D([], [], color=color, lw=1, marker="s", ms=4, label=name)
        for color, name in zip(class_colors(len(class_names)), class_names)
    ]
    figure.legend(handles=lines, loc="outside lower center", ncols=int(size[0] / 1.3), fontsize=8, frameon=False)
    canvas.draw()
    return np.array(canvas.buffer_rgba())[..., :3]


def _draw(axes: Axes, panel: Panel, colors: np.ndarray) -> None:
    axes.imshow(stretch(panel.image).swapaxes(0, 1), interpolation="nearest", aspect=panel.aspect)
    for k, color in enumerate(colors):
        if k and (panel.prediction == k).any():
            contour(axes, panel.prediction == k, colors=[color], linewidths=1.0)
        x, y = np.nonzero(panel.strokes == k)
        axes.scatter(x, y, s=6, color=[color], marker="s", linewidths=0)
    contour(axes, panel.region, colors="white", linewidths=1.5).set_path_effects(_HALO)
    axes.set_title(panel.title, fontsize=8)
