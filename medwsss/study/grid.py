# SPDX-License-Identifier: Apache-2.0
"""Whether two files show the same voxels in the same place: the one rule of conversion, check and training."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np

__all__ = ["TOLERANCE", "drift", "misfit"]

TOLERANCE = 0.1  # voxels by which an image and its label map may lie apart: headers are rounded


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


def misfit(
    shape: Sequence[int], affine: Any | None, label_shape: Sequence[int], label_affine: Any | None, file: Any
) -> str | None:
    """What keeps a label map from its image, or ``None``.

    Args:
        shape: of the image, spatial.
        affine: of the image; ``None`` for a format that says nothing about space.
        label_shape: of the label map.
        label_affine: likewise.
        file: the label map's, to be named.
    """
    shape, got = tuple(shape), tuple(label_shape)
    if got != shape:
        hint = ": the same axes in another order?" if sorted(got) == sorted(shape) else ""
        return f"expected the shape {shape} of the image, got {got} in {file}{hint}"
    if affine is None or label_affine is None:
        return None
    far = drift(shape, affine, label_affine)
    smallest = np.linalg.norm(np.asarray(affine, float)[:-1, : len(shape)], axis=0).min()
    if far > TOLERANCE * smallest:
        return f"expected the affine of the image, got one that moves voxels by up to {far:.3g} mm in {file}"
    return None
