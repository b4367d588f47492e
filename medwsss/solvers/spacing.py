# SPDX-License-Identifier: Apache-2.0
"""One solver for images of slices, and for the volume that they make up."""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy
from dataclasses import replace
from typing import Any

from medwsss.solvers.base import Solver
from medwsss.solvers.hard_labels import HardLabels
from medwsss.solvers.strided import StridedSolver

__all__ = ["with_spacing"]


def with_spacing(solver: Solver, spacing: Sequence[float]) -> Solver:
    """The same solver for voxels of this size, on as many axes as it has numbers.

    Raises:
        ValueError: where its neighbourhood knows no spacing.

    Example:
        >>> from medwsss.solvers import NaturalGradient
        >>> from medwsss.terms import SelfLabelingEnergy
        >>> with_spacing(NaturalGradient(SelfLabelingEnergy()), [1, 1, 5]).energy.neighborhood.spacing
        (1, 1, 5)
    """
    if isinstance(solver, StridedSolver | HardLabels):
        outer = copy(solver)
        outer.solver = with_spacing(solver.solver, spacing)
        outer.energy = outer.solver.energy
        return outer
    neighborhood: Any = solver.energy.neighborhood
    if not hasattr(neighborhood, "spacing"):
        raise ValueError(f"expected a neighbourhood with a spacing, got {type(neighborhood).__name__}")
    solver, energy = copy(solver), copy(solver.energy)
    energy.neighborhood = replace(neighborhood, spacing=tuple(spacing))
    solver.energy = energy
    return solver
