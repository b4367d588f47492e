# SPDX-License-Identifier: Apache-2.0
"""Maps as GeoTIFF files that a GIS opens in their place, with names and colours."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any
from xml.sax.saxutils import escape

import numpy as np
from monai.config import PathLike
from monai.utils import optional_import

from medwsss.files import finish, write_atomically
from medwsss.keys import UNLABELED
from medwsss.reports.pictures import class_colors
from medwsss.study.readers.parts import opened
from medwsss.study.readers.rasters import open_tiff

rasterio, _ = optional_import("rasterio")
rio_shutil, _ = optional_import("rasterio.shutil")

__all__ = ["BLOCK", "RasterWriter"]

BLOCK = 512  #: pixels a side of what a file is compressed in
_CACHE = 64  # MiB of blocks that GDAL keeps
_BYTE = 256  # values of a palette


class RasterWriter:
    """A cloud-optimised GeoTIFF on the grid of another raster, written part by part, whole or not at all.

    Until all is written, parts are in a file beside it; then overviews are made (of classes by the most frequent one,
    of numbers by their mean), and the file takes its name. Memory does not depend on its size.

    Args:
        path: of the file; its folder is made.
        like: raster whose size, reference system, transform, ground control points and RPCs it has, as far as there
            are any.
        class_names: of a map of classes, ``uint8`` with 255 as nodata: GIS show them with a palette; default: numbers
            in single precision, NaN as nodata.
        bands: names of the bands, of a map of numbers.

    Raises:
        ValueError: for more classes than bytes have values.

    Example::

        with RasterWriter("map.tif", "scene.tif", class_names=["land", "water"]) as writer:
            writer.write(labels, row=0, column=0)
    """

    def __init__(
        self,
        path: PathLike,
        like: PathLike,
        class_names: Sequence[str] | None = None,
        bands: Sequence[str] = ("",),
    ) -> None:
        if class_names is not None and len(class_names) > UNLABELED:
            raise ValueError(f"expected at most {UNLABELED} classes, got {len(class_names)}")
        self.path, self.class_names, self.bands = Path(str(path)), class_names, tuple(bands)
        self._parts = self.path.with_name(self.path.name + ".parts")
        self._whole = self.path.with_name(self.path.name + ".tmp")
        self._like = like
        self._file: Any = None

    def __enter__(self) -> RasterWriter:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._env = rasterio.Env(GDAL_CACHEMAX=_CACHE, GDAL_TIFF_INTERNAL_MASK=True)
        self._env.__enter__()
        with opened(self._like) as like:
            profile: dict[str, Any] = {"height": like.height, "width": like.width, "count": len(self.bands)}
            profile |= {"crs": like.crs, "transform": like.transform}
            profile |= {"tiled": True, "blockxsize": BLOCK, "blockysize": BLOCK, "BIGTIFF": "IF_SAFER"}
            profile |= {"compress": "deflate", "zlevel": 1, "interleave": "band", "SPARSE_OK": True}
            if self.class_names is None:
                profile |= {"dtype": "float32", "nodata": float("nan")}
            else:
                profile |= {"dtype": "uint8", "nodata": UNLABELED}
            self._opened = open_tiff(self._parts, "w", **profile)
            self._file = self._opened.__enter__()
            if like.gcps[0]:
                self._file.gcps = like.gcps
            if like.rpcs:
                self._file.rpcs = like.rpcs
        if self.class_names is not None:
            self._file.write_colormap(1, _palette(len(self.class_names)))
            self._file.update_tags(1, **{f"CLASS_{k}": name for k, name in enumerate(self.class_names)})
        for band, name in enumerate(self.bands, 1):
            if name:
                self._file.set_band_description(band, name)
        return self

    def write(self, values: np.ndarray, row: int, column: int) -> None:
        """A part, ``bands × rows × columns``, whose first pixel is at a row and a column."""
        height, width = values.shape[1:]
        self._file.write(values, window=((row, row + height), (column, column + width)))

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        try:
            self._opened.__exit__(kind, error, trace)
            if error is None:
                self._finish()
        finally:
            self._parts.unlink(missing_ok=True)
            self._whole.unlink(missing_ok=True)
            self._env.__exit__(kind, error, trace)

    def _finish(self) -> None:
        """The parts as one cloud-optimised file under its name, the names of classes beside it for QGIS."""
        how = "MODE" if self.class_names is not None else "AVERAGE"
        options = {"COMPRESS": "DEFLATE", "BLOCKSIZE": BLOCK, "BIGTIFF": "IF_SAFER", "OVERVIEW_RESAMPLING": how}
        rio_shutil.copy(self._parts, self._whole, driver="COG", **options)
        if self.class_names is not None:
            write_atomically(memoryview(_categories(self.class_names).encode()), self._beside)
        finish(self._whole, self.path)

    @property
    def _beside(self) -> Path:
        """GDAL's file for what a TIFF has no place for."""
        return self.path.with_name(self.path.name + ".aux.xml")


def _palette(count: int) -> dict[int, tuple[int, int, int, int]]:
    colors = (class_colors(count) * (_BYTE - 1)).round().astype(int).tolist()
    opaque = {k: (red, green, blue, _BYTE - 1) for k, (red, green, blue) in enumerate(colors)}
    return opaque | {k: (0, 0, 0, 0) for k in range(count, _BYTE)}


def _categories(names: Sequence[str]) -> str:
    listed = "".join(f"<Category>{escape(name)}</Category>" for name in names)
    band = f'<PAMRasterBand band="1"><CategoryNames>{listed}</CategoryNames></PAMRasterBand>'
    return f"<PAMDataset>{band}</PAMDataset>\n"
