# SPDX-License-Identifier: Apache-2.0
"""NIfTI cases: the image is copied byte by byte, its label maps are checked against it and written in our values."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from monai.data import MetaTensor, correct_nifti_header_if_necessary

from data_prep.engine.sources import Case, File, Files
from data_prep.formats.encoding import encode_volume
from medwsss.keys import IMAGE, LABEL, SCRIBBLE, UNLABELED, VOID
from medwsss.study.grid import Grid, fault, misfit
from medwsss.study.integrity import verify
from medwsss.study.intensities import existing
from medwsss.study.labels import to_classes
from medwsss.study.readers import suffix_of
from medwsss.study.readers.volumes import UNITS
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
        ValueError: for an image that is not a volume (of ``in_channels``), whose affine makes no sense or which has NaN
            or infinity; for a label map or a second channel of another shape or in another place than the image, label
            maps of several channels that no colours are declared for, undeclared values, and a map without a label.
    """
    value = case.files[IMAGE]
    paths = [value] if isinstance(value, Path) else list(value)
    channels = (in_channels,) if isinstance(value, Path) and in_channels > 1 else ()
    images = [load_volume(path) for path in paths]
    grid = _grid(images[0], paths[0])
    for image, path in zip(images, paths):
        if len(image.shape) < 3 or _behind(image) != channels:
            wanted = " x ".join(["a volume", *map(str, channels)])
            raise ValueError(f"expected {wanted}, got shape {image.shape} in {path}")
        place = _grid(image, path)
        if problem := fault(place, path) or misfit(grid, place, path):
            raise ValueError(problem)
        if image.get_data_dtype().kind == "f":
            existing(np.asanyarray(image.dataobj), path)
    copies = [File(suffix_of(path), path) for path in paths]
    files: dict[str, File | list[File]] = {IMAGE: copies[0] if isinstance(value, Path) else copies}
    for key, convention in ((SCRIBBLE, scribbles), (LABEL, labels)):
        if convention is not None and isinstance(source := case.files.get(key), Path):
            files[key] = _label_file(source, grid, convention, trust_voxels)
    return files


def load_volume(path: Path) -> nib.Nifti1Image:
    """The header, once the bytes have been seen to be whole: what is copied is copied without another look.

    Raises:
        ValueError: for a damaged file and for another format.
    """
    verify(path)
    try:
        image = nib.load(path)
    except Exception as error:
        raise ValueError(f"expected NIfTI, got {type(error).__name__} in {path}: {error}") from error
    if not isinstance(image, nib.Nifti1Image):
        raise ValueError(f"expected NIfTI, got {type(image).__name__} in {path}")
    return image


def map_values(raw: Any, convention: MapWeakLabels, path: Path) -> np.ndarray:
    """A label map ``C *S`` in our values, ``1 *S`` of ``uint8``.

    Channels that are all the same (numbers saved as RGB) are one.

    Raises:
        ValueError: for channels that are not, where the convention is of numbers, for undeclared values, and where
            nothing is labelled.
    """
    if not isinstance(raw, MetaTensor):
        if raw.dtype.kind not in "biuf":
            raise ValueError(f"expected labels that are numbers, got {raw.dtype} in {path}")
        raw = MetaTensor(np.asarray(raw, np.float32), meta={"filename_or_obj": str(path)})
    mapped = to_classes(raw if convention.channels else one_channel(raw), convention, path).numpy()
    if np.isin(mapped, (UNLABELED, VOID)).all():
        raise ValueError(f"expected labels, got a map without any in {path}")
    return mapped


def one_channel(raw: MetaTensor) -> MetaTensor:
    """The first channel of ``C *S`` where all of them are the same, else ``raw``."""
    return raw[:1] if len(raw) > 1 and bool((raw == raw[:1]).all()) else raw  # type: ignore[return-value]


def _label_file(path: Path, image: Grid, convention: MapWeakLabels, trust_voxels: bool) -> File:
    source = load_volume(path)
    grid = Grid(source.shape[:3]) if trust_voxels else _grid(source, path)
    if problem := misfit(image, grid, path):
        raise ValueError(problem)
    array = np.asanyarray(source.dataobj)
    if len(_behind(source)) > 1 or array.dtype.kind not in "biuf":
        raise ValueError(f"expected a map of numbers, got shape {array.shape} of {array.dtype} in {path}")
    stored: Any = source.dataobj
    meta = {"filename_or_obj": str(path)}
    meta |= {} if (stored.slope, stored.inter) == (1, 0) else {"scl_slope": stored.slope}
    channels = np.moveaxis(array.reshape(*array.shape[:3], -1), -1, 0)
    (mapped,) = map_values(MetaTensor(channels.astype(np.float32), meta=meta), convention, path)
    affine = np.asarray(image.affine)
    if array.dtype == np.uint8 and np.array_equal(array, mapped) and np.array_equal(source.affine, affine):
        return File(suffix_of(path), path)
    return encode_volume(mapped, affine)


def _behind(volume: nib.Nifti1Image) -> tuple[int, ...]:
    """Axes behind the third, channels or time; those of one voxel are none."""
    return tuple(size for size in volume.shape[3:] if size > 1)


def _grid(volume: nib.Nifti1Image, path: Path) -> Grid:
    """Of the first three axes, placed as training's reader places it."""
    stated = Grid(volume.shape[:3], volume.affine)
    if not np.isfinite(volume.affine).all():  # or a place would be made up
        raise ValueError(fault(stated, path))
    correct_nifti_header_if_necessary(volume)
    return replace(stated, affine=volume.affine, unit=UNITS.get(volume.header.get_xyzt_units()[0]))
