# SPDX-License-Identifier: Apache-2.0
"""A map's voxels on an image's grid: other axes first, turned round, cut out or larger, but the same voxels."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np

from medwsss.study.grid import TOLERANCE, Grid, misfit

__all__ = ["onto"]


def onto(image: Grid, label: Grid, file: Any) -> Callable[[np.ndarray], np.ndarray]:
    """What moves an array on the grid of ``label`` to that of ``image``, 0 where it has no voxels.

    Args:
        image: the image's grid.
        label: the map's, of as many axes.
        file: the map's, to be named.

    Raises:
        ValueError: for a map whose voxels are not the image's.
    """
    problem = misfit(image, label, file)
    if problem is None:
        return lambda array: array
    if image.affine is None or label.affine is None or len(image.shape) != len(label.shape):
        raise ValueError(problem)
    n = len(image.shape)
    # index in the map = step · index in the image + start
    change = np.linalg.solve(np.asarray(label.affine, float), np.asarray(image.affine, float))
    step, start = np.rint(change[:n, :n]), np.rint(change[:n, -1])
    corners = np.array(list(itertools.product(*((0, size - 1) for size in image.shape))), float)
    far = np.abs(corners @ (change[:n, :n] - step).T + change[:n, -1] - start).max()
    if not far <= TOLERANCE or not (np.abs(step).sum(0) == 1).all() or not (np.abs(step).sum(1) == 1).all():
        raise ValueError(
            f"expected the voxels of the image, got a grid {label.shape} that is turned, moved or of another size of "
            f"voxels in {file}: resample it to the image in the tool"
        )
    axes = np.abs(step).argmax(0)  # of the map, for each of the image
    signs = step[axes, range(n)]
    sizes = np.array(label.shape)[axes]
    first = np.where(signs > 0, start[axes], sizes - 1 - start[axes]).astype(int)
    from_, to = np.clip(-first, 0, image.shape), np.clip(sizes - first, 0, image.shape)

    def move(array: np.ndarray) -> np.ndarray:
        turned = array.transpose(axes)[tuple(slice(None, None, int(sign)) for sign in signs)]
        moved = np.zeros(image.shape, array.dtype)
        if (from_ < to).all():
            moved[tuple(map(slice, from_, to))] = turned[tuple(map(slice, from_ + first, to + first))]
        return moved

    return move
