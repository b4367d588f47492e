# SPDX-License-Identifier: Apache-2.0
"""Image, scribble, soft pseudo-label, prediction and ground truth side by side, as one picture."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.patheffects import withStroke
from monai.utils import convert_to_numpy
from torch import Tensor

from medwsss.keys import UNLABELED, VOID
from medwsss.reports.scale import bar_length

__all__ = ["class_colors", "contour", "draw_energy", "render", "stretch"]

# Okabe and Ito's colours, which the colour-blind tell apart, those most unlike each other and grey first
_OKABE_ITO = ("#56B4E9", "#E69F00", "#009E73", "#CC79A7", "#0072B2", "#F0E442", "#D55E00")
# Ticks that nobody sees would be laid out all the same, which takes most of the time
_BARE = {"xticks": (), "yticks": ()}


def class_colors(count: int) -> np.ndarray:
    """``count`` x 3 colours in [0, 1]: slate for background, Okabe and Ito's, ``tab20b``, repeated."""
    more = matplotlib.colormaps["tab20b"].colors  # type: ignore[attr-defined]
    palette = [(0.30, 0.36, 0.46), *map(to_rgb, _OKABE_ITO), *more]
    return np.array([palette[k % len(palette)] for k in range(count)])


def render(
    image: Tensor,
    *,
    class_names: Sequence[str],
    scribble: Tensor | None = None,
    pseudo_label: Tensor | None = None,
    prediction: Tensor | None = None,
    label: Tensor | None = None,
    focus: Tensor | None = None,
    spacing: Sequence[float] | None = None,
    unit: str = "",
    title: str = "",
) -> np.ndarray:
    """One panel: a column for everything given, with titles and a legend of the classes.

    A pseudo-label is shown as ``rgb_i = Σ_k y_i^k colour_k`` (Figure 4 of the paper). ``UNLABELED`` lets the image
    through, ``VOID`` is hatched in grey. A prediction is also shown as lines over the image, which areas hide, beside
    dashed ones of the label or else of the pseudo-label. The first array axis runs to the right, as MONAI reads images.
    Of a volume one sees the slice across its thinnest axis (the last of equals) with the most of ``focus`` or, without
    any, with the most foreground in the first of scribble, label and prediction that is there.

    Args:
        image: ``C *S`` with two axes or more; three channels are red, green and blue, of any other number the first is
            shown, from its 1st to 99th percentile; NaN, where there is nothing, is black.
        class_names: one for each class, background first.
        scribble: ``1 *S`` classes, ``UNLABELED`` or ``VOID``.
        pseudo_label: ``K *S`` on the simplex.
        prediction: ``K *S`` scores of any kind or ``1 *S`` classes.
        label: ``1 *S`` classes or ``K *S`` one-hot.
        focus: ``*S`` from 0, what the picture is about: errors, uncertainty.
        spacing: of each axis; pixels are as long and as wide as it says.
        unit: of the spacing; with one, the first column has a scale bar.
        title: heading of the whole.

    Returns:
        H x W x 3 uint8.
    """
    colors = class_colors(len(class_names))
    given = {"scribble": scribble, "prediction": prediction, "ground truth": label}
    maps = {name: _classes(tensor) for name, tensor in given.items() if tensor is not None}
    reference = next(
        (maps[k] for k in ("scribble", "ground truth", "prediction") if k in maps), np.zeros(image.shape[1:])
    )
    shown = None if focus is None else convert_to_numpy(focus)
    plane = _plane(shown if shown is not None and shown.any() else (reference > 0) & (reference < VOID))

    grey = stretch(convert_to_numpy(image))[plane]
    columns = {"image": grey, **{name: _paint(grey, classes[plane], colors) for name, classes in maps.items()}}
    if pseudo_label is not None:
        columns["pseudo-label"] = np.einsum(
            "kxy,kc->xyc", convert_to_numpy(pseudo_label)[(slice(None), *plane)], colors
        ).clip(0, 1)
    lines = {}
    if "prediction" in maps:
        lines = {"prediction": (maps["prediction"][plane], "solid")}
        if label is not None:
            lines["truth"] = (maps["ground truth"][plane], "dashed")
        elif pseudo_label is not None:
            lines["pseudo-label"] = (_classes(pseudo_label)[plane], "dashed")
        columns["contours"] = grey
    order = [k for k in ("image", "scribble", "pseudo-label", "prediction", "ground truth", "contours") if k in columns]

    x, y = (step for step, index in zip(spacing or [1.0] * len(plane), plane) if isinstance(index, slice))
    width, height = grey.shape[0] * x, grey.shape[1] * y
    figure = Figure(figsize=(2.5 * len(order), 2.5 * height / width + 0.9), dpi=100, layout="constrained")
    canvas = FigureCanvasAgg(figure)  # no pyplot: no global state, no display
    for axes, name in zip(figure.subplots(1, len(order), squeeze=False, subplot_kw=_BARE)[0], order):
        axes.imshow(columns[name].swapaxes(0, 1), interpolation="nearest", aspect=y / x)
        axes.set_title(name, fontsize=10, y=1)
        for classes, style in lines.values() if name == "contours" else ():
            for k in np.unique(classes[(classes > 0) & (classes < VOID)]):
                contour(axes, classes == k, colors=[colors[k]], linewidths=1.2, linestyles=style)
            axes.set_title(", ".join(f"{what} {style}" for what, (_, style) in lines.items()), fontsize=7, y=1)
        if name == "image" and unit:
            _scale_bar(axes, width, x, unit)
        axes.set_axis_off()
    figure.suptitle(title, fontsize=11)
    patches = [Patch(color=tuple(color), label=name) for color, name in zip(colors, class_names)]
    figure.legend(handles=patches, loc="outside lower center", ncols=2 * len(order), fontsize=8, frameon=False)
    canvas.draw()
    return np.array(canvas.buffer_rgba())[..., :3]


