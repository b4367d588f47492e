# SPDX-License-Identifier: Apache-2.0
"""Parts of rasters: of a TIFF what is asked for is read and nothing else, of a picture what was kept of the whole."""

from __future__ import annotations

import functools
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
from monai.config import PathLike
from monai.utils import optional_import

from medwsss.study.readers.names import suffix_of
from medwsss.study.readers.pages import Tags, read_tags
from medwsss.study.readers.pictures import is_turned, without
from medwsss.study.readers.rasters import JPEG, PLAIN, TURNS, open_tiff, page_of, place_of
from medwsss.study.readers.study import StudyReader

rasterio, _ = optional_import("rasterio")

__all__ = ["PICTURES", "is_raster", "load_window", "opened", "read_window"]

#: Endings of pictures, and the driver that knows what lies beside one and says where on the earth it is
PICTURES = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".bmp": "BMP"}
_TIFF = (".tif", ".tiff")
_BYTE = 256  # grey levels


def is_raster(name: PathLike) -> bool:
    """Whether parts of a file can be read, by its name."""
    return suffix_of(name).lower() in (*_TIFF, *PICTURES)


@contextmanager
def opened(name: PathLike) -> Iterator[Any]:
    """A TIFF through rasterio, or a picture as one: as it is displayed, in the place that a world file beside it says.

    Pictures are decoded as a whole, of which the last one is kept.

    Raises:
        ImportError: with the command that installs what is missing.
        ValueError: naming the file, for a picture that cannot be read, a palette, and a turned one with a world file.
    """
    if suffix_of(name).lower() in PICTURES:
        content = _picture(str(name), os.stat(name).st_mtime_ns)
        with rasterio.MemoryFile(content) as memory, open_tiff(memory.name) as raster:
            yield raster
    else:
        with open_tiff(name) as raster:
            yield raster


@functools.lru_cache(maxsize=1)
def _picture(name: str, changed: int) -> bytes:
    """A TIFF of it."""
    with open_tiff(name, driver=PICTURES[suffix_of(name).lower()]) as raster:
        place = {"crs": raster.crs, "transform": raster.transform}
    array, meta = StudyReader().get_data([name])
    if meta.get("mode") == "P":
        raise ValueError(f"expected intensities, got palette indices in {name}: save it as grey or RGB")
    if not place["transform"].is_identity and is_turned(name):
        raise ValueError(f"expected an upright picture beside its world file, got a turned one (EXIF): {name}")
    bands = np.atleast_3d(array).T
    lacking = np.isnan(bands).any(0) if "void" in meta else np.zeros(bands.shape[1:], bool)
    bands = np.where(lacking, 0, bands).astype(np.uint8 if bands.max(initial=0, where=~lacking) < _BYTE else np.uint16)
    profile = {"count": len(bands), "height": bands.shape[1], "width": bands.shape[2], "dtype": bands.dtype, **place}
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True), rasterio.MemoryFile(ext=".tif") as memory:
        with open_tiff(memory.name, "w", **profile) as raster:
            raster.write(bands)
            if lacking.any():
                raster.write_mask(~lacking)
        content: bytes = memory.read()
    return content


def read_window(
    name: PathLike,
    rows: tuple[int, int],
    columns: tuple[int, int],
    bands: Sequence[int] | None = None,
    nodata: float | None = None,
) -> np.ndarray:
    """The pixels of :py:func:`load_window`."""
    return load_window(name, rows, columns, bands, nodata)[0]


def load_window(
    name: PathLike,
    rows: tuple[int, int],
    columns: tuple[int, int],
    bands: Sequence[int] | None = None,
    nodata: float | None = None,
) -> tuple[np.ndarray, dict]:
    """A part of a raster of one page: what :py:class:`~medwsss.study.readers.StudyReader` gives of it.

    Args:
        name: the file.
        rows: first, and the one after the last.
        columns: likewise.
        bands: numbers from 1; default: all but alpha.
        nodata: value of what is missing, in place of the file's.

    Returns:
        ``bands × rows × columns`` in single precision, NaN where the file declares that there is nothing, and the
        metadata, whose ``affine`` is that of the whole.

    Raises:
        ValueError: naming the file, for what the reader refuses, and for pages, CMYK and a turned TIFF.
    """
    tags = Tags() if suffix_of(name).lower() in PICTURES else read_tags(name)
    if tags.orientation in TURNS or tags.photometric not in PLAIN and tags.compression != JPEG:
        raise ValueError(f"expected an upright raster of plain bands to read a part of, got another in {name}")
    with opened(name) as raster:
        if raster.subdatasets:
            raise ValueError(f"expected one page, got {len(raster.subdatasets)} in {name}")
        try:
            values, meta, there = page_of(raster, tags, (rows, columns), bands, nodata)
        except ValueError as error:
            raise ValueError(f"{error} in {name}") from error
        meta |= place_of(raster, tags)
    return without(values.astype(np.float32), there, meta.pop("why"), meta)
