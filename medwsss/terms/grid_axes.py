# SPDX-License-Identifier: Apache-2.0
"""Axes of a bilateral grid: how voxels lie between its vertices, and how vertices are blurred along them."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from functools import cached_property, lru_cache
from typing import NamedTuple

import torch
from torch import Tensor

__all__ = ["CONTRAST", "POSITION", "Axis", "Joint"]

FINE = 24  # places in a cell at which the kernel is fitted


class Spline(NamedTuple):
    """A B-spline of this degree on cells of this many bandwidths."""

    degree: int
    cell: float

    def spread(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The first vertex of each place ``x`` (in cells, ``N``), and what it and the next ones get of it."""
        if self.degree == 1:
            first = x.floor()
            t = x - first
            return first.long(), torch.stack([1 - t, t])
        first = (x - 0.5).floor()
        t = x - first - 1  # from the vertex in the middle, within ½ of it
        return first.long(), torch.stack([(0.5 - t) ** 2 / 2, 0.75 - t**2, (0.5 + t) ** 2 / 2])


POSITION, CONTRAST = Spline(1, 0.5), Spline(2, 0.8)


@lru_cache(maxsize=None)
def fitted(spline: Spline) -> Tensor:
    """``b_0, b_1, …`` of a Gaussian of standard deviation 1, in float64."""
    count = math.ceil(4 / spline.cell)
    places = torch.arange(FINE, dtype=torch.float64) / FINE
    steps = (torch.arange(round(4.5 / spline.cell * FINE), dtype=torch.float64) + 0.5) / FINE
    x = places.repeat_interleave(len(steps)) + 1
    y = x + steps.repeat(FINE)
    (a, of_a), (b, of_b) = spline.spread(x), spline.spread(y)
    table = x.new_zeros(len(x), count)
    for p, share in enumerate(of_a):
        for q, other in enumerate(of_b):
            apart = (b + q - a - p).abs()
            near = apart < count
            table[near.nonzero().flatten(), apart[near]] += (share * other)[near]
    kernel = torch.exp(-(((y - x) * spline.cell) ** 2) / 2)
    solution: Tensor = torch.linalg.lstsq(table, kernel.unsqueeze(1)).solution
    return solution.flatten()


class Axis:
    """One axis of the grid.

    Args:
        x: of each voxel, ``N``, in bandwidths.
        spline: between voxels and vertices.

    Attributes:
        first: vertex of each voxel, ``N``.
        shares: of it and the next ones, ``2 or 3 × N``.
        blur: ``vertices × vertices``.
    """

    def __init__(self, x: Tensor, spline: Spline) -> None:
        self.first, self.shares = spline.spread((x - x.amin()) / spline.cell + 1)
        self.first -= int(self.first.amin())
        vertices = torch.arange(int(self.first.amax()) + len(self.shares))
        apart = (vertices[:, None] - vertices).abs()
        b = fitted(spline)
        self.blur = torch.where(apart < len(b), b[apart.clamp_max(len(b) - 1)], 0).to(x)

    def own(self) -> Tensor:
        """What a voxel gets of itself, ``N``."""
        near = self.blur[: len(self.shares), : len(self.shares)]
        return torch.einsum("an,ab,bn->n", self.shares, near, self.shares)


class Joint:
    """Axes of the grid as one, of those vertices that some voxel has a share in.

    Most of the colours that three axes make are nowhere in an image.

    Args:
        axes: some, at least one.

    Attributes:
        first: vertex of each voxel, ``N``, among all that the axes make.
        corners: how far behind it are those that a voxel has a share in, and the shares, ``N``.
        number: of each vertex, among those that somebody has a share in.
        blur: ``vertices × vertices`` of the latter.
    """

    def __init__(self, axes: Sequence[Axis]) -> None:
        sizes = [len(axis.blur) for axis in axes]
        strides = [math.prod(sizes[n + 1 :]) for n in range(len(axes))]
        self.first = torch.stack([stride * axis.first for axis, stride in zip(axes, strides)]).sum(0)
        self.corners = []
        for corner in itertools.product(*(range(len(axis.shares)) for axis in axes)):
            share = torch.stack([axis.shares[v] for axis, v in zip(axes, corner)]).prod(0)
            self.corners.append((sum(stride * v for stride, v in zip(strides, corner)), share))
        used = self.first.new_zeros(math.prod(sizes), dtype=torch.bool)
        for far, _ in self.corners:
            used[self.first + far] = True
        self.number = used.cumsum(0) - 1
        self._axes, self._vertices = axes, [used.nonzero().flatten() // s % n for s, n in zip(strides, sizes)]

    def __len__(self) -> int:
        return len(self._vertices[0])

    @cached_property
    def blur(self) -> Tensor:
        """Of the vertices in use."""
        of_axes = (axis.blur[vertices][:, vertices] for axis, vertices in zip(self._axes, self._vertices))
        return torch.stack(list(of_axes)).prod(0)
