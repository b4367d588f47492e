# SPDX-License-Identifier: Apache-2.0
"""NIfTI and DICOM with what their headers state."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import nibabel as nib
import numpy as np
from monai.config import PathLike
from monai.data import NibabelReader, PydicomReader
from monai.utils import ensure_tuple

from medwsss.study.readers.names import kind_by_content, suffix_of
from medwsss.study.readers.pictures import without

_UNEVEN = 1.1  # the largest distance of slices by the smallest: one that lacks makes 2
UNITS = {"meter": "m", "mm": "mm", "micron": "um"}  #: NIfTI's of space, by nibabel's names


class VolumeReader(NibabelReader):
    """NIfTI. Axes of one voxel behind the third are left out; a fourth one is channels.

    The metadata has ``unit`` where the header names one, and ``scl_slope`` where it scales the stored numbers.

    Raises:
        ValueError: for colours and complex numbers in a voxel, for more than one axis behind the third, and for an
            affine that is not finite.
    """

    def __init__(self) -> None:
        super().__init__(squeeze_non_spatial_dims=True)

    def read(self, data: Any, **kwargs: Any) -> Any:
        """The headers: before MONAI puts the voxel sizes' affine in the place of one that is broken."""
        affines = [cast(nib.Nifti1Image, nib.load(name)).affine for name in ensure_tuple(data)]
        if not np.isfinite(affines).all():
            raise ValueError("an affine that is not finite: set the header's sform or qform right")
        return super().read(data, **kwargs)

    def get_data(self, img: Any) -> tuple[np.ndarray, dict]:
        """One array, several files as its first axis, with the metadata of the first."""
        images = ensure_tuple(img)
        for image in images:
            dtype = image.get_data_dtype()
            if dtype.names or dtype.kind == "c":
                kind = "colours (RGB)" if dtype.names else "complex numbers"
                raise ValueError(f"{kind} in each voxel: save channels as a fourth axis, or the magnitude")
            if len([size for size in image.shape[3:] if size > 1]) > 1:
                raise ValueError(f"the shape {image.shape}: save a file for each of its volumes")
        array, meta = super().get_data(img)
        meta.pop("scl_slope", None)  # nibabel has put NaN in its place
        slope, intercept = images[0].dataobj.slope, images[0].dataobj.inter
        if (slope, intercept) != (1, 0):
            meta["scl_slope"] = float(slope)
        if unit := UNITS.get(images[0].header.get_xyzt_units()[0]):
            meta["unit"] = unit
        return array, meta


class DicomReader(PydicomReader):
    """DICOM: a file, or a folder with a series. Declared padding of the pixels is NaN, colours are channels.

    Raises:
        ValueError: for a folder with more than one series, or slices that are not evenly spaced.
    """

    def get_data(self, data: Any) -> tuple[np.ndarray, dict]:
        """One array with its metadata."""
        first = data[0] if isinstance(data, list) else data
        if isinstance(data, list):
            _check_series(data)
        array, meta = super().get_data(data)
        if {"ImagePositionPatient", "ImageOrientationPatient"} <= set(first.dir()):
            meta["unit"] = "mm"
        else:
            meta.pop("affine", None)  # which was made up
        if first.get("SamplesPerPixel", 1) > 1:
            meta |= {"original_channel_dim": -1, "spatial_shape": array.shape[:-1]}
        slope, intercept = float(first.get("RescaleSlope", 1)), float(first.get("RescaleIntercept", 0))
        padding = first.get("PixelPaddingValue")
        if padding is not None:
            ends = sorted(
                slope * value + intercept for value in (padding, first.get("PixelPaddingRangeLimit", padding))
            )
            there = (array < ends[0] - abs(slope) / 4) | (array > ends[1] + abs(slope) / 4)  # apart from rounding
            array, meta = without(array, there, f"pixel padding {padding}", meta)
        if first.get("PhotometricInterpretation") == "MONOCHROME1":  # white is the lowest: turned over, as displayed
            bits = int(first.BitsStored)
            both = 2**bits - 1 if first.PixelRepresentation == 0 else -1  # lowest and highest stored number together
            array = slope * both + 2 * intercept - array
        return array, meta


def _check_series(slices: Any) -> None:
    if len(series := {str(each.get("SeriesInstanceUID")) for each in slices}) > 1:
        raise ValueError(f"{len(series)} series in one folder: a folder for each")
    across, down = np.reshape(np.asarray(slices[0].ImageOrientationPatient, float), (2, 3))
    places = sorted(float(np.dot(np.cross(across, down), each.ImagePositionPatient)) for each in slices)
    steps = np.diff(places)
    if steps.min() <= 0 or steps.max() > _UNEVEN * steps.min():
        raise ValueError(f"slices that are not evenly spaced, from {steps.min():g} to {steps.max():g} mm apart")


def is_dicom(path: PathLike) -> bool:
    """Whether a file says so by its name or its content; a folder is taken for a series."""
    return Path(path).is_dir() or suffix_of(path).lower() == ".dcm" or kind_by_content(path) == "DICOM"
