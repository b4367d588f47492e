# SPDX-License-Identifier: Apache-2.0
"""Whether two files show the same voxels in the same place: the one rule of conversion, check and training."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from monai.config import PathLike
from monai.data import MetaTensor
from monai.data.utils import to_affine_nd
from monai.utils import optional_import

from medwsss.study.readers import suffix_of

rasterio, _ = optional_import("rasterio")

__all__ = ["NIFTI", "TOLERANCE", "Grid", "drift", "fault", "is_nifti", "misfit"]

NIFTI = (".nii.gz", ".nii")  #: suffixes

TOLERANCE = 0.1  # voxels by which an image and its label map may lie apart: headers are rounded


def is_nifti(path: PathLike) -> bool:
    """By its name."""
    return suffix_of(path).lower() in NIFTI


@dataclass(frozen=True)
class Grid:
    """How many voxels there are, and where: in a patient, or on the earth."""

    shape: tuple[int, ...]  #: spatial
    affine: Any | None = None  #: 4 x 4; ``None`` for a format that says nothing about space
    unit: str | None = None  #: of the affine, where the file says so
    crs: str | None = None  #: coordinate reference system, likewise

    @classmethod
    def of(cls, image: MetaTensor) -> Grid:
        """That of a file as the study's reader loads it, ``C *S``."""
        placed, meta = image.meta.get("placed"), image.meta
        affine = np.asarray(to_affine_nd(3, image.affine)) if placed else None
        return cls(tuple(image.shape[1:]), affine, meta.get("unit"), meta.get("crs"))


def drift(shape: Sequence[int], affine: Any, other: Any) -> float:
    """``max_x ‖(A − B) x‖`` over the voxels ``x`` of a grid, in the affines' unit.

    The norm of an affine function is convex, so its maximum over the grid's box lies at one of its corners.

    Args:
        shape: of the grid, ``n`` axes.
        affine: ``A``, at least ``n + 1`` columns, the last one the translation; columns of axes that the grid has not
            got are left out.
        other: ``B``, likewise.
    """
    n = len(shape)
    change = np.asarray(affine, float) - np.asarray(other, float)
    corners = np.array(list(itertools.product(*((0, size - 1) for size in shape))), float)
    moved = corners @ change[:-1, :n].T + change[:-1, -1]
    return float(np.linalg.norm(moved, axis=1).max())


def fault(grid: Grid, file: Any) -> str | None:
    """What is wrong with a grid by itself, or ``None``: numbers that are none, axes that do not span space.

    Args:
        grid: of the file.
        file: to be named.
    """
    if grid.affine is None or _spans(grid):
        return None
    wrong = "a singular one" if np.isfinite(np.asarray(grid.affine)).all() else "NaN or infinity"
    return f"expected a finite affine that gives each axis a direction, got {wrong} in {file}: its header needs repair"


def misfit(image: Grid, label: Grid, file: Any) -> str | None:
    """What keeps a label map from its image, or ``None``.

    Where either says nothing about space, voxels are taken to lie on each other one by one; units and reference
    systems are compared where both have one.

    Args:
        image: the image's grid.
        label: the label map's.
        file: the label map's, to be named.
    """
    shape, got = image.shape, label.shape
    if got != shape:
        hint = ": the same axes in another order?" if sorted(got) == sorted(shape) else ""
        return f"expected the shape {shape} of the image, got {got} in {file}{hint}"
    if problem := fault(label, file):
        return problem
    if image.affine is None or label.affine is None or not _spans(image):  # that is told of the image
        return None
    if image.crs and label.crs and not _same(image.crs, label.crs):
        return f"expected the reference system {image.crs} of the image, got {label.crs} in {file}"
    if image.unit and label.unit and image.unit != label.unit:
        return f"expected the unit {image.unit} of the image's affine, got {label.unit} in {file}"
    far, unit = drift(shape, image.affine, label.affine), image.unit or label.unit
    voxels = far / np.linalg.norm(_axes(image), axis=0).min(initial=np.inf)
    if voxels > TOLERANCE:
        moved = f"{float(f'{far:.3g}'):g} {unit}" if unit else f"{float(f'{voxels:.3g}'):g} voxels"
        return f"expected the affine of the image, got one that moves voxels by up to {moved} in {file}"
    return None


def _spans(grid: Grid) -> bool:
    """Whether the affine is one, and no two axes are the same."""
    axes = _axes(grid)
    finite = bool(np.isfinite(np.asarray(grid.affine)).all())
    return finite and (not axes.size or bool(np.linalg.matrix_rank(axes) == axes.shape[1]))


def _axes(grid: Grid) -> np.ndarray:
    """Steps from voxel to voxel, a column an axis; what a header says of an axis of one voxel counts for nothing."""
    steps = np.asarray(grid.affine, float)[:-1, : len(grid.shape)]
    return np.asarray(steps[:, np.array(grid.shape) > 1])


def _same(crs: str, other: str) -> bool:
    """One system may be written in several ways."""
    return crs == other or bool(rasterio.crs.CRS.from_user_input(crs) == rasterio.crs.CRS.from_user_input(other))
