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

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor
from torch.nn import functional as F

from medwsss.terms.grid_axes import CONTRAST, POSITION, Axis, Joint
from medwsss.terms.grid_blur import GridBlur
from medwsss.terms.self_adjoint import self_adjoint

__all__ = ["BilateralGrid"]

#: Contrasts within this many bandwidths of each other are one: the kernel would fall by less than 0.2 %.
NEGLIGIBLE = 0.06
#: Cells of a grid at most, 256 MB in float32 were all in use, and numbers of the classes that are filtered at once.
LARGEST, AT_ONCE = 2**26, 2**25
#: Shares of voxels in corners of the grid that are had at once, and kept if that is all of them; of large images those
#: of 4 corners.
SHARES = 2**23
PASS = 80  # multiplications of a matrix product that take as long as to read and write a number


@dataclass(frozen=True)
class Corners:
    """Some corners of the cells that voxels are in; voxels in the grid's order.

    Attributes:
        vertices: of groups of voxels, ``corners × groups``.
        shares: of voxels, ``corners × N``.
        group: of each voxel, ``N``.
    """

    vertices: Tensor
    shares: Tensor
    group: Tensor

    @cached_property
    def of_voxels(self) -> tuple[Tensor, Tensor]:
        """Vertices and shares, ``N × corners``."""
        return self.vertices.int().T.contiguous()[self.group], self.shares.T.contiguous()


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
        self.sizes = [len(joint) for joint in joints]
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
        vertices = [torch.stack([j.number[j.first[heads] + far] for far, _ in j.corners]) for j in joints]
        shares = [torch.stack([share[self.order] for _, share in joint.corners]) for joint in joints]
        blurs = [joint.blur for joint in joints]
        if len(joints) == 1:  # the second axis is a point
            blurs.append(torch.ones_like(blurs[0][:1, :1]))
            vertices.append(torch.zeros_like(vertices[0][:1]))
            shares.append(torch.ones_like(shares[0][:1]))
        self._blur = GridBlur(blurs, vertices[:2])
        vertices[:2] = [self._blur.pairs[vertices[0][:, None], vertices[1]].flatten(0, 1)]
        shares[:2] = [(shares[0][:, None] * shares[1]).flatten(0, 1)]
        strides = [math.prod(self.sizes[n:]) for n in range(2, len(blurs) + 1)]
        self._parts = [(stride * own, share) for stride, own, share in zip(strides, vertices, shares)]
        self._kept: list[Corners] = []

    def filter(self, values: Tensor) -> Tensor:
        """``Σ_{j≠i} k_ij v_j`` of values ``K × N``; it can be differentiated in them, as often as need be."""
        return self_adjoint(self.apply, values)

    def apply(self, values: Tensor) -> Tensor:
        """:meth:`filter`, without autograd."""
        parts = math.ceil(len(values) * self._blur.vertices / AT_ONCE)
        return torch.cat([self._some(part) for part in values.chunk(min(parts, len(values)))])

    def _some(self, values: Tensor) -> Tensor:
        v = values.T[self.order]
        all_of_them = torch.arange(len(v), dtype=torch.int32, device=v.device)
        grid = v.new_zeros(self._blur.vertices, len(values))
        for corners in self._corners():
            count, shares = len(corners.vertices), corners.shares.flatten()
            starts = torch.cat([self.starts + len(v) * corner for corner in range(count)]).int()
            of_groups = F.embedding_bag(all_of_them.repeat(count), v, starts, mode="sum", per_sample_weights=shares)
            grid.index_add_(0, corners.vertices.flatten(), of_groups)
        grid = self._blur(grid)
        sums = -self.own[self.order, None] * v
        for corners in self._corners():
            vertices, shares = corners.of_voxels
            sums += F.embedding_bag(vertices, grid, mode="sum", per_sample_weights=shares)
        return torch.empty_like(sums).index_copy_(0, self.order, sums).T

    def _corners(self) -> Iterable[Corners]:
        """All of them, a few at a time."""
        numbers = torch.cartesian_prod(*(torch.arange(len(v)) for v, _ in self._parts)).to(self.order.device)
        some = numbers.reshape(-1, len(self._parts)).split(max(4, SHARES // len(self.order)))
        if len(some) == 1:
            self._kept = self._kept or [self._read(some[0])]
            return self._kept
        return map(self._read, some)

    def _read(self, numbers: Tensor) -> Corners:
        of_axes, shares_of_axes = zip(*((v[k], share[k]) for (v, share), k in zip(self._parts, numbers.T)))
        return Corners(sum(of_axes), math.prod(shares_of_axes), self.group)


def _principal_axes(centred: Tensor) -> Tensor:
    """Columns; their signs, which LAPACK and the GPU's library choose as they like, move the grid."""
    axes: Tensor = torch.linalg.eigh(centred @ centred.T).eigenvectors
    return axes * axes.gather(0, axes.abs().argmax(0, keepdim=True)).sign()


def _joined(colors: Sequence[Axis], places: Sequence[Axis]) -> list[Joint]:
    """What is blurred one after the other: contrast along its principal axis, along all others, and position.

    The others are one where that would take less time if all of the grid were in use. The principal axis is first: that
    one is cut into slabs.
    """
    first, last = [Joint([axis]) for axis in colors[-1:]], [Joint([axis]) for axis in places]
    apart = [*first, *(Joint([axis]) for axis in colors[:-1]), *last]
    return min(apart, [*first, Joint(colors[:-1]), *last], key=_cost) if len(colors) > 2 else apart


def _cost(joints: Sequence[Joint]) -> int:
    return math.prod(map(len, joints)) * sum(len(joint) + PASS for joint in joints)
