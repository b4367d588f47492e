# SPDX-License-Identifier: Apache-2.0
"""What losses have in common that add a penalty on predictions to the seed term."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping

from torch import Tensor, nn

from medwsss.keys import GUIDE
from medwsss.losses.partial_cross_entropy import PartialCrossEntropyLoss
from medwsss.losses.precision import without_autocast
from medwsss.losses.reduction import masked_mean
from medwsss.terms.simplex import void_mask

__all__ = ["PenalizedLoss"]


class PenalizedLoss(nn.Module, ABC):
    """``−(1/|S|) Σ_{i∈S} ln σ_i^{ȳ_i} + weight · R(σ)``.

    Args:
        weight: of the penalty.
        dice_weight: of a Dice loss on seeds, as in :class:`PartialCrossEntropyLoss`.

    Shape:
        - input: ``B K *S`` logits.
        - target: mapping with ``scribble`` (``B 1 *S``) and ``guide`` (``B C *S``).
        - output: scalar.
    """

    def __init__(self, weight: float, dice_weight: float = 0.0) -> None:
        super().__init__()
        if weight < 0:
            raise ValueError(f"expected weight >= 0, got {weight}")
        self.weight = weight
        self.seed_loss = PartialCrossEntropyLoss(dice_weight)

    @abstractmethod
    def penalty(self, sigma: Tensor, guide: Tensor, scribble: Tensor) -> Tensor:
        """``R``, a scalar, of predictions ``B K *S``, a guide of their type, and the scribble ``B 1 *S``."""

    @without_autocast
    def forward(self, input: Tensor, target: Mapping[str, Tensor]) -> Tensor:  # noqa: A002 (MONAI's name)
        """The loss of a batch."""
        logits, scribble = self.seed_loss.checked(input, target)
        seeds: Tensor = self.seed_loss(logits, scribble)
        return seeds + self.weight * self.penalty(logits.softmax(1), target[GUIDE].to(logits.dtype), scribble)


def mean_where_exists(values: Tensor, scribble: Tensor) -> Tensor:
    """Mean of ``B *S`` values over voxels that exist, of the whole batch."""
    return masked_mean(values, ~void_mask(scribble).squeeze(1))
