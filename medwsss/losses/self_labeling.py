# SPDX-License-Identifier: Apache-2.0
"""The network's part of Eq. (8): seeds, and a cross-entropy to pseudo-labels elsewhere."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn

from medwsss.keys import PSEUDO_LABEL
from medwsss.losses.partial_cross_entropy import PartialCrossEntropyLoss, scribble_of
from medwsss.losses.reduction import masked_mean
from medwsss.terms.cross_entropies import CROSS_ENTROPIES
from medwsss.terms.simplex import seed_mask, void_mask

__all__ = ["SelfLabelingLoss"]


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
        loss: Tensor = self.seed_term(input, target)
        if PSEUDO_LABEL not in target:
            return loss
        scribble, y = scribble_of(target), target[PSEUDO_LABEL]
        if y.shape != input.shape:
            raise ValueError(f"expected pseudo-labels of the logits' shape {tuple(input.shape)}, got {tuple(y.shape)}")
        unlabeled = ~(seed_mask(scribble) | void_mask(scribble))
        sigma = input.to(y.dtype).softmax(1)
        return loss + self.eta * masked_mean(self.cross_entropy(y, sigma), unlabeled.squeeze(1))
