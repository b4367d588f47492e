# SPDX-License-Identifier: Apache-2.0
"""Sums under a Gaussian of position and contrast over all pairs of an image's voxels, by way of a coarse grid of both.

Every pair costs ``N²``. Here values are spread on a grid of position and contrast, blurred along each of its axes and
read off again, in time and memory linear in ``N``. Of two voxels the grid makes

    ``k_ij ≈ Π_axes Σ_ab s_a(x_i) b_|a−b| s_b(x_j)``

with B-splines ``s``, linear in position and quadratic in contrast, and numbers ``b`` that fit it by least squares to
``exp(−½(x_i−x_j)²)``. It is symmetric, so that the derivative of ``½ v·Kv`` is ``Kv``, and what a voxel gets of itself
is known and left out. ``python -m tests.benchmarks.dense`` has the error against the exact sum.

Source: Chen, Paris & Durand, Real-time Edge-Aware Image Processing with the Bilateral Grid, SIGGRAPH 2007.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from functools import lru_cache
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from medwsss.terms.self_adjoint import self_adjoint

__all__ = ["BilateralGrid"]

#: Contrasts within this many bandwidths of each other are one: the kernel would fall by less than 0.2 %.
NEGLIGIBLE = 0.06
#: Cells of a grid at most, 256 MB in float32, and of the classes that are filtered at once.
LARGEST, AT_ONCE = 2**26, 2**23
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


class BilateralGrid:
    """``v ↦ Σ_{j≠i} k_ij v_j`` of one image; see the module.

    Args:
        positions: axes × ``N``, in bandwidths.
        contrasts: channels × ``N``, in bandwidths. They are turned to their principal axes, which changes no distance
            and leaves fewer cells; axes without contrast are dropped.

    Raises:
        ValueError: where the grid would have more than ``LARGEST`` cells.
    """

    def __init__(self, positions: Tensor, contrasts: Tensor) -> None:
        centred = contrasts - contrasts.mean(1, keepdim=True)
        turned = torch.linalg.eigh(centred @ centred.T).eigenvectors.T @ centred
        wide = turned[turned.amax(1) - turned.amin(1) > NEGLIGIBLE]
        extents = [(1 + (x.amax() - x.amin()).item() / CONTRAST.cell) for x in wide]
        extents += [(1 + (x.amax() - x.amin()).item() / POSITION.cell) for x in positions]
        if math.prod(extents) > LARGEST:
            raise ValueError(
                f"expected a guide of few bandwidths, at most {LARGEST} cells of position and contrast, got one of "
                f"{math.prod(extents):.3g} ({', '.join(f'{n:.0f}' for n in extents)} along its axes): raise bandwidth "
                "or spatial_bandwidth"
            )
        self.positions = [Axis(x, POSITION) for x in positions]
        self.contrasts = [Axis(x, CONTRAST) for x in wide]
        self.sizes = [len(axis.blur) for axis in (*self.contrasts, *self.positions)]
        self.own = math.prod([axis.own() for axis in (*self.contrasts, *self.positions)], start=positions.new_ones(()))

    def filter(self, values: Tensor) -> Tensor:
        """``Σ_{j≠i} k_ij v_j`` of values ``K × N``; it can be differentiated in them, as often as need be."""
        return self_adjoint(self.apply, values)

    def apply(self, values: Tensor) -> Tensor:
        """:meth:`filter`, without autograd."""
        at_once = max(1, AT_ONCE // math.prod(self.sizes))
        return torch.cat([self._some(part) for part in values.split(at_once)])

    def _some(self, values: Tensor) -> Tensor:
        grid = values.new_zeros(len(values), math.prod(self.sizes))
        for index, share in self._corners():
            for of, v in zip(grid, values):
                of.scatter_add_(0, index.flatten(), (share * v[:, None]).flatten())
        grid = grid.reshape(-1, *self.sizes)
        for n, axis in enumerate((*self.contrasts, *self.positions), 1):
            grid = torch.tensordot(grid, axis.blur, ([n], [0])).movedim(-1, n)
        table = grid.flatten(1).T.contiguous()
        sums = -self.own[:, None] * values.T
        for index, share in self._corners():
            sums += F.embedding_bag(index, table, mode="sum", per_sample_weights=share)
        return sums.T

    def _corners(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Vertices of each voxel and their shares, ``N × 2^axes`` at a time: those of one vertex of contrast."""
        where, share = self.own.new_zeros(len(self.own), 1).long(), self.own.new_ones(len(self.own), 1)
        for n, axis in enumerate(self.positions, len(self.contrasts)):
            stride = math.prod(self.sizes[n + 1 :])
            vertices = axis.first[:, None] + torch.arange(2, device=where.device)
            where = (where[:, :, None] + stride * vertices[:, None]).flatten(1)
            share = (share[:, :, None] * axis.shares.T[:, None]).flatten(1)
        strides = [math.prod(self.sizes[n + 1 :]) for n in range(len(self.contrasts))]
        for axis, stride in zip(self.contrasts, strides):
            where += stride * axis.first[:, None]
        for vertex in itertools.product(range(3), repeat=len(strides)):
            far = sum(v * stride for v, stride in zip(vertex, strides))
            part = math.prod((axis.shares[v] for axis, v in zip(self.contrasts, vertex)), start=self.own.new_ones(()))
            yield where + far, share * part.reshape(-1, 1)
