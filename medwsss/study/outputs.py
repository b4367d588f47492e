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

__all__ = ["encode_prediction", "output_suffix"]

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
        return gzip.compress(_nifti(labels, image, affine).to_bytes(), compresslevel=1, mtime=0)
    if suffix == ".tif" and labels.ndim == 2:
        return _raster(labels.T, image)
    buffer = io.BytesIO()
    if suffix == ".npy":
        np.save(buffer, labels)
    elif suffix == ".png":
        Image.fromarray(np.ascontiguousarray(labels.T)).save(buffer, "PNG")
    else:
        first, *rest = (Image.fromarray(np.ascontiguousarray(page.T)) for page in np.moveaxis(labels, -1, 0))
        first.save(buffer, "TIFF", save_all=True, append_images=rest, compression="tiff_adobe_deflate")
    return buffer.getvalue()


def _nifti(labels: np.ndarray, image: PathLike, affine: Any) -> Any:
    if suffix_of(image).lower() not in (".nii", _NIFTI):
        return nib.Nifti1Image(labels, np.eye(4) if affine is None else to_affine_nd(3, np.asarray(affine)))
    source: Any = nib.load(image)
    header = source.header.copy()
    header.set_data_dtype(np.uint8)
    header.set_intent("none")  # vectors are no labels
    header["cal_min"] = header["cal_max"] = 0  # the range in which a viewer shows the image
    return type(source)(labels, None, header)  # without an affine, that of the header stays as it is


def _raster(labels: np.ndarray, image: PathLike) -> bytes:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", rasterio.errors.NotGeoreferencedWarning)
        height, width = labels.shape
        profile = {"driver": "GTiff", "height": height, "width": width, "count": 1, "dtype": "uint8"}
        with rasterio.open(Path(image)) as source, rasterio.MemoryFile() as file:
            if source.shape == labels.shape:
                profile |= {"crs": source.crs, "transform": source.transform}
            with file.open(**profile, nodata=VOID, compress="deflate", BIGTIFF="IF_SAFER") as raster:
                raster.write(labels, 1)
                if source.gcps[0]:
                    raster.gcps = source.gcps
                if source.rpcs:
                    raster.rpcs = source.rpcs
            return bytes(file.getbuffer())
