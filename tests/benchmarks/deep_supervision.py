# SPDX-License-Identifier: Apache-2.0
"""Deep supervision beside pseudo-labels: heads of coarser levels, weighed as in nnU-Net, each with the whole loss."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from monai.networks.nets import DynUNet
from torch import Tensor, nn


class DeepUNet(DynUNet):
    """MONAI's ``DynUNet``, which answers with the head of full resolution in training, too, and keeps the others."""

    heads_of_batch: Sequence[Tensor] = ()

    def forward(self, x: Tensor) -> Tensor:
        """Logits ``B K *S``; those of coarser levels, interpolated, are kept in ``heads_of_batch``."""
        out: Tensor = super().forward(x)
        if not (self.training and self.deep_supervision):
            return out
        full, *self.heads_of_batch = out.unbind(1)
        return full


class DeepSupervisionLoss(nn.Module):
    """``Σ_h 2^−h L(z_h) / Σ_h 2^−h`` over heads, of which ``z_0`` is the one of full resolution.

    Args:
        loss: ``L``.
        network: whose other heads these are.
    """

    def __init__(self, loss: nn.Module, network: DeepUNet) -> None:
        super().__init__()
        self.loss, self.networks = loss, [network]  # in a list: its parameters are not the loss's

    def forward(self, logits: Tensor, target: Any) -> Tensor:
        """A scalar."""
        heads = [logits, *self.networks[0].heads_of_batch]
        weights = [0.5**level for level in range(len(heads))]
        total: Tensor = sum(w * self.loss(z, target) for w, z in zip(weights, heads)) / sum(weights)
        return total
