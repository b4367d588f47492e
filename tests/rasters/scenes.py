# SPDX-License-Identifier: Apache-2.0
"""Small scenes on the earth, and layers in any reference system."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from medwsss.rasters import Georeference

rasterio = pytest.importorskip("rasterio")
pyogrio = pytest.importorskip("pyogrio")
shapely = pytest.importorskip("shapely")
pytest.importorskip("rasterio.warp")
pytest.importorskip("rasterio.shutil")

UTM = "EPSG:32633"
PLACE = rasterio.Affine(30.0, 0.0, 360000.0, 0.0, -30.0, 5820000.0)  # west of Berlin


def write_scene(path: Path, bands: np.ndarray, crs: str | None = UTM, transform: Any = PLACE, **profile: Any) -> Path:
    """A GeoTIFF of ``bands × rows × columns``."""
    path.parent.mkdir(parents=True, exist_ok=True)
    size = {"count": len(bands), "height": bands.shape[1], "width": bands.shape[2], "dtype": bands.dtype}
    with rasterio.open(path, "w", driver="GTiff", crs=crs, transform=transform, **size, **profile) as raster:
        raster.write(bands)
    return path


def pixels(*corners: tuple[float, float], transform: Any = PLACE) -> list[tuple[float, float]]:
    """Places of ``(column, row)``."""
    place = Georeference((1, 1), tuple(transform[:6]))
    return [tuple(each) for each in place.places(corners).tolist()]


def write_layer(
    path: Path, geometries: Sequence[Any], classes: Sequence[Any], crs: str | None = UTM, layer: str = "strokes"
) -> Path:
    """Shapely geometries that are in ``UTM``, written in ``crs``, with the field ``class``."""
    moved = geometries
    if crs not in (UTM, None):
        moved = [
            None if g is None else shapely.geometry.shape(rasterio.warp.transform_geom(UTM, crs, g)) for g in geometries
        ]
    shapes = shapely.to_wkb(np.array(list(moved), object))
    kinds = {g.geom_type for g in geometries if g is not None}
    more = {} if path.suffix in (".geojson", ".shp") else {"layer": layer}
    pyogrio.raw.write(
        path,
        shapes,
        [np.array(list(classes), object)],
        ["class"],
        crs=crs,
        geometry_type=kinds.pop() if len(kinds) == 1 else "Unknown",
        append=path.exists(),
        **more,
    )
    return path
