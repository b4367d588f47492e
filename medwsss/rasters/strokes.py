# SPDX-License-Identifier: Apache-2.0
"""Features burnt into the pixels of a raster."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from monai.utils import optional_import

from medwsss.keys import UNLABELED
from medwsss.rasters.features import Features
from medwsss.rasters.georeference import Georeference

shapely, _ = optional_import("shapely")
rio_features, _ = optional_import("rasterio.features")

__all__ = ["Burnt", "burn", "widen"]

_POLYGON = 2  # dimension


@dataclass(frozen=True)
class Burnt:
    """Labels of a raster, and what did not go in."""

    labels: np.ndarray  #: rows × columns, ``uint8``: classes, ``UNLABELED`` elsewhere
    conflicts: int  #: pixels of several classes, which are ``UNLABELED``
    inside: np.ndarray  #: numbers of the features that reach into the raster


def widen(features: Features, georeference: Georeference, width: float) -> Features:
    """Lines and points with a width in metres, as the polygons that they cover, beside themselves.

    Lengths are measured around the middle of the raster, so degrees and Mercator's metres do no harm; in an unknown
    place the width is in the units of the coordinates.

    Raises:
        ValueError: for a width below 0.
    """
    if width < 0:
        raise ValueError(f"expected a width of at least 0, got {width:g}")
    thin = shapely.get_dimensions(features.geometries) < _POLYGON
    if not width or not thin.any():
        return features
    metric = features.take(thin).to_crs(georeference.metric())
    drawn = replace(metric, geometries=shapely.buffer(metric.geometries, width / 2)).to_crs(features.crs)
    columns = ("geometries", "classes", "numbers")
    both: dict[str, Any] = {name: np.concatenate([getattr(features, name), getattr(drawn, name)]) for name in columns}
    return replace(features, **both)


def burn(features: Features, georeference: Georeference) -> Burnt:
    """The pixels that features cover.

    A point is the pixel it is in, a line those it runs through from one to the next, a polygon those whose middle it
    holds, or the one that it lies in, if it holds none: nothing that is inside gets lost for being small. Pixels of
    several classes are ``UNLABELED``.

    Args:
        features: in any reference system; without one they are in the raster's.
        georeference: of the raster.
    """
    labels = np.full(georeference.shape, UNLABELED, np.uint8)
    moved = features.to_crs(georeference.crs)
    rows, columns = georeference.shape
    frame = shapely.transform(shapely.box(0, 0, columns, rows), georeference.places)
    inside = shapely.intersects(moved.geometries, frame)
    conflicts = np.zeros(georeference.shape, bool)
    for k in np.unique(moved.classes[inside]):
        geometries = moved.geometries[inside & (moved.classes == k)]
        here = _covered(geometries, georeference)
        conflicts |= here & (labels != UNLABELED)
        labels[here] = k
    labels[conflicts] = UNLABELED
    return Burnt(labels, int(conflicts.sum()), np.unique(moved.numbers[inside]))


def _covered(geometries: np.ndarray, georeference: Georeference) -> np.ndarray:
    covered = _rasterize(geometries, georeference)
    polygons = geometries[shapely.get_dimensions(geometries) == _POLYGON]
    # one that may hold no middle of a pixel, by its area, is looked at by itself
    a, b, _, d, e, _ = georeference.transform
    for polygon in polygons[shapely.area(polygons) < 4 * abs(a * e - b * d)]:
        pixels = shapely.transform(polygon, georeference.pixels)
        x0, y0, x1, y1 = np.array(pixels.bounds) + (-1, -1, 2, 2)
        frame = georeference.window(int(y0), int(x0), (int(y1) - int(y0), int(x1) - int(x0)))
        if not _rasterize(np.array([polygon]), frame).any():
            column, row = np.floor(shapely.get_coordinates(shapely.point_on_surface(pixels))[0]).astype(int)
            if 0 <= row < georeference.shape[0] and 0 <= column < georeference.shape[1]:
                covered[row, column] = True
    return covered


def _rasterize(geometries: np.ndarray, georeference: Georeference) -> np.ndarray:
    place = {"out_shape": georeference.shape, "transform": georeference.affine}
    burnt: np.ndarray = rio_features.rasterize(geometries, default_value=1, dtype="uint8", **place) > 0
    return burnt
