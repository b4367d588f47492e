# SPDX-License-Identifier: Apache-2.0
"""Parts of large rasters, as GeoTIFF files in their own place that state all that their source does."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from monai.config import PathLike
from monai.utils import optional_import

from data_prep.engine.sources import Case, File, Files
from data_prep.formats.encoding import encode_labels
from medwsss.keys import IMAGE, SCRIBBLE
from medwsss.rasters.georeference import Georeference
from medwsss.study.grid import Grid
from medwsss.study.readers.parts import opened
from medwsss.study.readers.rasters import open_tiff

rasterio, _ = optional_import("rasterio")

__all__ = ["Chip", "chip_files", "cut"]

_TAGS = ("AREA_OR_POINT",)  # of the file that its parts share


@dataclass(frozen=True)
class Chip(Case):
    """A part of a scene with its labels."""

    row: int = 0
    column: int = 0
    shape: tuple[int, int] = (0, 0)
    bands: tuple[int, ...] = ()  #: from 1
    nodata: float | None = None  #: in place of the file's
    drawn: bytes = b""  #: labels, rows × columns, deflated: it travels to processes

    def with_labels(self, labels: np.ndarray) -> Chip:
        """With labels in our values."""
        return replace(self, drawn=zlib.compress(labels.astype(np.uint8).tobytes()))

    @property
    def labels(self) -> np.ndarray:
        """What :meth:`with_labels` was told."""
        return np.frombuffer(zlib.decompress(self.drawn), np.uint8).reshape(self.shape)


def chip_files(chip: Case) -> Files:
    """The image and the scribble of a :class:`Chip`."""
    source = chip.files[IMAGE]
    assert isinstance(chip, Chip) and not isinstance(source, tuple)
    place = Georeference.of(source).window(chip.row, chip.column, chip.shape)
    a, b, c, d, e, f = place.transform
    affine = np.array([[a, b, 0, c], [d, e, 0, f], [0, 0, 1, 0], [0, 0, 0, 1.0]])
    image = File(".tif", cut(source, chip.row, chip.column, chip.shape, chip.bands, chip.nodata))
    grid = Grid(chip.shape[::-1], affine, crs=place.crs)
    return {IMAGE: image, SCRIBBLE: encode_labels(chip.labels.T[None], Path(chip.name + image.suffix), grid)}


def cut(
    path: PathLike,
    row: int,
    column: int,
    shape: tuple[int, int],
    bands: Sequence[int],
    nodata: float | None = None,
) -> bytes:
    """The bytes of a GeoTIFF file of a part of another: values, place, nodata, mask, names, scale and colours.

    Args:
        path: the raster.
        row: first.
        column: first.
        shape: rows and columns.
        bands: numbers from 1; an alpha band comes along, as the mask that it is.
        nodata: in place of the file's.
    """
    window = ((row, row + shape[0]), (column, column + shape[1]))
    with opened(path) as raster, rasterio.MemoryFile() as memory:
        alphas = [k for k, kind in zip(raster.indexes, raster.colorinterp) if kind.name == "alpha"]
        flags = {flag.name for flag in raster.mask_flag_enums[bands[0] - 1]}
        place = Georeference.of(path).window(row, column, shape)
        profile: dict[str, Any] = {"crs": raster.crs, "transform": place.affine, "dtype": raster.dtypes[0]}
        profile |= {"count": len(bands), "height": shape[0], "width": shape[1], "compress": "deflate"}
        profile |= {"nodata": raster.nodata if nodata is None else nodata}
        with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True), open_tiff(memory.name, "w", **profile) as part:
            part.write(raster.read(list(bands), window=window))
            if alphas or flags == {"per_dataset"}:
                part.write_mask(raster.read(alphas[0], window=window) if alphas else raster.dataset_mask(window=window))
            for name in ("descriptions", "scales", "offsets", "units"):
                setattr(part, name, tuple(getattr(raster, name)[k - 1] for k in bands))
            part.update_tags(**{name: value for name, value in raster.tags().items() if name in _TAGS})
        data: bytes = memory.read()
        return data
