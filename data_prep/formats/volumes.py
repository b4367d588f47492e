# SPDX-License-Identifier: Apache-2.0
"""NIfTI cases: the image is copied byte by byte, its label maps are checked against it and written in our values."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
from monai.data import MetaTensor

from data_prep.engine.sources import Case, File, Files
from data_prep.formats.encoding import encode_volume
from medwsss.keys import IMAGE, LABEL, SCRIBBLE, UNLABELED, VOID
from medwsss.study.grid import misfit
from medwsss.study.integrity import verify
from medwsss.study.readers import suffix_of
from medwsss.transforms import MapWeakLabels


def volume_files(
    case: Case,
    labels: MapWeakLabels,
    scribbles: MapWeakLabels | None = None,
    in_channels: int = 1,
    trust_voxels: bool = False,
) -> Files:
    """The files of a case whose sources are NIfTI.

    Args:
        case: with an image (several files: its channels) and a scribble, a dense mask or both.
        labels: what the values of the dense mask mean.
        scribbles: what those of the scribble mean.
        in_channels: of an image in one file; they are its last axis.
        trust_voxels: the data set is known for label maps that fit their image voxel by voxel though their affines
            say otherwise: the image's affine counts.

    Raises:
        ValueError: for an image that is not a volume (of ``in_channels``), a label map of another shape or affine
            than the image, undeclared values, and a label map without a single label.
    """
    value = case.files[IMAGE]
    paths = [value] if isinstance(value, Path) else list(value)
    last = (in_channels,) if isinstance(value, Path) and in_channels > 1 else ()
    images = [load_volume(path) for path in paths]
    for image, path in zip(images, paths):
        if len(image.shape) != 3 + len(last) or image.shape[3:] != last:
            raise ValueError(f"expected {' x '.join(['a volume', *map(str, last)])}, got shape {image.shape} in {path}")
        _check_grid(image, images[0], path)
    copies = [File(suffix_of(path), path) for path in paths]
    files: dict[str, File | list[File]] = {IMAGE: copies[0] if isinstance(value, Path) else copies}
    for key, convention in ((SCRIBBLE, scribbles), (LABEL, labels)):
        if convention is not None and isinstance(source := case.files.get(key), Path):
            files[key] = _label_file(source, images[0], convention, trust_voxels)
    return files


def load_volume(path: Path) -> nib.Nifti1Image:
    """The header, once the bytes have been seen to be whole: what is copied is copied without another look.

    Raises:
        ValueError: for a damaged file and for another format.
    """
    verify(path)
    image = nib.load(path)
    if not isinstance(image, nib.Nifti1Image):
        raise ValueError(f"expected NIfTI, got {type(image).__name__} in {path}")
    return image


def map_values(array: np.ndarray, convention: MapWeakLabels, path: Path) -> np.ndarray:
    """``array`` in our values, ``uint8``.

    Raises:
        ValueError: for undeclared values, and where nothing is labelled.
    """
    source = MetaTensor(np.asarray(array, np.float32), meta={"filename_or_obj": str(path)})
    mapped = np.asarray(convention(source).numpy())
    if np.isin(mapped, (UNLABELED, VOID)).all():
        raise ValueError(f"expected labels, got a map without any in {path}")
    return mapped


def _label_file(path: Path, image: nib.Nifti1Image, convention: MapWeakLabels, trust_voxels: bool) -> File:
    source = load_volume(path)
    _check_grid(source, image, path, trust_voxels)
    array = np.asanyarray(source.dataobj)
    mapped = map_values(array, convention, path)
    if array.dtype == np.uint8 and np.array_equal(array, mapped) and np.array_equal(source.affine, image.affine):
        return File(suffix_of(path), path)
    return encode_volume(mapped, image.affine)


def _check_grid(volume: nib.Nifti1Image, image: nib.Nifti1Image, path: Path, trust_voxels: bool = False) -> None:
    shape = volume.shape[: 3 if len(volume.shape) <= len(image.shape) else None]  # without the channels of an image
    if problem := misfit(image.shape[:3], image.affine, shape, None if trust_voxels else volume.affine, path):
        raise ValueError(problem)
