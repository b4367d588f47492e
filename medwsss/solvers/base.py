# SPDX-License-Identifier: Apache-2.0
"""What solvers of ``argmin_y E(y)`` have in common: how they are called, what they return, and the only loop."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any

import torch
from torch import Tensor

from medwsss.terms.energy import BoundEnergy, SelfLabelingEnergy
from medwsss.terms.neighborhoods import OffsetNeighborhood, OffsetPairs

__all__ = ["IterativeSolver", "Solution", "Solver", "Status"]


class Status(Enum):
    """How a solve ended; the value is advice."""

    CONVERGED = "Converged: the energy of every sample has stopped falling."
    STEPS_DONE = "All steps were taken, as asked. Compare the last energies to see whether fewer would do."
    MAX_STEPS = "Stopped at max_steps with the energy still falling: raise max_steps or loosen tolerance."
    DIVERGED = (
        "The energy ended above where it started: lower learning_rate or stride (or lam, or connectivity), "
        "or use NaturalGradient with its safeguard, which never goes up."
    )

    def __str__(self) -> str:
        return str(self.value)


@dataclass(frozen=True)
class Solution:
    """What a solver returns.

    Attributes:
        labels: ``y``, ``B K *S`` on the simplex, one-hot on seeds, uniform on void voxels.
        energy: ``steps + 1 × B``, the energy before the first and after every step, on the CPU.
        steps: how many steps were taken.
        status: how it ended, with advice.
        residual: ``B``, how far ``y`` is from solving the equations of the solver, if it solves any.
        backend: which implementation ran, and why where it is not the fastest.
    """

    labels: Tensor
    energy: Tensor
    steps: int
    status: Status
    residual: Tensor | None = None
    backend: str = "PyTorch"


def steps_done(energies: list[Tensor], steps: int) -> Status | None:
    """The status where only the number of steps ends a solve."""
    if len(energies) <= steps:
        return None
    return Status.DIVERGED if (energies[-1] > energies[0]).any() else Status.STEPS_DONE


def check_offsets(energy: SelfLabelingEnergy, solver: str) -> None:
    """Refuse neighbourhoods that are no list of offsets, for a solver that builds on offsets and weights.

    Raises:
        ValueError: naming both.
    """
    kind = energy.neighborhood
    if not isinstance(kind, OffsetNeighborhood):
        raise ValueError(f"expected a neighbourhood of offsets (grid, window) for {solver}, got {type(kind).__name__}")


def offset_pairs(problem: BoundEnergy) -> OffsetPairs:
    """The pair term of a problem whose energy :func:`check_offsets` has passed.

    Raises:
        ValueError: for negative weights, with which minimum cuts and linear systems have no minimiser to find.
    """
    term = problem.pair_term
    assert isinstance(term, OffsetPairs)
    if any((w < 0).any() for _, w in term):
        raise ValueError("expected weights >= 0 of all pairs, got negative ones")
    return term


class Solver(ABC):
    """``argmin_y E(y)`` over distributions that equal the seeds on seeds.

    Runs in float32 (float64 for float64 logits), without autograd and with autocast off, whatever surrounds it.

    Attributes:
        energy: what it minimises.
    """

    energy: SelfLabelingEnergy

    @abstractmethod
    def __call__(
        self,
        logits: Tensor,
        guide: Tensor,
        scribble: Tensor,
        initial: Tensor | None = None,
        weights: Sequence[Tensor] | None = None,
        frozen: Tensor | None = None,
    ) -> Solution:
        """Solve for a batch.

        Args:
            logits: ``B K *S`` network outputs.
            guide: ``B C *S``, what contrast weights look at.
            scribble: ``B 1 *S`` integer, classes, ``UNLABELED`` and ``VOID``.
            initial: ``B K *S`` distributions to start from instead of the network's (a warm start).
            weights: ``w_ij`` of this guide if the caller has them.
            frozen: ``B K *S``, labels ``q_i`` of unlabelled voxels that are known, 0 elsewhere; they come back as they
                are, and the others are ``argmin_y E(y | q)`` of :meth:`~medwsss.terms.SelfLabelingEnergy.bind`. A block
                whose border is frozen at labels of the whole needs no more around it. A solve with some begins at
                ``initial`` or the network; a minimum cut takes each ``q_i`` for its largest class.

        Raises:
            ValueError: for shapes that don't belong together, seeds outside the classes, or input that is not finite.
        """


class IterativeSolver(Solver):
    """A solver that takes steps.

    Args:
        energy: what to minimise.
        max_steps: the bound on steps.
    """

    def __init__(self, energy: SelfLabelingEnergy, max_steps: int) -> None:
        if max_steps < 1:
            raise ValueError(f"expected at least one step, got {max_steps}")
        self.energy = energy
        self.max_steps = max_steps

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
        """As :meth:`Solver.__call__`."""
        with torch.autocast(logits.device.type, enabled=False):
            problem = self.energy.bind(logits, guide, scribble, weights, frozen)
            if initial is not None and initial.shape != logits.shape:
                raise ValueError(f"expected initial labels of shape {tuple(logits.shape)}, got {tuple(initial.shape)}")
            state = self.start(problem, initial)
            energies = [self.energies(state)]
            status = None
            while status is None:
                state = self.step(problem, state)
                energies.append(self.energies(state))
                status = self.status(state, energies)
            labels, residual = self.labels(problem, state), self.residual(problem, state)
            return Solution(
                labels, torch.stack(energies).cpu(), len(energies) - 1, status, residual, self.backend(state)
            )

    @abstractmethod
    def start(self, problem: BoundEnergy, initial: Tensor | None) -> Any:
        """The state before the first step."""

    @abstractmethod
    def step(self, problem: BoundEnergy, state: Any) -> Any:
        """The state after one more step."""

    @abstractmethod
    def energies(self, state: Any) -> Tensor:
        """``E(y)`` of a state, ``B``."""

    @abstractmethod
    def labels(self, problem: BoundEnergy, state: Any) -> Tensor:
        """``y`` of a state, ``B K *S``."""

    @abstractmethod
    def status(self, state: Any, energies: list[Tensor]) -> Status | None:
        """Why to stop after this step, or ``None`` to go on."""

    def residual(self, problem: BoundEnergy, state: Any) -> Tensor | None:
        """How far a state is from solving the equations of the solver, ``B``; ``None`` where there are none."""
        return None

    def backend(self, state: Any) -> str:
        """Which implementation runs."""
        return "PyTorch"
