# SPDX-License-Identifier: Apache-2.0
"""What people draw, as geometries in pixels: pixel (0, 0) covers 0 to 1 along either axis, rows run down."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import PurePosixPath
from typing import Any, NamedTuple

import numpy as np
from monai.utils import optional_import
from numpy.typing import ArrayLike

shapely, _ = optional_import("shapely")
affinity, _ = optional_import("shapely.affinity")
rio_features, _ = optional_import("rasterio.features")
rasterio, _ = optional_import("rasterio")

__all__ = ["Absent", "Shape", "check_size", "ellipse", "file_name", "only", "outline", "runs_to_pixels", "through"]

_LINES = ("line", "linestrip", "polyline", "path", "freeline")
_POINTS = ("point", "points")
_SHOWN = 200  # characters of a list of names


class Absent(ValueError):
    """A file has nothing for an image."""


class Shape(NamedTuple):
    """One that a file has for an image."""

    name: str  #: of its class in the file
    geometry: Any  #: of shapely
    plane: int | None = None  #: number of the slice, from 0, where the file says it


def file_name(path: Any) -> str:
    """Of a path of any machine."""
    return PurePosixPath(str(path).replace("\\", "/")).name


def only(found: Sequence[Any], names: Iterable[str], image: str) -> Any:
    """The one that a file of many images has for an image.

    Raises:
        Absent: for none.
        ValueError: for several.
    """
    if len(found) == 1:
        return found[0]
    told = f"expected one image {image}, got {len(found)} among {', '.join(names)[:_SHOWN] or 'none'}"
    raise ValueError(told) if found else Absent(told)


def check_size(told: Sequence[Any], size: tuple[int, int]) -> None:
    """Refuse shapes of an image of another size; a file that does not say it has ``None``."""
    if None not in told and tuple(map(int, told)) != size:
        raise ValueError(f"expected shapes of an image of {size[0]} x {size[1]} pixels, got {told[0]} x {told[1]}")


def through(kind: str, points: np.ndarray) -> Any:
    """A polygon, line or points through ``N × (x, y)``."""
    if kind not in ("polygon", *_LINES, *_POINTS):
        raise ValueError(f"expected points, lines, polygons, rectangles and circles, got {kind}")
    if kind == "polygon" and len(points) < 3 or not len(points):
        raise ValueError(f"expected corners of a {kind}, got {len(points)}")
    if len(points) == 1:
        return shapely.Point(points[0])
    return (shapely.Polygon if kind == "polygon" else shapely.LineString if kind in _LINES else shapely.MultiPoint)(
        points
    )


def ellipse(middle: ArrayLike, radii: ArrayLike, degrees: float = 0.0) -> Any:
    """One whose first radius is turned clockwise, as seen with rows running down."""
    (x, y), (across, down) = np.asarray(middle, float), np.asarray(radii, float)
    around = affinity.scale(shapely.Point(x, y).buffer(1, quad_segs=32), across, down, origin=(x, y))
    return affinity.rotate(around, degrees, origin=(x, y))


def outline(pixels: np.ndarray, left: int = 0, top: int = 0) -> Any:
    """The pixels of a mask, rows × columns, as geometries; its first pixel lies at ``(left, top)``."""
    place = rasterio.Affine.translation(left, top)
    mask = pixels.astype(np.uint8)
    parts = [shapely.geometry.shape(part) for part, _ in rio_features.shapes(mask, mask > 0, transform=place)]
    return shapely.GeometryCollection(parts)


def runs_to_pixels(runs: Sequence[int], count: int) -> np.ndarray:
    """Lengths of runs of 0 and 1 in turn as ``count`` pixels."""
    if min(runs, default=-1) < 0 or sum(runs) != count:
        raise ValueError(f"expected runs of {count} pixels, got {sum(runs)}")
    return np.repeat(np.arange(len(runs)) % 2, runs)
