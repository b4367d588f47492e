# SPDX-License-Identifier: Apache-2.0
"""Pseudo-labels on a coarser grid, such as that of the network's own output stride."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from medwsss.solvers.base import Solution, Solver
from medwsss.solvers.cells import interpolated, means, merged
from medwsss.solvers.coarse import cell_weights
from medwsss.terms.neighborhoods import OffsetNeighborhood, pairs
from medwsss.terms.simplex import check_seeds, one_hot, seed_mask, void_mask

__all__ = ["StridedSolver"]


class StridedSolver(Solver):
    """Solve for cells of ``stride`` voxels an axis, and interpolate the labels linearly between the cells' centres.

    A cell has the mean of its voxels' logits and of the guide where they exist, is a seed of the class that most of its
    seeds have (the network decides where votes are equal), and is void if nothing in it is to be labelled. Seeds of the
    full grid are one-hot in what comes back, and void voxels uniform.

    Two cells of ``s`` voxels along each of ``d`` axes meet in ``s^(d−1)`` pairs and hold ``s^d`` voxels each: labels
    that are constant on cells cost the same when the solver's energy has ``λ / s``.

    Args:
        solver: what solves on the coarse grid.
        stride: voxels of a cell along each axis; 1 is the solver itself.

    Raises:
        ValueError: for a stride below 1.
    """

    def __init__(self, solver: Solver, stride: int) -> None:
        if stride < 1:
            raise ValueError(f"expected a stride of at least 1, got {stride}")
        self.solver = solver
        self.energy = solver.energy
        self.stride = stride

    @torch.no_grad()
    def __call__(
        self,
        logits: Tensor,
        guide: Tensor,
        scribble: Tensor,
        initial: Tensor | None = None,
        weights: Sequence[Tensor] | None = None,
        frozen: Tensor | None = None,
    ) -> Solution:
        """As :meth:`Solver.__call__`; energy, steps and status are those of the coarse problem.

        Initial labels become means of cells. Weights of the full grid are summed up over the pairs between two cells
        and divided by ``s^(d−1)``, their number for neighbours face to face. Frozen labels are refused.
        """
        if self.stride == 1:
            return self.solver(logits, guide, scribble, initial, weights, frozen)
        if frozen is not None:
            raise ValueError(f"expected no frozen labels with a stride, got some with {self.stride}")
        shape, logits = logits.shape[2:], logits.to(torch.promote_types(logits.dtype, torch.float32))
        size = [self.stride] * len(shape)
        check_seeds(scribble, logits.shape[1])
        cell_logits, cell_guide, cells = as_cells(logits, guide, scribble, size)
        if weights is not None:
            weights = self._weights_of_cells(cell_guide, guide.to(logits.dtype), weights, size)
        if initial is not None:
            initial = means(initial.to(logits.dtype), size)
        solution = self.solver(cell_logits, cell_guide, cells, initial, weights)

        y = interpolated(solution.labels, size, shape)
        seeds = one_hot(scribble, logits.shape[1], logits.dtype)
        y = torch.where(void_mask(scribble), 1 / logits.shape[1], torch.where(seed_mask(scribble), seeds, y))
        return replace(solution, labels=y)

    def _weights_of_cells(
        self, cell_guide: Tensor, guide: Tensor, weights: Sequence[Tensor], size: Sequence[int]
    ) -> list[Tensor]:
        neighborhood = self.energy.neighborhood
        if not isinstance(neighborhood, OffsetNeighborhood):
            raise ValueError(f"expected a neighbourhood of offsets for weights, got {type(neighborhood).__name__}")
        ndim = len(size)
        sums = cell_weights(neighborhood.bind(self.energy.relaxation, guide, weights=weights), guide, size)
        offsets = neighborhood.offsets(ndim)
        if foreign := sums.keys() - set(offsets):
            raise ValueError(f"expected pairs between cells to be among {offsets}, got {sorted(foreign)} too")
        empty = cell_guide[:, :1] * 0
        return [sums.get(o, pairs(empty, o)[0]) / self.stride ** (ndim - 1) for o in offsets]


def as_cells(logits: Tensor, guide: Tensor, scribble: Tensor, size: Sequence[int]) -> tuple[Tensor, Tensor, Tensor]:
    """Mean logits of cells, the mean guide of what exists in them, and their scribble, as in :class:`StridedSolver`.

    Args:
        logits: ``B K *S``.
        guide: ``B C *S``.
        scribble: ``B 1 *S``.
        size: of a cell, voxels along each axis.
    """
    cell_logits, cells = merged(logits, scribble, size)
    inside = (~void_mask(scribble)).to(logits.dtype)
    share = means(inside, size).clamp_min(torch.finfo(logits.dtype).tiny)
    return cell_logits, means(guide.to(logits.dtype) * inside, size) / share, cells
