# SPDX-License-Identifier: Apache-2.0
"""A map of classes as polygons: a layer that a GIS edits, intersects and counts."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
from monai.config import PathLike
from monai.utils import optional_import

from medwsss.files import finish
from medwsss.keys import UNLABELED
from medwsss.rasters.georeference import Georeference, reproject
from medwsss.study.readers.parts import opened

pyogrio, has_pyogrio = optional_import("pyogrio")
shapely, has_shapely = optional_import("shapely")
rasterio, _ = optional_import("rasterio")
rio_features, _ = optional_import("rasterio.features")

__all__ = ["LAYERS", "polygonize", "require_polygons"]

logger = logging.getLogger(__name__)

LAYERS = {"gpkg": "GPKG", "geojson": "GeoJSON"}  #: endings, and the driver that writes them
_NAME = "classes"  # of the layer


def require_polygons() -> None:
    """Check that layers can be written.

    Raises:
        ImportError: with the command that installs what is missing.
    """
    if not (has_pyogrio and has_shapely):
        raise ImportError('polygons need pyogrio and shapely: pip install "medwsss[rasters]"')


def polygonize(classes: PathLike, path: PathLike, class_names: Sequence[str], minimum_area: float = 0.0) -> int:
    """Write the connected areas (by sides) of each class as a layer in the reference system of their map.

    A polygon covers exactly its pixels, with holes where others are: polygons fill the map where there is an image, and
    do not overlap. Fields are ``class`` (its name), ``value`` (its number) and ``area_m2``, on the ground. Memory
    depends on how many polygons there are.

    Args:
        classes: GeoTIFF of class numbers, 255 where there is none.
        path: of the layer, ``.gpkg`` or ``.geojson``; written whole or not at all.
        class_names: of the classes.
        minimum_area: in m² on the ground; what is smaller is left out, and counted.

    Returns:
        how many polygons were written.

    Raises:
        ImportError: with the command that installs what is missing.
        ValueError: for another ending, a negative area, and a map without a reference system, naming it.
    """
    require_polygons()
    path = Path(str(path))
    driver, place = LAYERS.get(path.suffix[1:]), Georeference.of(classes)
    if driver is None or minimum_area < 0:
        raise ValueError(f"expected .gpkg or .geojson and an area from 0, got {path} and {minimum_area:g}")
    metric = place.metric()
    if place.crs is None or metric is None:
        raise ValueError(f"expected a reference system, got none in {classes}: pixels of a picture are no places")
    with opened(classes) as raster:
        found = [(shape, int(k)) for shape, k in rio_features.shapes(rasterio.band(raster, 1)) if k != UNLABELED]
    shapes = np.array([shapely.geometry.shape(shape) for shape, _ in found], object)
    numbers = np.array([k for _, k in found], np.int32)
    areas = shapely.area(shapely.transform(shapes, partial(reproject, source=place.crs, target=metric)))
    kept = areas >= minimum_area
    fields = [np.array(class_names, object)[numbers[kept]], numbers[kept], areas[kept]]
    told = {"crs": place.crs, "geometry_type": "Polygon", "driver": driver, "layer": _NAME}
    written = path.with_name(f"{path.stem}.tmp{path.suffix}")
    try:
        pyogrio.raw.write(written, shapely.to_wkb(shapes[kept]), fields, ["class", "value", "area_m2"], **told)
        finish(written, path)
    finally:
        written.unlink(missing_ok=True)
    logger.info("%d polygons in %s, %d below %g m² left out.", kept.sum(), path, (~kept).sum(), minimum_area)
    return int(kept.sum())
