# SPDX-License-Identifier: Apache-2.0
"""ScribbleSup's strokes: polylines in XML, shortened along their length and drawn with a brush."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple
from xml.etree import ElementTree

import numpy as np

from medwsss.keys import UNLABELED

_ROUNDING = 1e-9  # squared pixels: a shortened stroke must not leave the long one


class Polyline(NamedTuple):
    """One stroke."""

    tag: str  #: name of the class
    points: np.ndarray  #: n x 2, (x, y) in pixels; the first pixel's centre is (0, 0)


def read_polylines(path: Path) -> tuple[tuple[int, int], list[Polyline]]:
    """Width and height of the image, and its strokes, of ``<annotation><size/><polygon><tag/><point><X/><Y/>…``.

    Raises:
        ValueError: naming the file, if it is something else.
    """
    try:
        root = ElementTree.parse(path).getroot()
        width, height = (int(root.findtext(f"size/{side}", "")) for side in ("width", "height"))
        polylines = [
            Polyline(
                (polygon.findtext("tag") or "").strip(),
                np.array([[float(point.findtext(axis, "")) for axis in "XY"] for point in polygon.findall("point")]),
            )
            for polygon in root.findall("polygon")
        ]
    except (ElementTree.ParseError, ValueError) as error:
        raise ValueError(f"expected polylines in XML, got {path}: {error}") from error
    if not polylines or not all(len(polyline.points) for polyline in polylines):
        raise ValueError(f"expected polylines with at least one point, got one without in {path}")
    return (width, height), polylines


def shorten(points: np.ndarray, ratio: float) -> np.ndarray:
    """The middle part of a polyline, ``ratio`` of its length; 0: the point in its middle.

    Args:
        points: n x 2.
        ratio: from 0 to 1; parts with a smaller ratio lie inside those with a larger one.
    """
    along = np.concatenate([[0.0], np.hypot(*np.diff(points, axis=0).T).cumsum()])
    ends = along[-1] / 2 * np.array([1 - ratio, 1 + ratio])
    inner = points[(along > ends[0]) & (along < ends[1])]
    first, last = np.stack([np.interp(ends, along, axis) for axis in points.T], -1)
    return np.concatenate([first[None], inner, last[None]])


def draw(
    polylines: Sequence[Polyline], classes: Mapping[str, int], size: tuple[int, int], width: float, ratio: float = 1.0
) -> np.ndarray:
    """Label map of ``size`` (x first): every pixel whose centre lies within ``width / 2`` of a stroke has its class.

    Later strokes cover earlier ones. With a smaller ``ratio`` fewer pixels have the same classes.

    Raises:
        ValueError: for a tag that is not in ``classes``.
    """
    labels = np.full(size, UNLABELED, np.uint8)
    for tag, points in polylines:
        if tag not in classes:
            raise ValueError(f"expected a tag of {', '.join(classes)}, got {tag!r}")
        if ratio < 1:  # what a long stroke covers does not reappear under its short one
            _paint(labels, points, width, UNLABELED)
        _paint(labels, shorten(points, ratio), width, classes[tag])
    return labels


def _paint(labels: np.ndarray, points: np.ndarray, width: float, value: int) -> None:
    segments = zip(points[:-1], points[1:]) if len(points) > 1 else [(points[0], points[0])]
    for start, end in segments:
        low = np.maximum(np.ceil(np.minimum(start, end) - width / 2), 0).astype(int)
        high = np.maximum(np.floor(np.maximum(start, end) + width / 2).astype(int) + 1, low)
        window = labels[low[0] : high[0], low[1] : high[1]]
        offset = np.moveaxis(np.indices(window.shape), 0, -1) + low - start
        step = end - start
        along = np.clip(offset @ step / max(step @ step, np.finfo(float).tiny), 0, 1)
        window[((offset - along[..., None] * step) ** 2).sum(-1) <= width**2 / 4 + _ROUNDING] = value
