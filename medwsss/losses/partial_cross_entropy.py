# SPDX-License-Identifier: Apache-2.0
"""The seed term of Eq. (8): cross-entropy (and Dice, if asked for) on annotated voxels alone."""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from monai.losses import DiceLoss
from torch import Tensor, nn

from medwsss.keys import SCRIBBLE, UNLABELED
from medwsss.losses.precision import without_autocast
from medwsss.losses.reduction import masked_mean
from medwsss.terms.simplex import seed_mask

__all__ = ["PartialCrossEntropyLoss", "scribble_of", "seed_term"]


def scribble_of(target: Tensor | Mapping[str, Tensor]) -> Tensor:
    """The scribble ``B 1 *S`` of a target: the tensor itself, or the mapping's entry, as int64."""
    scribble = target[SCRIBBLE] if isinstance(target, Mapping) else target
    return scribble.long()


def seed_term(logits: Tensor, scribble: Tensor) -> Tensor:
    """``−ln σ_i^{ȳ_i}`` on seeds, 0 elsewhere: ``B *S`` of logits ``B K *S`` and a scribble ``B 1 *S``."""
    labels = torch.where(seed_mask(scribble), scribble, UNLABELED).squeeze(1)
    return F.cross_entropy(logits, labels, ignore_index=UNLABELED, reduction="none")


class PartialCrossEntropyLoss(nn.Module):
    """``−(1/|S|) Σ_{i∈S} ln σ_i^{ȳ_i}``, Eq. (3) as a mean over seeds; MONAI's Dice loss there beside it, if asked for.

    With dense masks as the target it is the standard supervised loss. A mean in every case: one term alone has no ratio
    to keep.

    Args:
        dice_weight: weight of ``monai.losses.DiceLoss`` on annotated voxels; 0 leaves it out. Its sums are each
            process' own, so only at 0 does a multi-process step equal that of one process.

    Shape:
        - input: ``B K *S`` logits of any floating type; computed with in float32 at least.
        - target: ``B 1 *S`` integers, or a mapping with them under ``scribble``. ``UNLABELED`` and ``VOID`` voxels get
          exactly zero gradient, and a batch without seeds is worth 0.
        - output: scalar.

    Example:
        >>> logits = torch.zeros(1, 2, 4, requires_grad=True)
        >>> loss = PartialCrossEntropyLoss()(logits, torch.tensor([[[0, 255, 254, 1]]]))
        >>> loss.backward()
        >>> round(loss.item(), 4), logits.grad[0, 0].tolist()  # ln 2, and no pull where nobody drew
        (0.6931, [-0.25, 0.0, 0.0, 0.25])

    Source: Zhang & Boykov, CVPR 2025, Eq. (3).
    """

    def __init__(self, dice_weight: float = 0.0) -> None:
        super().__init__()
        if dice_weight < 0:
            raise ValueError(f"expected dice_weight >= 0, got {dice_weight}")
        self.dice_weight = dice_weight
        self.dice = DiceLoss(softmax=True, to_onehot_y=True, ignore_index=UNLABELED)

    @without_autocast
    def forward(self, input: Tensor, target: Tensor | Mapping[str, Tensor]) -> Tensor:  # noqa: A002 (MONAI's name)
        """The loss of a batch."""
        logits, scribble = self.checked(input, target)
        nll = seed_term(logits, scribble)
        return masked_mean(nll, seed_mask(scribble).squeeze(1)) + self.dice_term(logits, scribble)

    def checked(self, input: Tensor, target: Tensor | Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:  # noqa: A002
        """Logits as they are computed with, and the scribble."""
        scribble = scribble_of(target)
        if scribble.shape != (input.shape[0], 1, *input.shape[2:]):
            expected = (input.shape[0], 1, *input.shape[2:])
            raise ValueError(f"expected a scribble of shape {expected}, got {tuple(scribble.shape)}")
        return input.to(torch.promote_types(input.dtype, torch.float32)), scribble

    def dice_term(self, logits: Tensor, scribble: Tensor) -> Tensor | float:
        """Dice loss on annotated voxels, weighted."""
        if not self.dice_weight:
            return 0.0
        dice: Tensor = self.dice(logits, torch.where(seed_mask(scribble), scribble, UNLABELED))
        return self.dice_weight * dice
