# SPDX-License-Identifier: Apache-2.0
"""Where the pixels of a raster lie on the earth, as plain values."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from monai.config import PathLike
from monai.utils import optional_import

from medwsss.study.readers.parts import opened

rasterio, _ = optional_import("rasterio")
warp, _ = optional_import("rasterio.warp")

__all__ = ["Georeference", "reproject"]

Transform = tuple[float, float, float, float, float, float]

SAME_GRID = 1e-3  # pixels by which two grids may lie apart and be one: transforms are written with some digits


def reproject(points: Any, source: str, target: str) -> Any:
    """``N × (x, y)`` in another reference system, longitude before latitude in both, whatever they define.

    Raises:
        ValueError: for points that the target cannot show.
    """
    points = np.asarray(points, dtype=float)
    if source == target or not len(points):
        return points
    moved = np.stack([np.asarray(axis, float) for axis in warp.transform(source, target, *points.T.tolist())], 1)
    if not np.isfinite(moved).all():
        told = rasterio.crs.CRS.from_user_input(target).to_string()[:60]
        raise ValueError(
            f"expected places that {told} can show, got others, {points[~np.isfinite(moved).all(1)][0]} first"
        )
    return moved


@dataclass(frozen=True)
class Georeference:
    """Size of a raster, and where it lies.

    A pixel in column ``j`` and row ``i`` covers the places ``(a u + b v + c, d u + e v + f)`` of ``u`` from ``j`` to
    ``j + 1`` and ``v`` from ``i`` to ``i + 1`` (``AREA_OR_POINT=Area``).
    """

    shape: tuple[int, int]  #: rows, columns
    transform: Transform = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)  #: a … f
    crs: str | None = None  #: WKT of the reference system

    @classmethod
    def of(cls, path: PathLike) -> Georeference:
        """That of a file."""
        with opened(path) as raster:
            crs = raster.crs.to_wkt() if raster.crs else None
            return cls(tuple(raster.shape), tuple(map(float, raster.transform[:6])), crs)  # type: ignore[arg-type]

    @property
    def placed(self) -> bool:
        """Whether it says anything of its place: a picture doesn't, unless a world file is beside it."""
        return self.crs is not None or self.transform != Georeference(self.shape).transform

    @property
    def affine(self) -> Any:
        """The transform as rasterio's object."""
        return rasterio.Affine(*self.transform)

    @property
    def in_degrees(self) -> bool:
        """Whether its coordinates are longitude and latitude, of which a degree is no length."""
        return self.crs is not None and bool(rasterio.crs.CRS.from_user_input(self.crs).is_geographic)

    @property
    def bounds(self) -> tuple[float, float, float, float]:
        """Smallest and largest coordinates, ``(x, y, x, y)``."""
        corners = self.places(self._corners())
        return tuple(map(float, (*corners.min(0), *corners.max(0))))  # type: ignore[return-value]

    def metric(self) -> str | None:
        """A reference system in metres around its middle, in which lengths are true; ``None`` for an unknown place."""
        if self.crs is None:
            return None
        rows, columns = self.shape
        longitude, latitude = reproject(self.places([[columns / 2, rows / 2]]), self.crs, "EPSG:4326")[0]
        return f"+proj=aeqd +lat_0={latitude:.9f} +lon_0={longitude:.9f} +datum=WGS84 +units=m"

    @property
    def pixel(self) -> tuple[float, float]:
        """Width and height of its middle pixel, in metres on the ground; of an unknown place in its own units."""
        rows, columns = self.shape
        corners = self.places(np.array([[0, 0], [1, 0], [0, 1]]) + (columns / 2, rows / 2))
        metric = self.metric()
        if metric is not None and self.crs is not None:
            corners = reproject(corners, self.crs, metric)
        first, right, down = corners
        return math.hypot(*(right - first)), math.hypot(*(down - first))

    def places(self, points: Any) -> np.ndarray:
        """``N × (x, y)`` of ``N × (column, row)``, which may be fractions."""
        a, b, c, d, e, f = self.transform
        moved: np.ndarray = np.asarray(points, float) @ np.array([[a, d], [b, e]]) + (c, f)
        return moved

    def pixels(self, places: Any) -> np.ndarray:
        """``N × (column, row)`` of ``N × (x, y)``: the inverse of :meth:`places`."""
        a, b, c, d, e, f = self.transform
        found: np.ndarray = np.linalg.solve([[a, b], [d, e]], (np.asarray(places, float) - (c, f)).T).T
        return found

    def _corners(self) -> np.ndarray:
        rows, columns = self.shape
        return np.array([[0, 0], [0, rows], [columns, 0], [columns, rows]])

    def window(self, row: int, column: int, shape: tuple[int, int]) -> Georeference:
        """That of the part of this shape that begins at a row and a column.

        Example:
            >>> Georeference((9, 9), (30.0, 0.0, 500.0, 0.0, -30.0, 800.0)).window(2, 1, (4, 4)).transform
            (30.0, 0.0, 530.0, 0.0, -30.0, 740.0)
        """
        a, b, c, d, e, f = self.transform
        at = (a, b, a * column + b * row + c, d, e, d * column + e * row + f)
        return Georeference(shape, at, self.crs)

    def same_grid(self, other: Georeference) -> bool:
        """Whether pixels of both lie on each other one by one."""
        if self.shape != other.shape or (self.crs is None) != (other.crs is None):
            return False
        if self.crs and other.crs and rasterio.crs.CRS.from_wkt(self.crs) != rasterio.crs.CRS.from_wkt(other.crs):
            return False
        there = self.pixels(other.places(self._corners()))
        return bool(np.linalg.norm(there - self._corners(), axis=1).max() <= SAME_GRID)
