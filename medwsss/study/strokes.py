# SPDX-License-Identifier: Apache-2.0
"""What the seeds of one case say of its image: noise inside an object, intensities of objects, distance to a stroke."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from monai.utils import convert_to_numpy
from scipy.spatial import KDTree
from torch import Tensor

from medwsss.study.intensities import USUAL, Range

__all__ = ["SeedStatistics", "seed_statistics"]

_VALUES = 200_000  # intensities looked at, evenly spread
_POINTS = 5_000  # voxels whose distance to the nearest seed is taken
_STROKES = 100_000  # seeds that may be the nearest
_DENSE = 0.5  # share of seeds from which on they are no strokes


@dataclass(frozen=True)
class SeedStatistics:
    """Of one case; ``None`` where there is nothing to take it from."""

    noise: float | None  #: median ``‖I_i − I_j‖`` of neighbours with seeds of one class, in shares of the usual range
    foreground: Range | None  #: usual intensities of seeds of the classes from 1 on
    distance: float | None  #: from a voxel without a seed to the nearest seed, in units of the spacing, on average


def seed_statistics(image: Tensor, classes: Tensor, num_classes: int, spacing: Sequence[float]) -> SeedStatistics:
    """Look at an image where it has seeds.

    Args:
        image: ``C *S``, NaN where there is nothing; each channel counts in units of its own usual range.
        classes: ``1 *S``, seeds below ``num_classes``.
        num_classes: K.
        spacing: size of a voxel along each axis.

    Example:
        >>> import torch
        >>> found = seed_statistics(torch.rand(1, 4), torch.tensor([[0, 0, 255, 255]]), 2, [2.0])
        >>> found.distance, 0 <= found.noise <= 1
        (3.0, True)
    """
    voxels, seeds = convert_to_numpy(image).astype(np.float32, copy=False), convert_to_numpy(classes)[0]
    shape, values, flat = seeds.shape, voxels.reshape(len(voxels), -1), seeds.reshape(-1)
    at = np.arange(0, flat.size, -(-values.size // _VALUES))
    low, width = _usual(values[:, at])
    found = at[flat[at] < num_classes]
    steps = []
    for axis, size in enumerate(shape):
        stride = int(np.prod(shape[axis + 1 :]))
        here = found[found // stride % size < size - 1]
        here = here[flat[here] == flat[here + stride]]
        a, b = (np.clip((values[:, of] - low) / width, 0, 1) for of in (here, here + stride))
        squares = np.square(b - a)
        steps.append(np.sqrt(np.nansum(squares[:, np.isfinite(squares).any(0)], 0)))  # a band may be void
    noise = _finite(np.concatenate(steps))
    objects = _finite(values[:, found[flat[found] > 0]])
    return SeedStatistics(
        noise=float(np.float32(np.median(noise)).round(6)) if noise.size else None,
        foreground=tuple(np.percentile(objects, USUAL).tolist()) if objects.size else None,  # type: ignore[arg-type]
        distance=_distance(seeds < num_classes, np.isfinite(voxels).any(0), spacing),
    )


def _usual(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Lower end and width of each channel's usual range, ``C 1``; the width is 1 where there is one value, or none."""
    ends = [np.percentile(there, USUAL) if (there := _finite(channel)).size else (0.0, 1.0) for channel in values]
    low, high = np.asarray(ends, np.float32).T[..., None]
    return low, np.where(high > low, high - low, 1)


def _finite(values: np.ndarray) -> np.ndarray:
    return np.asarray(values[np.isfinite(values)])


def _distance(seeds: np.ndarray, exists: np.ndarray, spacing: Sequence[float]) -> float | None:
    if seeds.mean() > _DENSE:
        return None
    strokes = np.flatnonzero(seeds)
    others = np.arange(0, seeds.size, -(-seeds.size // _POINTS))
    others = others[(exists & ~seeds).reshape(-1)[others]]
    if not len(strokes) or not len(others):
        return None
    strokes = strokes[:: -(-len(strokes) // _STROKES)]
    tree, there = (np.stack(np.unravel_index(at, seeds.shape), 1) * np.asarray(spacing) for at in (strokes, others))
    return float(KDTree(tree).query(there)[0].mean())
