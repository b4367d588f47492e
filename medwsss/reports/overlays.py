# SPDX-License-Identifier: Apache-2.0
"""A slice as SVG: the image, and over it what can be switched on and off: contours of masks, strokes, and errors."""

from __future__ import annotations

from html import escape

import numpy as np
from matplotlib.colors import to_hex
from skimage.measure import find_contours

from medwsss.keys import VOID
from medwsss.reports.markup import data_url, element, png
from medwsss.reports.pictures import class_colors
from medwsss.reports.scale import bar_length
from medwsss.reports.slices import CaseSlices

__all__ = ["ERRORS", "overlay"]

#: kinds of error and their colours, the last two of the classes' palette
ERRORS = {"missed": "#F0E442", "added": "#D55E00", "confused": "#FFFFFF"}


def overlay(case: CaseSlices, i: int, label: str, strokes: bool = False) -> str:
    """Slice ``i`` of a case.

    Layers are groups of the classes ``prediction``, ``truth`` (or ``scribble``, of masks that are strokes) and
    ``error``, with pseudo-labels ``pseudo-label`` and ``scribble``; what belongs to a class of the task is of
    ``class-K``, too.

    Args:
        case: its slices.
        i: which of them.
        label: what a person who cannot see it is told.
        strokes: the truth is one of strokes, which are filled and not outlined.
    """
    width, height = case.pred.shape[1:]
    least = min(case.step)
    x, y = (step / least for step in case.step)
    truth = np.where(case.truth[i] < VOID, case.truth[i], 0)
    size = {"width": f"{width * x:g}", "height": f"{height * y:g}"}
    picture = data_url(png(case.image[i].swapaxes(0, 1)))
    more = (_masks(case.strokes[i], "scribble"), _masks(case.pseudo[i], "pseudo-label")) if len(case.pseudo) else ()
    masks = (
        _errors(case.pred[i], case.truth[i]),
        *more,
        _masks(case.truth[i] if strokes else truth, "scribble" if strokes else "truth"),
        _masks(case.pred[i], "prediction"),
    )
    return element(
        "svg",
        element("image", href=picture, **size, preserveAspectRatio="none"),
        element("g", *masks, transform=f"scale({x:g} {y:g})"),
        _scale_bar(width * x, height * y, least, case.unit),
        _sides(width * x, height * y, case.sides),
        viewBox=f"0 0 {width * x:g} {height * y:g}",
        role="img",
        aria_label=label,
    )


def _masks(classes: np.ndarray, layer: str) -> str:
    """Outlines of the foreground classes; of strokes the area, and that of background, too."""
    parts = []
    for k in np.unique(classes[classes < VOID]):
        if k or layer == "scribble":
            path, color = _path(classes == k), to_hex(class_colors(int(k) + 1)[-1])
            paint = {"fill" if layer == "scribble" else "stroke": color}
            parts.append(element("g", element("path", d=path, **paint), class_=f"{layer} class-{k}"))
    return "".join(parts)


def _errors(pred: np.ndarray, truth: np.ndarray) -> str:
    wrong = (pred != truth) & (truth < VOID)
    kinds = (wrong & (pred == 0), wrong & (truth == 0), wrong & (pred > 0) & (truth > 0))
    areas = [
        element("path", class_=name, d=_path(area), fill=color)
        for (name, color), area in zip(ERRORS.items(), kinds)
        if area.any()
    ]
    return element("g", "", *areas, class_="error")


def _path(mask: np.ndarray) -> str:
    """Outlines halfway between pixels, in pixels from the picture's corner."""
    lines = find_contours(np.pad(mask, 1).astype(float), 0.5)
    return "".join("M" + "L".join(f"{a - 0.5:g} {b - 0.5:g}" for a, b in line[:-1]) + "Z" for line in lines)


def _scale_bar(width: float, height: float, least: float, unit: str) -> str:
    if not unit:
        return ""
    length = bar_length(width * least)
    size, edge = max(width, height) / 22, max(width, height) / 40
    end = edge + length / least
    bar = element("path", d=f"M{edge:g} {height - edge:g}H{end:g}")
    text = element("text", f"{length:g} {escape(unit)}", x=f"{edge:g}", y=f"{height - 1.6 * edge:g}")
    return element("g", bar, text, class_="scale", font_size=f"{size:g}")


def _sides(width: float, height: float, sides: str) -> str:
    if not sides:
        return ""
    size = max(width, height) / 18
    places = (
        (size / 2, height / 2),
        (width - size / 2, height / 2),
        (width / 2, size),
        (width / 2, height - size / 3),
    )
    letters = [element("text", letter, x=f"{x:g}", y=f"{y:g}") for letter, (x, y) in zip(sides, places)]
    return element("g", *letters, class_="sides", font_size=f"{size:g}")
