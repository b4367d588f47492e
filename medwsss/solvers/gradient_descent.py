# SPDX-License-Identifier: Apache-2.0
"""The paper's own solver (Appendix A), step by step: the reference that everything faster is held against."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor

from medwsss.solvers.base import IterativeSolver, Status, steps_done
from medwsss.terms.energy import BoundEnergy, SelfLabelingEnergy
from medwsss.terms.simplex import EPSILON

__all__ = ["GradientDescent"]


class Descent(NamedTuple):
    """Where the solver stands."""

    logits: Tensor  # l, with y = softmax(l)
    labels: Tensor  # y, seeds reset
    energy: Tensor
    gradient: Tensor  # ∂E/∂y


class GradientDescent(IterativeSolver):
    """Plain gradient descent on ``l`` with ``y_i = softmax(l_i)``.

    Starting from the network's logits, each step resets ``y_i = ȳ_i`` on seeds and moves
    ``l ← l − learning_rate · ∂E/∂l``, with ``∂E/∂l_i = y_i ⊙ (g_i − y_i·g_i)`` and ``g = ∂E/∂y``.

    Args:
        energy: what to minimise.
        steps: how many steps to take; always all of them.
        learning_rate: of the sum (not the mean) over voxels and pairs, as Eq. (8) is written.

    Source: Zhang & Boykov, CVPR 2025, Appendix A.
    """

    def __init__(self, energy: SelfLabelingEnergy, steps: int = 200, learning_rate: float = 0.075) -> None:
        super().__init__(energy, max_steps=steps)
        if learning_rate <= 0:
            raise ValueError(f"expected a positive learning_rate, got {learning_rate}")
        self.learning_rate = learning_rate

    def start(self, problem: BoundEnergy, initial: Tensor | None) -> Descent:
        """``l`` is the network's logits, or the logarithm of given labels."""
        logits = problem.logits if initial is None else initial.to(problem.logits.dtype).clamp_min(EPSILON).log()
        return self._descent(problem, logits)

    def step(self, problem: BoundEnergy, state: Descent) -> Descent:
        """One step down the gradient; nothing moves on seeds."""
        y, g = state.labels, state.gradient
        slope = y * (g - (y * g).sum(1, keepdim=True))  # ∂E/∂l through the softmax
        return self._descent(problem, state.logits - self.learning_rate * slope * problem.free)

    def energies(self, state: Descent) -> Tensor:
        """``E(y)``."""
        return state.energy

    def labels(self, problem: BoundEnergy, state: Descent) -> Tensor:
        """``softmax(l)``, seeds reset."""
        return state.labels

    def status(self, state: Descent, energies: list[Tensor]) -> Status | None:
        """Only the number of steps ends it."""
        return steps_done(energies, self.max_steps)

    @staticmethod
    def _descent(problem: BoundEnergy, logits: Tensor) -> Descent:
        labels = problem.reset(logits.softmax(1))
        return Descent(logits, labels, *problem.value_and_gradient(labels))
