# SPDX-License-Identifier: Apache-2.0
"""The network's part of Eq. (8): seeds, and a cross-entropy to pseudo-labels elsewhere."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from medwsss.keys import PSEUDO_LABEL, UNLABELED
from medwsss.losses.partial_cross_entropy import PartialCrossEntropyLoss
from medwsss.losses.reduction import voxel_count
from medwsss.terms.cross_entropies import CROSS_ENTROPIES, CrossEntropy
from medwsss.terms.simplex import seed_mask

__all__ = ["SelfLabelingLoss"]


class WeightedCrossEntropies(torch.autograd.Function):
    """``Σ_i a_i (−ln σ_i^{ȳ_i}) + b_i H(y_i, σ_i)`` for ``σ = softmax(z)``, with its derivative in closed form.

    ``∂/∂z_i = a_i (σ_i − ȳ_i) + b_i ∂H/∂z_i``. Autograd would go through two softmaxes, and thrice over the memory.
    """

    @staticmethod
    def forward(
        ctx: Any, logits: Tensor, classes: Tensor, a: Tensor, y: Tensor, b: Tensor, term: CrossEntropy
    ) -> Tensor:
        """``z`` and ``y`` are ``B K *S``; ``classes`` (of ``ȳ``, any where ``a`` is 0), ``a`` and ``b`` ``B 1 *S``."""
        log_sigma = logits.log_softmax(1)
        sigma = log_sigma.exp()
        values, gradient = term.in_logits(y, sigma)
        ctx.save_for_backward(gradient.mul_(b).addcmul_(a, sigma).scatter_add_(1, classes, -a))
        return (b.squeeze(1) * values).sum() - (a * log_sigma.gather(1, classes)).sum()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, outer: Tensor) -> tuple[Tensor | None, ...]:
        """``∂/∂z``."""
        (gradient,) = ctx.saved_tensors
        return outer * gradient, None, None, None, None, None


class SelfLabelingLoss(nn.Module):
    """``−(1/|S|) Σ_{i∈S} ln σ_i^{ȳ_i} + η (1/|U|) Σ_{i∈U} H(y_i, σ_i)``, Eq. (8) for fixed ``y``.

    ``U`` are the unlabelled voxels. Until the target holds pseudo-labels (warm-up), it is the seed term alone.

    Args:
        cross_entropy: ``H``, one of ``CROSS_ENTROPIES``.
        eta: ``η`` of the network's term; the solver's ``η`` is a knob of its own.
        dice_weight: of a Dice loss on seeds, as in :class:`PartialCrossEntropyLoss`.

    Shape:
        - input: ``B K *S`` logits.
        - target: mapping with ``scribble`` (``B 1 *S``) and, after warm-up, ``pseudo_label`` (``B K *S``).
        - output: scalar.

    Source: Zhang & Boykov, CVPR 2025, Eq. (8) to (11).
    """

    def __init__(
        self, cross_entropy: str = "collision_cross_entropy", eta: float = 0.3, dice_weight: float = 0.0
    ) -> None:
        super().__init__()
        if cross_entropy not in CROSS_ENTROPIES:
            raise ValueError(f"expected cross_entropy in {sorted(CROSS_ENTROPIES)}, got {cross_entropy!r}")
        if eta < 0:
            raise ValueError(f"expected eta >= 0, got {eta}")
        self.cross_entropy = CROSS_ENTROPIES[cross_entropy]
        self.eta = eta
        self.seed_term = PartialCrossEntropyLoss(dice_weight)

    def forward(self, input: Tensor, target: Mapping[str, Tensor]) -> Tensor:  # noqa: A002 (MONAI's name)
        """The loss of a batch."""
        if PSEUDO_LABEL not in target:
            loss: Tensor = self.seed_term(input, target)
            return loss
        logits, scribble = self.seed_term.checked(input, target)
        y = target[PSEUDO_LABEL].to(logits.dtype)
        if y.shape != logits.shape:
            raise ValueError(f"expected pseudo-labels of the logits' shape {tuple(logits.shape)}, got {tuple(y.shape)}")
        a, b = (mask.to(logits.dtype) for mask in (seed_mask(scribble), scribble == UNLABELED))
        a, b = a / voxel_count(a), self.eta * b / voxel_count(b)
        classes = torch.where(a > 0, scribble, 0)
        loss = WeightedCrossEntropies.apply(logits, classes, a, y, b, self.cross_entropy)
        return loss + self.seed_term.dice_term(logits, scribble)
