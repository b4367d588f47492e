# SPDX-License-Identifier: Apache-2.0
"""Two decoders that learn from seeds and from labels mixed of both."""

from __future__ import annotations

from collections.abc import Mapping

from monai.losses import MaskedDiceLoss
from torch import Tensor, nn

from medwsss.keys import OTHER_LOGITS, PSEUDO_LABEL, SCRIBBLE, VOID
from medwsss.losses.partial_cross_entropy import PartialCrossEntropyLoss
from medwsss.losses.precision import without_autocast

__all__ = ["MixedLabelLoss"]


class MixedLabelLoss(nn.Module):
    """``½ (L_S(σ) + L_S(σ')) + ½ λ (D(σ, y) + D(σ', y))`` of two decoders' ``σ`` and ``σ'``.

    ``L_S`` is the partial cross-entropy, ``D = 1 − 1/K Σ_k 2 Σ_i σ_i^k y_i^k / (Σ_i (σ_i^k)² + Σ_i (y_i^k)²)`` the Dice
    loss over a batch's voxels, seeds among them, and ``y`` what :class:`~medwsss.handlers.MixedLabelHandler` has mixed.
    Without ``y``, in warm-up, it is the first half.

    Args:
        lam: ``λ``.

    Shape:
        - input: ``B K *S`` logits of the first decoder.
        - target: mapping with ``other_logits`` (``B K *S``), ``scribble`` (``B 1 *S``) and ``pseudo_label``
          (``B K *S``).
        - output: scalar.

    Raises:
        ValueError: for a negative ``lam``.

    Source: Luo et al., Scribble-supervised medical image segmentation via dual-branch network and dynamically mixed
    pseudo labels supervision, MICCAI 2022, and the authors' code.
    """

    def __init__(self, lam: float = 0.5) -> None:
        super().__init__()
        if lam < 0:
            raise ValueError(f"expected lam >= 0, got {lam}")
        self.lam = lam
        self.seed_loss = PartialCrossEntropyLoss()
        self.dice = MaskedDiceLoss(softmax=True, squared_pred=True, batch=True)

    @without_autocast
    def forward(self, input: Tensor, target: Mapping[str, Tensor]) -> Tensor:  # noqa: A002 (MONAI's name)
        """The loss of a batch."""
        both = (input, target[OTHER_LOGITS].to(input.dtype))
        loss: Tensor = sum(self.seed_loss(logits, target) for logits in both) / 2
        if PSEUDO_LABEL in target:
            exists = (target[SCRIBBLE] != VOID).to(input.dtype)
            loss = loss + self.lam / 2 * sum(self.dice(logits, target[PSEUDO_LABEL], exists) for logits in both)
        return loss
