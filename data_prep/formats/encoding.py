# SPDX-License-Identifier: Apache-2.0
"""Arrays as files: equal arguments, equal bytes."""

from __future__ import annotations

import gzip
import io
from pathlib import Path
from typing import Any, cast

import nibabel as nib
import numpy as np
from monai.utils import optional_import
from PIL import Image

from data_prep.engine.sources import File
from medwsss.study.grid import Grid, is_nifti
from medwsss.study.readers import suffix_of
from medwsss.study.readers.rasters import open_tiff

rasterio, _ = optional_import("rasterio")

TIFF = (".tif", ".tiff")  #: suffixes

_LEVEL = 1  # of gzip, as nibabel writes: several times faster than 9 and hardly larger


def is_tiff(path: Path) -> bool:
    """By its name."""
    return suffix_of(path).lower() in TIFF


def encode_volume(array: np.ndarray, affine: np.ndarray, **facts: Any) -> File:
    """A ``.nii.gz`` file."""
    content = gzip.compress(nib.Nifti1Image(array, affine).to_bytes(), compresslevel=_LEVEL, mtime=0)
    return File(".nii.gz", content, facts=facts)


def encode_picture(array: np.ndarray, **facts: Any) -> File:
    """``C X Y`` of 8 bits, grey or RGB, as PNG."""
    rows = array.astype(np.uint8).transpose(2, 1, 0).squeeze(-1 if len(array) == 1 else ())
    buffer = io.BytesIO()
    Image.fromarray(rows).save(buffer, "PNG")
    return File(".png", buffer.getvalue(), facts=facts)


def encode_labels(labels: np.ndarray, like: Path | None = None, grid: Grid | None = None) -> File:
    """``1 *S`` of our values, in the place of their source: NIfTI for volumes and after NIfTI, GeoTIFF after rasters.

    Args:
        labels: of a format that says nothing about space, unless ``like`` does; a plane of them becomes PNG.
        like: the file they come from, or whose geometry they have.
        grid: of ``like``, or of the image they belong to; default: one that says nothing about space.
    """
    labels = labels.astype(np.uint8)
    if like is not None and is_nifti(like):
        source = cast(nib.Nifti1Image, nib.load(like))
        header = source.header.copy()
        header.set_data_dtype(np.uint8)
        volume = nib.Nifti1Image(labels[0], source.affine, header)
        return File(".nii.gz", gzip.compress(volume.to_bytes(), mtime=0))
    placed = grid is not None and grid.affine is not None
    if labels.ndim > 3:
        return encode_volume(labels[0], np.asarray(grid.affine) if grid is not None and placed else np.eye(4))
    if grid is not None and placed and like is not None and is_tiff(like):
        return _raster(labels[0].T, grid)
    return encode_picture(labels)


def _raster(rows: np.ndarray, grid: Grid) -> File:
    """A GeoTIFF file."""
    (a, b, _, c), (d, e, _, f) = np.asarray(grid.affine)[:2]
    size = {"height": rows.shape[0], "width": rows.shape[1], "count": 1, "dtype": "uint8"}
    place = {"transform": rasterio.Affine(a, b, c, d, e, f), "crs": grid.crs}
    with rasterio.MemoryFile() as memory:
        with open_tiff(memory.name, "w", compress="deflate", **size, **place) as raster:
            raster.write(rows, 1)
        return File(".tif", memory.read())
