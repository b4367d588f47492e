# SPDX-License-Identifier: Apache-2.0
"""Predictions as files: in the format, the shape and the place of their images."""

from __future__ import annotations

import gzip
import io
import warnings
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from monai.config import PathLike
from monai.data.utils import to_affine_nd
from monai.utils import optional_import
from PIL import Image

from medwsss.keys import VOID
from medwsss.study.readers import suffix_of

rasterio, _ = optional_import("rasterio")

__all__ = ["encode_map", "encode_prediction", "map_suffix", "output_suffix"]

_NIFTI = ".nii.gz"
_SUFFIX = {".png": ".png", ".jpg": ".png", ".jpeg": ".png", ".bmp": ".png", ".tif": ".tif", ".tiff": ".tif"}
_SUFFIX |= {".npy": ".npy", ".npz": ".npy"}


def output_suffix(image: PathLike) -> str:
    """Ending of the prediction of an image by the image's own: what holds labels without loss, and the image's place.

    Example:
        >>> [output_suffix(name) for name in ("a.NII", "a.jpg", "a.tiff", "a.npy", "a.dcm")]
        ['.nii.gz', '.png', '.tif', '.npy', '.nii.gz']
    """
    return _SUFFIX.get(suffix_of(image).lower(), _NIFTI)


def map_suffix(image: PathLike) -> str:
    """Ending of a map of numbers beside a prediction: the prediction's, but for PNG, which has no fractions: TIFF."""
    suffix = output_suffix(image)
    return ".tif" if suffix == ".png" else suffix


def encode_prediction(labels: np.ndarray, image: PathLike, affine: Any = None) -> bytes:
    """The bytes of a file of labels.

    NIfTI has the header of the image's, so shape, affine and units are equal; TIFF its georeference, ``VOID`` as nodata
    and a page a slice. A picture is as the image is displayed, whatever its EXIF says of turning it.

    Args:
        labels: ``*S``, ``uint8``, on the grid of the image as the study's reader gives it (a picture's columns first).
        image: the file it is the prediction of; of several, the first.
        affine: of the image, for a format (DICOM) that becomes another one.
    """
    suffix = output_suffix(image)
    if suffix == _NIFTI:
        return _nifti(labels, image, affine)
    if suffix == ".tif" and labels.ndim == 2:
        return _raster(labels.T[None], image, VOID)
    if suffix == ".png":
        buffer = io.BytesIO()
        Image.fromarray(np.ascontiguousarray(labels.T)).save(buffer, "PNG")
        return buffer.getvalue()
    return _array(labels) if suffix == ".npy" else _pages(np.moveaxis(labels, -1, 0))


def encode_map(values: np.ndarray, image: PathLike, affine: Any = None) -> bytes:
    """The bytes of a file of numbers, in the place of the image as a prediction of it is; see :py:func:`map_suffix`.

    Several channels are the last axis of NIfTI (the fourth), the first one of NPY, bands of a raster, and pages of
    other TIFF, one channel's slices after the other's.

    Args:
        values: ``C *S`` in single precision, on the grid of the image; NaN where it has no voxels.
        image: see :py:func:`encode_prediction`.
        affine: see :py:func:`encode_prediction`.
    """
    suffix, flat = output_suffix(image), values.ndim == 3
    if suffix == _NIFTI:
        volume = values.reshape(*values.shape, *[1] * (4 - values.ndim))
        return _nifti(values[0] if len(values) == 1 else np.moveaxis(volume, 0, -1), image, affine)
    if suffix == ".npy":
        return _array(values[0] if len(values) == 1 else values)
    if suffix == ".tif" and flat:
        return _raster(values.transpose(0, 2, 1), image, np.nan)
    return _pages(values if flat else np.moveaxis(values, -1, 1).reshape(-1, *values.shape[1:3]))


def _array(values: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, values)
    return buffer.getvalue()


def _pages(values: np.ndarray) -> bytes:
    """A TIFF of pages, columns first."""
    buffer = io.BytesIO()
    first, *rest = (Image.fromarray(np.ascontiguousarray(page.T)) for page in values)
    first.save(buffer, "TIFF", save_all=True, append_images=rest, compression="tiff_adobe_deflate")
    return buffer.getvalue()


def _nifti(values: np.ndarray, image: PathLike, affine: Any) -> bytes:
    if suffix_of(image).lower() in (".nii", _NIFTI):
        source: Any = nib.load(image)
        header = source.header.copy()
        header.set_data_dtype(values.dtype)
        header.set_intent("none")  # vectors are no labels
        header["cal_min"] = header["cal_max"] = 0  # the range in which a viewer shows the image
        header["pixdim"][4:] = 1  # of classes, if of anything
        file = type(source)(values, None, header)  # without an affine, that of the header stays as it is
    else:
        file = nib.Nifti1Image(values, np.eye(4) if affine is None else to_affine_nd(3, np.asarray(affine)))
    return gzip.compress(file.to_bytes(), compresslevel=1, mtime=0)


def _raster(bands: np.ndarray, image: PathLike, nodata: float) -> bytes:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", rasterio.errors.NotGeoreferencedWarning)
        count, height, width = bands.shape
        profile = {"driver": "GTiff", "height": height, "width": width, "count": count, "dtype": str(bands.dtype)}
        with rasterio.open(Path(image)) as source, rasterio.MemoryFile() as file:
            if source.shape == (height, width):
                profile |= {"crs": source.crs, "transform": source.transform}
            with file.open(**profile, nodata=nodata, compress="deflate", BIGTIFF="IF_SAFER") as raster:
                raster.write(bands)
                if source.gcps[0]:
                    raster.gcps = source.gcps
                if source.rpcs:
                    raster.rpcs = source.rpcs
            return bytes(file.getbuffer())
