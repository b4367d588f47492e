# SPDX-License-Identifier: Apache-2.0
"""From voxels to the cells of a coarser grid and back: mean logits, votes of seeds, interpolated labels."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from medwsss.keys import UNLABELED, VOID
from medwsss.terms.simplex import one_hot, unlabeled_mask

__all__ = ["interpolated", "means", "merged"]

AVERAGE: dict[int, Callable[..., Tensor]] = {1: F.avg_pool1d, 2: F.avg_pool2d, 3: F.avg_pool3d}
LINEAR = {1: "linear", 2: "bilinear", 3: "trilinear"}


def means(x: Tensor, size: Sequence[int]) -> Tensor:
    """Means of cells of ``size`` voxels along each axis; those at the far border may be incomplete."""
    return AVERAGE[len(size)](x, tuple(size), ceil_mode=True, count_include_pad=False)


def merged(logits: Tensor, scribble: Tensor, size: Sequence[int]) -> tuple[Tensor, Tensor]:
    """Mean logits of cells, and their scribble.

    A cell with seeds is a seed of the class that most of them have; where votes are equal the network decides. One
    without seeds and without anything to label is void.

    Args:
        logits: ``B K *S``.
        scribble: ``B 1 *S``, in bytes.
        size: of a cell, voxels along each axis.
    """
    mean = means(logits, size)
    shares = means(one_hot(scribble, logits.shape[1], logits.dtype), size)  # seeds of each class among a cell's voxels
    seeded = shares.sum(1, keepdim=True) > 0
    empty = means(unlabeled_mask(scribble).to(logits.dtype), size) == 0
    cells = torch.where(empty, VOID, UNLABELED).to(torch.uint8)
    most = shares == shares.amax(1, keepdim=True)
    elected = torch.where(most, mean, -torch.inf).argmax(1, keepdim=True).to(torch.uint8)
    return mean, torch.where(seeded, elected, cells)


def interpolated(y: Tensor, size: Sequence[int], shape: Sequence[int]) -> Tensor:
    """``B K *S`` of cells of ``size`` voxels as ``B K *shape``, linear between the cells' centres."""
    full = F.interpolate(y, scale_factor=tuple(map(float, size)), mode=LINEAR[len(size)], align_corners=False)
    for axis, length in enumerate(shape, start=2):
        full = full.narrow(axis, 0, length)
    return full
