# SPDX-License-Identifier: Apache-2.0
"""Another solver's labels, each voxel all of its largest class."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from torch import Tensor
from torch.nn import functional as F

from medwsss.solvers.base import Solution, Solver
from medwsss.terms.simplex import void_mask

__all__ = ["HardLabels"]


class HardLabels(Solver):
    """``y_i = e_k`` with ``k = argmax y_i`` of another solver's ``y``; the lower class where two are equal.

    Hard self-labeling where no minimum cut can be had, as with dense neighbourhoods. With the bilinear relaxation the
    labels are nearly hard before, as it is concave.

    Args:
        solver: whose labels these are. Energies, steps and status are of its soft labels.

    Example::

        >>> import torch
        >>> from medwsss.solvers import NaturalGradient
        >>> from medwsss.terms import SelfLabelingEnergy
        >>> solver = HardLabels(NaturalGradient(SelfLabelingEnergy()))
        >>> scribble = torch.tensor([0, 255, 255, 254]).reshape(1, 1, 4)
        >>> solver(torch.zeros(1, 2, 4), torch.zeros(1, 1, 4), scribble).labels[0, 0].tolist()
        [1.0, 1.0, 1.0, 0.5]
    """

    def __init__(self, solver: Solver) -> None:
        self.solver = solver
        self.energy = solver.energy

    def __call__(
        self,
        logits: Tensor,
        guide: Tensor,
        scribble: Tensor,
        initial: Tensor | None = None,
        weights: Sequence[Tensor] | None = None,
        frozen: Tensor | None = None,
    ) -> Solution:
        """As :meth:`Solver.__call__`; frozen labels become hard, too."""
        solution = self.solver(logits, guide, scribble, initial, weights, frozen)
        y = solution.labels
        hard = F.one_hot(y.argmax(1), y.shape[1]).movedim(-1, 1).to(y)
        return replace(solution, labels=y.where(void_mask(scribble), hard))
