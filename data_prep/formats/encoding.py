# SPDX-License-Identifier: Apache-2.0
"""Arrays as files: equal arguments, equal bytes."""

from __future__ import annotations

import gzip
import io
from pathlib import Path
from typing import Any, cast

import nibabel as nib
import numpy as np
from PIL import Image

from data_prep.engine.sources import File
from medwsss.study.readers import suffix_of

NIFTI = (".nii.gz", ".nii")  #: suffixes

_LEVEL = 1  # of gzip, as nibabel writes: several times faster than 9 and hardly larger


def is_nifti(path: Path) -> bool:
    """By its name."""
    return suffix_of(path).lower() in NIFTI


def encode_volume(array: np.ndarray, affine: np.ndarray) -> File:
    """A ``.nii.gz`` file."""
    return File(".nii.gz", gzip.compress(nib.Nifti1Image(array, affine).to_bytes(), compresslevel=_LEVEL, mtime=0))


def encode_labels(labels: np.ndarray, like: Path | None = None, affine: Any = None) -> File:
    """``1 *S`` of our values: NIfTI with the geometry of ``like`` if that is NIfTI; else PNG, or NIfTI for a volume.

    Args:
        labels: of a format that says nothing about space, unless ``like`` is NIfTI.
        like: the file they come from.
        affine: of the image they belong to, for a volume; default: the identity.
    """
    labels = labels.astype(np.uint8)
    if like is not None and is_nifti(like):
        source = cast(nib.Nifti1Image, nib.load(like))
        header = source.header.copy()
        header.set_data_dtype(np.uint8)
        volume = nib.Nifti1Image(labels.reshape(source.shape), source.affine, header)
        return File(".nii.gz", gzip.compress(volume.to_bytes(), mtime=0))
    if labels.ndim > 3:
        return encode_volume(labels[0], np.eye(4) if affine is None else np.asarray(affine))
    buffer = io.BytesIO()
    Image.fromarray(labels[0].T).save(buffer, "PNG")
    return File(".png", buffer.getvalue())
