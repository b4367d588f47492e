# SPDX-License-Identifier: Apache-2.0
"""Points, lines and polygons with a class, read from a vector layer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from monai.config import PathLike
from monai.utils import optional_import

from medwsss.rasters.georeference import reproject
from medwsss.study.readers import loader, suffix_of

pyogrio, has_pyogrio = optional_import("pyogrio")
shapely, has_shapely = optional_import("shapely")
rasterio, _ = optional_import("rasterio")
rio_features, _ = optional_import("rasterio.features")

__all__ = ["Features", "class_table", "read_features"]

#: Layers that are read, by the ending, and how their files begin: GDAL would open by content what names other files.
_BEGINNINGS = {
    ".gpkg": (b"SQLite format 3\0",),
    ".geojson": (b"{",),
    ".json": (b"{",),
    ".shp": (b"\0\0\x27\x0a",),
    ".fgb": (b"fgb",),
}
_RASTERS = (".tif", ".tiff")
_SHOWN = 5
_SIMPLEST = 3  # number of the last type, polygons, that is no collection
_INSTALL = 'reading layers needs pyogrio and shapely: pip install "medwsss[rasters]"'


@dataclass(frozen=True)
class Features:
    """Geometries of known classes in one reference system."""

    geometries: np.ndarray  #: shapely objects, simple ones
    classes: np.ndarray  #: class number of each
    numbers: np.ndarray  #: which feature of the layer each is a part of, from 0
    crs: str | None  #: WKT; ``None``: that of the raster they belong to
    names: Sequence[str]  #: of the classes
    empty: int = 0  #: features without a geometry
    name: str = field(default="", compare=False)  #: of the file

    def __len__(self) -> int:
        return len(self.classes)

    @property
    def bounds(self) -> tuple[float, float, float, float]:
        """Smallest and largest coordinates, ``(x, y, x, y)``."""
        return tuple(shapely.total_bounds(self.geometries).tolist())  # type: ignore[return-value]

    def take(self, which: np.ndarray) -> Features:
        """Those of them at a mask or at indexes."""
        geometries, classes, numbers = self.geometries[which], self.classes[which], self.numbers[which]
        return replace(self, geometries=geometries, classes=classes, numbers=numbers)

    def to_crs(self, crs: str | None) -> Features:
        """In another reference system; where either is unknown, coordinates stay.

        Raises:
            ValueError: naming the file, for places that it cannot show.
        """
        if not crs or not self.crs or crs == self.crs or not len(self):
            return self

        try:
            moved = shapely.transform(self.geometries, partial(reproject, source=self.crs, target=crs))
        except ValueError as error:
            raise ValueError(f"{error} in {self.name}") from error
        return replace(self, geometries=moved, crs=crs)


def class_table(texts: Sequence[str]) -> dict[str, str]:
    """``{value in the layer: name of the class}``, in the order of the classes, of ``NAME`` or ``NAME=VALUE`` each.

    Raises:
        ValueError: for a name or a value that is there twice.

    Example:
        >>> class_table(["forest", "water=2"])
        {'forest': 'forest', '2': 'water'}
    """
    pairs = [text.rpartition("=") if "=" in text else (text, "=", text) for text in texts]
    table = {value: name for name, _, value in pairs}
    if len(table) < len(pairs) or len({name for name, *_ in pairs}) < len(pairs) or not all(map(str.strip, table)):
        raise ValueError(f"expected classes as NAME or NAME=VALUE, none twice, got {' '.join(texts)}")
    return table


def read_features(
    path: PathLike,
    attribute: str | None = None,
    classes: Mapping[str, str] | None = None,
    layer: str | None = None,
    crs: str | None = None,
    placed: bool = True,
) -> Features:
    """The features of a layer: GeoPackage, GeoJSON (RFC 7946, or with its own ``crs``), shapefile, FlatGeobuf.

    A label raster (TIFF) is one, too: each connected area of a value that ``classes`` name is a feature.

    Args:
        path: the file.
        attribute: field of the class; not for rasters.
        classes: ``{value of the attribute: name of the class}`` in the order of the classes, see
            :py:func:`class_table`; default: the values there are, in order.
        layer: of a file of several.
        crs: reference system, where the file does not say it.
        placed: whether the raster they are for lies on the earth; else coordinates are its pixels, whatever reference
            system the file has, which a GIS gives to what is drawn on a picture.

    Raises:
        ImportError: with the command that installs what is missing.
        ValueError: naming the file, for one that cannot be read, an unknown layer, field or class, an unknown
            reference system, longitudes and latitudes out of range, and for no features.
    """
    path = Path(str(path))
    raster = suffix_of(path).lower() in _RASTERS
    if raster and classes is None:
        raise ValueError(f"expected classes as NAME=VALUE of a label raster, got none for {path}")
    geometries, values, found = _of_raster(path, classes or {}) if raster else _of_layer(path, attribute, layer)
    crs = (found or crs) if placed else None
    if crs is None and placed and not raster:
        raise ValueError(
            f"expected a layer that says its reference system, got none in {path} (a shapefile without its .prj?): "
            "--strokes-crs EPSG:… says it"
        )
    table = classes or {value: value for value in sorted(set(values))}
    if unknown := sorted(set(values) - set(table)):
        raise ValueError(f"expected classes of {', '.join(table)}, got {', '.join(unknown[:_SHOWN])} in {path}")
    number_of = {value: k for k, value in enumerate(table)}
    there = ~(shapely.is_missing(geometries) | shapely.is_empty(geometries))
    parts, numbers = simple_parts(geometries[there])
    labels = np.array([number_of[value] for value in values], int)[there][numbers]
    wkt = None if crs is None else _wkt(crs, path)
    features = Features(parts, labels, numbers, wkt, list(table.values()), int((~there).sum()), str(path))
    if not len(features):
        raise ValueError(f"expected points, lines or polygons, got none in {path}")
    _check_degrees(features)
    return features


def _of_layer(path: Path, attribute: str | None, layer: str | None) -> tuple[np.ndarray, list[str], str | None]:
    if not (has_pyogrio and has_shapely):
        raise ImportError(_INSTALL)
    beginnings = _BEGINNINGS.get(path.suffix.lower())
    if beginnings is None:
        raise ValueError(f"expected a layer of {', '.join(_BEGINNINGS)} or a label raster, got {path}")
    try:
        with open(path, "rb") as file:
            head = file.read(64).removeprefix(b"\xef\xbb\xbf").lstrip()
    except OSError as error:
        raise ValueError(f"expected a readable layer, got {error}") from error
    if not head.startswith(beginnings):
        raise ValueError(f"expected the content that the name tells, got {head[:8]!r} at the beginning of {path}")
    try:
        layers = [str(name) for name, _ in pyogrio.list_layers(path)]
        if layer is None and len(layers) > 1:
            raise ValueError(f"expected --layer, one of {', '.join(layers)}")
        if layer is not None and layer not in layers:
            raise ValueError(f"expected a layer of {', '.join(layers)}, got {layer}")
        info = pyogrio.read_info(path, layer=layer)
        if attribute not in (known := [str(name) for name in info["fields"]]):
            raise ValueError(f"expected --class-attribute, a field of {', '.join(known) or 'none'}, got {attribute}")
        meta, _, shapes, columns = pyogrio.raw.read(path, layer=layer, columns=[attribute])
        geometries = shapely.force_2d(shapely.from_wkb(shapes))
    except Exception as error:  # whatever a library raises: the user has to know which file it is
        raise ValueError(f"expected a readable layer, got {type(error).__name__} in {path}: {error}") from error
    values = [_text(value) for value in columns[0]]
    if lacking := [k for k, value in enumerate(values) if value is None]:
        raise ValueError(f"expected a class ({attribute}) of each feature, got none of {lacking[:_SHOWN]} in {path}")
    return geometries, [value for value in values if value is not None], meta["crs"]


def _of_raster(path: Path, classes: Mapping[str, str]) -> tuple[np.ndarray, list[str], str | None]:
    """Connected areas of each value that is a class."""
    if not has_shapely:
        raise ImportError(_INSTALL)
    image = loader()(path)
    if len(image) != 1 or image.ndim != 3:
        raise ValueError(f"expected one band of labels, got the shape {tuple(image.shape)} in {path}")
    rows = np.asarray(image[0]).T
    wanted = np.isin(rows, [float(value) for value in classes])
    affine = np.asarray(image.affine)
    transform = rasterio.Affine(*affine[0, [0, 1, -1]], *affine[1, [0, 1, -1]])
    shapes = rio_features.shapes(rows.astype(np.float32), wanted, connectivity=8, transform=transform)
    found = [(shapely.geometry.shape(shape), f"{value:g}") for shape, value in shapes]
    return np.array([shape for shape, _ in found], object), [value for _, value in found], image.meta.get("crs")


def _text(value: Any) -> str | None:
    """A class as its name is written; whole numbers without a point."""
    if value is None or isinstance(value, float) and np.isnan(value):
        return None
    return f"{value:g}" if isinstance(value, (float, np.floating)) else str(value).strip() or None


def simple_parts(geometries: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Points, lines and valid polygons, and which of ``geometries`` each is a part of."""
    parts = np.where(shapely.is_valid(geometries), geometries, shapely.make_valid(geometries))
    index = np.arange(len(parts))
    while (shapely.get_type_id(parts) > _SIMPLEST).any():  # collections may be nested
        parts, within = shapely.get_parts(parts, return_index=True)
        index = index[within]
    return parts, index


def _wkt(crs: str, path: Path) -> str:
    try:
        return str(rasterio.crs.CRS.from_user_input(crs).to_wkt())
    except rasterio.errors.CRSError as error:
        raise ValueError(f"expected a reference system, got {crs!r} of {path}: {error}") from error


def _check_degrees(features: Features) -> None:
    """Longitudes and latitudes that are neither: metres in a GeoJSON, which says nothing of its system."""
    if features.crs is None or not rasterio.crs.CRS.from_wkt(features.crs).is_geographic:
        return
    x0, y0, x1, y1 = features.bounds
    if max(abs(x0), abs(x1)) > 360 or max(abs(y0), abs(y1)) > 90:
        raise ValueError(
            f"expected longitudes and latitudes, got x from {x0:g} to {x1:g} and y from {y0:g} to {y1:g} in "
            f"{features.name}: a GeoJSON in metres names its reference system under crs; save it as GeoPackage"
        )
