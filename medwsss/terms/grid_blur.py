# SPDX-License-Identifier: Apache-2.0
"""The blur of a bilateral grid along its axes, of those vertices that somebody has a share in.

Most of a grid is nobody's: of the colours that an image could have it has few. So pairs of vertices of the first two
axes are kept where they are in use, and blurred in slabs along the first, in each with as much of the second as is in
use near it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

__all__ = ["GridBlur"]

ROWS = 8  #: vertices of the first axis in a slab: about as many as the kernel reaches, to both sides together


class Slab(NamedTuple):
    """Neighbouring vertices of the first axis, and what their sums take.

    Attributes:
        first: of the first axis' blur, vertices of the slab × vertices that the kernel reaches from there.
        second: of the second's, between all that are in use near.
        sources: pairs of the vertices that are reached and those in use, flat.
        targets: pairs of the slab's vertices and those in use, flat.
    """

    first: Tensor
    second: Tensor
    sources: Tensor
    targets: Tensor


class GridBlur:
    """Sums along all axes of a grid.

    Args:
        blurs: ``vertices × vertices`` of each axis, at least two.
        vertices: of the first two axes, ``corners × N``: where ``N`` voxels have shares.

    Attributes:
        pairs: number of each pair of vertices of the first two axes, among those in use; others are all one more.
        vertices: of the grid, which begins with the pairs; those of the last one hold nothing.
    """

    def __init__(self, blurs: Sequence[Tensor], vertices: Sequence[Tensor]) -> None:
        first, second, *self._others = blurs
        used = torch.zeros(len(first), len(second), dtype=torch.bool, device=first.device)
        used[vertices[0][:, None], vertices[1]] = True
        count = int(used.sum())
        self.pairs = torch.where(used, used.flatten().cumsum(0).reshape(used.shape) - 1, count)
        self.vertices = (count + 1) * math.prod(map(len, self._others))
        self._slabs = list(_slabs(first, second, used, self.pairs))

    def __call__(self, grid: Tensor) -> Tensor:
        """Of values ``vertices × K``; what comes out at the last pair says nothing."""
        values = grid.reshape(self.vertices // math.prod(map(len, self._others)), -1)
        sums = torch.empty_like(values)
        for slab in self._slabs:
            x = slab.first @ values[slab.sources].reshape(slab.first.shape[1], -1)
            x = slab.second @ x.reshape(len(slab.first), len(slab.second), -1)
            columns = values.shape[1]
            for blur in self._others:
                columns //= len(blur)
                x = blur @ x.reshape(-1, len(blur), columns)
            sums.index_copy_(0, slab.targets, x.reshape(-1, values.shape[1]))
        return sums.reshape(grid.shape)


def _slabs(first: Tensor, second: Tensor, used: Tensor, pairs: Tensor) -> Iterator[Slab]:
    row, column = first.nonzero().T
    reach = int((row - column).abs().max())
    for start in range(0, len(first), ROWS):
        rows, near = slice(start, start + ROWS), slice(max(0, start - reach), start + ROWS + reach)
        some = used[near].any(0).nonzero().flatten()
        yield Slab(
            first[rows, near], second[some][:, some], pairs[near][:, some].flatten(), pairs[rows][:, some].flatten()
        )
