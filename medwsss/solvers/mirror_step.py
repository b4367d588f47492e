# SPDX-License-Identifier: Apache-2.0
"""One look at ``y``: its energy, and where the scaled natural gradient leads from there."""

from __future__ import annotations

from typing import Protocol

from torch import Tensor

from medwsss.solvers.limits import LABEL_FLOOR, LARGEST_CHANGE, LEAST_CURVATURE, SMALL_LABEL
from medwsss.terms.energy import BoundEnergy

__all__ = ["MirrorStep", "PlainStep", "mixed", "per_sample"]


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
        scale = per_sample(stride, y) / curvature.clamp_min(LEAST_CURVATURE)
        inverse = 1 / y.clamp_min(SMALL_LABEL)
        share = y * inverse
        mean = (share * gradient).sum(1, keepdim=True) / share.sum(1, keepdim=True)
        change = (scale * (mean - gradient) * inverse).clamp_(-LARGEST_CHANGE, LARGEST_CHANGE)
        y = y.clamp_min(LABEL_FLOOR)
        change += momentum * (y / previous.clamp_min(LABEL_FLOOR)).log()
        # Within float32: no change is beyond LARGEST_CHANGE − momentum · ln LABEL_FLOOR, that is ±43.
        grown = y * change.exp()
        return energy, self.problem.reset((grown / grown.sum(1, keepdim=True)).clamp_min(LABEL_FLOOR))

    def energy(self, y: Tensor, stride: Tensor) -> Tensor:
        """``E(y)`` alone."""
        return self.problem.value(y)


def mixed(y: Tensor, problem: BoundEnergy, share: float) -> Tensor:
    """``y``, which may be overwritten, with a share of the uniform distribution; seeds are one-hot."""
    return problem.reset(y.mul_(1 - share).add_(share / y.shape[1])).contiguous()


def per_sample(x: Tensor, like: Tensor) -> Tensor:
    """``B`` as ``B 1 *1``."""
    return x.reshape(-1, *[1] * (like.ndim - 1))
