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
from collections.abc import Iterator, Sequence
from functools import cached_property, lru_cache
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from medwsss.terms.self_adjoint import self_adjoint

__all__ = ["BilateralGrid"]

#: Contrasts within this many bandwidths of each other are one: the kernel would fall by less than 0.2 %.
NEGLIGIBLE = 0.06
#: Cells of a grid at most, 256 MB in float32, and numbers of the classes that are filtered at once.
LARGEST, AT_ONCE = 2**26, 2**25
#: Shares of voxels in corners of the grid that are read at once; of large images those of 4 corners.
SHARES = 2**22
PASS = 80  # multiplications of a matrix product that take as long as to read and write a number
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
        turned = _principal_axes(centred).T @ centred
        wide = turned[turned.amax(1) - turned.amin(1) > NEGLIGIBLE]
        extents = [(1 + (x.amax() - x.amin()).item() / CONTRAST.cell) for x in wide]
        extents += [(1 + (x.amax() - x.amin()).item() / POSITION.cell) for x in positions]
        if math.prod(extents) > LARGEST:
            raise ValueError(
                f"expected a guide of few bandwidths, at most {LARGEST} cells of position and contrast, got one of "
                f"{math.prod(extents):.3g} ({', '.join(f'{n:.0f}' for n in extents)} along its axes): raise bandwidth "
                "or spatial_bandwidth"
            )
        colors, places = [Axis(x, CONTRAST) for x in wide], [Axis(x, POSITION) for x in positions]
        self.own = math.prod((axis.own() for axis in (*colors, *places)), start=positions.new_ones(()))
        joints = _joined(colors, places)
        self.blurs, self.sizes = [joint.blur for joint in joints], [len(joint) for joint in joints]
        self._group(joints)

    def _group(self, joints: Sequence[Joint]) -> None:
        """Order voxels by their first vertex: those that have it in common have all."""
        cell = joints[0].first
        for joint in joints[1:]:
            cell = cell * len(joint.number) + joint.first
        cell, self.order = cell.sort(stable=True)
        _, self.group, counts = torch.unique_consecutive(cell, return_inverse=True, return_counts=True)
        self.starts = counts.cumsum(0) - counts
        heads = self.order[self.starts]
        strides = [math.prod(self.sizes[n + 1 :]) for n in range(len(self.sizes))]
        self._parts = [
            (
                torch.stack([stride * joint.number[joint.first[heads] + far] for far, _ in joint.corners]),
                torch.stack([share[self.order] for _, share in joint.corners]),
            )
            for joint, stride in zip(joints, strides)
        ]

    def filter(self, values: Tensor) -> Tensor:
        """``Σ_{j≠i} k_ij v_j`` of values ``K × N``; it can be differentiated in them, as often as need be."""
        return self_adjoint(self.apply, values)

    def apply(self, values: Tensor) -> Tensor:
        """:meth:`filter`, without autograd."""
        parts = math.ceil(len(values) * math.prod(self.sizes) / AT_ONCE)
        return torch.cat([self._some(part) for part in values.chunk(min(parts, len(values)))])

    def _some(self, values: Tensor) -> Tensor:
        v, all_of_them = values.T[self.order], torch.arange(len(self.order), device=values.device)
        grid = v.new_zeros(math.prod(self.sizes), len(values))
        for vertices, shares in self._corners():
            count = len(vertices)
            starts = self.starts + len(self.order) * torch.arange(count, device=values.device)[:, None]
            of_groups = F.embedding_bag(
                all_of_them.repeat(count), v, starts.flatten(), mode="sum", per_sample_weights=shares.flatten()
            )
            grid.index_add_(0, vertices.flatten(), of_groups)
        for n, blur in enumerate(self.blurs):
            grid = blur @ grid.reshape(math.prod(self.sizes[:n]), len(blur), -1)
        grid = grid.reshape(-1, len(values))
        sums = -self.own[self.order, None] * v
        for vertices, shares in self._corners():
            sums += F.embedding_bag(
                vertices.T.contiguous()[self.group], grid, mode="sum", per_sample_weights=shares.T.contiguous()
            )
        return torch.empty_like(sums).index_copy_(0, self.order, sums).T

    def _corners(self) -> Iterator[tuple[Tensor, Tensor]]:
        """A few corners at a time: the vertex of each group of voxels, and the share of each voxel."""
        numbers = torch.cartesian_prod(*(torch.arange(len(v)) for v, _ in self._parts)).to(self.order.device)
        for some in numbers.reshape(-1, len(self._parts)).split(max(4, SHARES // len(self.order))):
            vertices, shares = zip(*((v[k], share[k]) for (v, share), k in zip(self._parts, some.T)))
            yield sum(vertices), math.prod(shares)


def _principal_axes(centred: Tensor) -> Tensor:
    """Columns; their signs, which LAPACK and the GPU's library choose as they like, move the grid."""
    axes: Tensor = torch.linalg.eigh(centred @ centred.T).eigenvectors
    return axes * axes.gather(0, axes.abs().argmax(0, keepdim=True)).sign()


def _joined(colors: Sequence[Axis], places: Sequence[Axis]) -> list[Joint]:
    """What is blurred one after the other: contrast along its principal axis, along all others, and position.

    The others are one where that takes less time. The longest comes first: its product of matrices is the largest.
    """
    first, last = [Joint([axis]) for axis in colors[-1:]], [Joint([axis]) for axis in places]
    apart = [*first, *(Joint([axis]) for axis in colors[:-1]), *last]
    return min(apart, [*first, Joint(colors[:-1]), *last], key=_cost) if len(colors) > 2 else apart


def _cost(joints: Sequence[Joint]) -> int:
    return math.prod(map(len, joints)) * sum(len(joint) + PASS for joint in joints)