def _scale_bar(axes: Axes, width: float, step: float, unit: str) -> None:
    """A bar at the bottom left of what is ``width`` units wide and has a pixel every ``step``."""
    length = bar_length(width)
    edged = [withStroke(linewidth=3, foreground="black")]
    style: dict[str, Any] = {"transform": axes.get_xaxis_transform(), "color": "white", "path_effects": edged}
    left, right = axes.get_xlim()
    start = left + 0.04 * (right - left)
    axes.plot([start, start + length / step], [0.05, 0.05], linewidth=1.5, **style)
    axes.text(start, 0.08, f"{length:g} {unit}", fontsize=7, **style)


def contour(axes: Axes, mask: np.ndarray, **style: Any) -> Any:
    """The outline of ``X Y``, closed where the mask meets the edge of the image."""
    padded = np.pad(mask, 1).astype(float).T
    x, y = (np.arange(-1, size + 1) for size in mask.shape)
    return axes.contour(x, y, padded, levels=[0.5], **style)


def draw_energy(energies: Sequence[float], title: str) -> np.ndarray:
    """``E(y)`` before the first and after every step of a solve, ``H × W × 3`` uint8."""
    figure = Figure(figsize=(4, 3), dpi=100, layout="constrained")
    canvas = FigureCanvasAgg(figure)
    axes = figure.subplots()
    axes.plot(energies, marker=".", color=_OKABE_ITO[0])
    axes.set(title=title, xlabel="step of the solver", ylabel="energy, mean over samples")
    canvas.draw()
    return np.array(canvas.buffer_rgba())[..., :3]


def _classes(scores: Tensor) -> np.ndarray:
    """``1 *S`` classes or ``K *S`` scores to ``*S`` classes."""
    array = convert_to_numpy(scores)
    return np.asarray(array[0] if len(array) == 1 else array.argmax(0)).astype(int)


def _plane(weight: np.ndarray) -> tuple[slice | int, ...]:
    """Index that leaves two axes of ``*S``: slices with the most of a weight, the middle one where there is none."""
    index: list[slice | int] = [slice(None)] * weight.ndim
    for axis in sorted(range(weight.ndim), key=lambda a: (weight.shape[a], -a))[: max(weight.ndim - 2, 0)]:
        counts = weight.sum(tuple(a for a in range(weight.ndim) if a != axis))
        index[axis] = int(counts.argmax()) if counts.any() else len(counts) // 2
    return tuple(index)


def stretch(image: np.ndarray) -> np.ndarray:
    """``C *S`` of any range to ``*S 3`` in [0, 1], from its 1st to its 99th percentile; NaN is black."""
    channels = image if len(image) == 3 else image[:1].repeat(3, 0)
    known = channels[np.isfinite(channels)]
    low, high = np.percentile(known, (1, 99)) if known.size else (0, 1)
    grey = ((channels - low) / max(high - low, 1e-8)).clip(0, 1)
    return np.moveaxis(np.nan_to_num(grey), 0, -1)


def _paint(grey: np.ndarray, classes: np.ndarray, colors: np.ndarray) -> np.ndarray:
    """Classes in their colours over the image."""
    picture = grey.copy()
    known = (classes != UNLABELED) & (classes != VOID)
    picture[known] = colors[classes[known]]
    stripes = np.where(np.indices(classes.shape).sum(0) % 4 < 2, 0.45, 0.65)
    picture[classes == VOID] = stripes[classes == VOID, None]
    return picture
