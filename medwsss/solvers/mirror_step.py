# SPDX-License-Identifier: Apache-2.0
"""One look at ``y``: its energy, and where the scaled natural gradient leads from there."""

from __future__ import annotations

from types import ModuleType
from typing import Protocol

import torch
from torch import Tensor

from medwsss.terms.energy import BoundEnergy

__all__ = ["FLOOR", "LARGEST", "LEAST", "MirrorStep", "PlainStep", "SMALL", "compiled", "mirror_step", "per_sample"]

#: The least a class keeps at a free voxel, so that it can come back, and products of two stay normal float32 numbers.
FLOOR = 1e-18
#: The least change of ``ln y`` against the class that gains most, in one step.
LEAST = -40.0
#: The label below which a class is moved in ``ln y`` as if it had this much.
SMALL = 0.1
#: The largest change of ``ln y`` that the gradient makes in one step.
LARGEST = 1.0


class MirrorStep(Protocol):
    """``(y, y', stride, momentum)`` to ``E(y)`` (``B``) and the next ``y``; ``y'`` is the ``y`` before.

    Samples with stride 0 need nothing and get anything. What is returned may be overwritten by a later call unless it
    is then ``y`` or ``y'``.
    """

    def __call__(self, y: Tensor, previous: Tensor, stride: Tensor, momentum: float) -> tuple[Tensor, Tensor]:
        """One look."""

    def energy(self, y: Tensor, stride: Tensor) -> Tensor:
        """``E(y)`` alone, for the last look of a solve: where it leads is not asked."""


class PlainStep:
    """:class:`MirrorStep` in PyTorch, on any device and in any precision: the reference.

    Args:
        problem: what to minimise.
    """

    def __init__(self, problem: BoundEnergy) -> None:
        self.problem = problem

    def __call__(self, y: Tensor, previous: Tensor, stride: Tensor, momentum: float) -> tuple[Tensor, Tensor]:
        energy, gradient, curvature = self.problem.model(y)
        # Where nothing pulls (λ = η = 0) the curvature is 0, and the gradient too.
        scale = per_sample(stride, y) / curvature.clamp_min(torch.finfo(y.dtype).tiny)
        inverse = 1 / y.clamp_min(SMALL)
        share = y * inverse
        mean = (share * gradient).sum(1, keepdim=True) / share.sum(1, keepdim=True)
        change = (scale * inverse * (mean - gradient)).clamp_(-LARGEST, LARGEST)
        y = y.clamp_min(FLOOR)
        change += momentum * (y / previous.clamp_min(FLOOR)).log()
        change -= change.amax(1, keepdim=True)
        grown = y * change.clamp_min(LEAST).exp()
        return energy, self.problem.reset((grown / grown.sum(1, keepdim=True)).clamp_min(FLOOR))

    def energy(self, y: Tensor, stride: Tensor) -> Tensor:
        """``E(y)`` alone."""
        return self.problem.value(y)


def compiled(problem: BoundEnergy) -> ModuleType | None:
    """:mod:`~medwsss.solvers.compiled.step` if it can serve this problem: float32 on the CPU, and Numba is there."""
    if problem.logits.device.type != "cpu" or problem.logits.dtype != torch.float32:
        return None
    try:
        import medwsss.solvers.compiled.step as fused  # late: it takes a second to import
    except (ImportError, RuntimeError):  # no Numba, or nowhere it may keep what it compiles
        return None
    return fused


def mirror_step(problem: BoundEnergy) -> MirrorStep:
    """The fastest step there is for this problem."""
    fused = compiled(problem)
    step: MirrorStep = fused.FusedStep(problem) if fused else PlainStep(problem)
    return step


def per_sample(x: Tensor, like: Tensor) -> Tensor:
    """``B`` as ``B 1 *1``."""
    return x.reshape(-1, *[1] * (like.ndim - 1))
