# SPDX-License-Identifier: Apache-2.0
"""Pseudo-labels on a coarser grid, such as that of the network's own output stride."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from medwsss.keys import UNLABELED, VOID
from medwsss.solvers.base import Solution, Solver
from medwsss.solvers.coarse import AVERAGE, LINEAR
from medwsss.terms.simplex import one_hot, seed_mask, void_mask

__all__ = ["StridedSolver"]


class StridedSolver:
    """Solve for cells of ``stride`` voxels an axis, and interpolate the labels linearly between the cells' centres.

    A cell has the mean of its voxels' logits and of their guide, is a seed of the class that most of its seeds have,
    and is void if all of it is. Seeds of the full grid are one-hot in what comes back, and void voxels uniform.

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
        self.stride = stride

    @torch.no_grad()
    def __call__(self, logits: Tensor, guide: Tensor, scribble: Tensor) -> Solution:
        """As :class:`Solver`; energy, steps and status are those of the coarse problem."""
        if self.stride == 1:
            return self.solver(logits, guide, scribble)
        shape, logits = logits.shape[2:], logits.to(torch.promote_types(logits.dtype, torch.float32))
        seeds = one_hot(scribble, logits.shape[1], logits.dtype)
        void = void_mask(scribble)
        votes, nothing = self._mean(seeds), self._mean(void.to(logits.dtype)) == 1
        cells = torch.where(
            nothing, VOID, torch.where(votes.sum(1, keepdim=True) > 0, votes.argmax(1, True), UNLABELED)
        )
        solution = self.solver(self._mean(logits), self._mean(guide.to(logits.dtype)), cells)

        y = F.interpolate(solution.labels, scale_factor=float(self.stride), mode=LINEAR[len(shape)])
        for axis, size in enumerate(shape):
            y = y.narrow(axis + 2, 0, size)
        y = torch.where(void, 1 / logits.shape[1], torch.where(seed_mask(scribble), seeds, y))
        return Solution(y, solution.energy, solution.steps, solution.status, solution.residual)

    def _mean(self, x: Tensor) -> Tensor:
        """Means of cells; those at the far border may be incomplete."""
        return AVERAGE[x.ndim - 2](x, self.stride, ceil_mode=True, count_include_pad=False)
