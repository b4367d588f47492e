# SPDX-License-Identifier: Apache-2.0
"""What energies, solvers and losses ask of a neighbourhood: the pair term, its gradient and its curvature."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from medwsss.terms.relaxations import Relaxation

__all__ = ["Neighborhood", "PairTerm"]


class PairTerm(ABC):
    """``Σ_{ij∈N} w_ij P(y_i, y_j)`` of one batch, each unordered pair once; made by :meth:`Neighborhood.bind`."""

    @abstractmethod
    def value(self, y: Tensor) -> Tensor:
        """The sum over each sample's pairs, ``B``; ``y`` is ``B K *S``. Autograd may go through it."""

    @abstractmethod
    def model(self, y: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The sum (``B``), its derivative in ``y`` (``B K *S``) and a curvature for each voxel (``B 1 *S``).

        The curvature ``Σ_j |w_ij ∂P/∂(p·q)|`` is about how much the derivative at ``i`` changes when ``ln y_i`` changes
        by 1. The last two are the caller's to overwrite.
        """

    def of_predictions(self, sigma: Tensor) -> Tensor:
        """:meth:`value` for a loss: autograd's backward pass is the closed form, so that no pair is kept for it.

        It can be differentiated once.
        """
        value: Tensor = _ClosedForm.apply(sigma, self)
        return value


class Neighborhood(ABC):
    """Which pairs ``ij`` belong together, and how much."""

    def check(self, relaxation: Relaxation) -> None:  # noqa: B027 (most serve all of them)
        """Refuse a relaxation that the pair term cannot be had for.

        Raises:
            ValueError: naming those it can be had for.
        """

    @abstractmethod
    def bind(
        self,
        relaxation: Relaxation,
        guide: Tensor,
        exists: Tensor | None = None,
        free: Tensor | None = None,
        scale: float = 1.0,
        weights: Sequence[Tensor] | None = None,
    ) -> PairTerm:
        """The pair term of one batch.

        Args:
            relaxation: ``P``.
            guide: ``B C *S``, what contrast is measured on, in the type to compute in.
            exists: ``B 1 *S`` bool, false where there is no image (``VOID``): such pairs weigh 0.
            free: ``B 1 *S`` bool, false where ``y`` is given: pairs of two such voxels are constants and weigh 0.
            scale: of all weights, ``λ``.
            weights: ``w_ij`` where the caller has them; what they look like is the neighbourhood's.
        """


class _ClosedForm(torch.autograd.Function):
    """:meth:`PairTerm.value`, with :meth:`PairTerm.model`'s gradient."""

    @staticmethod
    def forward(ctx: Any, y: Tensor, term: PairTerm) -> Tensor:
        value, gradient, _ = term.model(y)
        ctx.save_for_backward(gradient)
        return value

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, outer: Tensor) -> tuple[Tensor, None]:
        """``∂/∂y``."""
        (gradient,) = ctx.saved_tensors
        return outer.reshape(-1, *[1] * (gradient.ndim - 1)) * gradient, None
