# SPDX-License-Identifier: Apache-2.0
"""Which axis of a volume its slices lie across: by its own spacing, not by where its file has that axis."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

__all__ = ["anatomical_order", "axis_order", "differing_orders"]

_THICK = 1.5  # a spacing this many times the next coarser one is that of slices
_CLEAR = 0.8  # cosine of the angle up to which an axis follows one of the patient's
_WORLD = ("left-right", "front-back", "head-foot")


def axis_order(shape: Sequence[int], spacing: Sequence[float]) -> tuple[int, ...]:
    """The axes of a grid with the thick one last, the others as they are.

    An axis is thick if its spacing is at least 1.5 times that of any other; one of a single voxel is, whatever its
    spacing. Grids without such an axis, and those of other than three axes, stay as they are.

    Example:
        >>> axis_order((12, 24, 24), (5.0, 1.0, 1.0)), axis_order((24, 24, 24), (1.0, 1.2, 1.2))
        ((1, 2, 0), (0, 1, 2))
    """
    axes = tuple(range(len(shape)))
    thickness = [math.inf if size == 1 else step for size, step in zip(shape, spacing)]
    thick = max(axes, key=thickness.__getitem__)
    rest = tuple(axis for axis in axes if axis != thick)
    if len(axes) != 3 or max(thickness[axis] for axis in rest) * _THICK > thickness[thick]:
        return axes
    return axes if math.inf in (thickness[axis] for axis in rest) else (*rest, thick)


def anatomical_order(affine: Any) -> tuple[int, ...] | None:
    """Which axis of the patient (0 left-right, 1 front-back, 2 head-foot) each axis of a volume follows, either way.

    ``None`` for a volume that lies obliquely.
    """
    columns = np.asarray(affine, float)[:3, :3]
    cosines = np.abs(columns / np.linalg.norm(columns, axis=0))
    return tuple(cosines.argmax(0).tolist()) if (cosines.max(0) > _CLEAR).all() else None


def differing_orders(found: Mapping[tuple[int, ...], str]) -> list[str]:
    """What is wrong with volumes of more than one anatomical order (each with the name of the first that has it)."""
    (first, name), *others = found.items() or [((), "")]
    return [
        "expected volumes with their axes in one anatomical order, got "
        f"{' x '.join(_WORLD[k] for k in first)} in {name} and {' x '.join(_WORLD[k] for k in other)} in {another}: "
        "training does not turn them; nibabel.as_closest_canonical and MONAI's Orientation do, images and labels alike"
        for other, another in others
    ]
