# SPDX-License-Identifier: Apache-2.0
"""A loss of the score maps of a network that has another head, too."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from medwsss.keys import SCORES

__all__ = ["ScoresLoss"]


class ScoresLoss(nn.Module):
    """A loss of tags on ``target["scores"]``, where :class:`~medwsss.handlers.CamSeedHandler` puts score maps.

    Args:
        loss: such as :class:`~medwsss.losses.TagLoss`, of score maps and the target.

    Shape:
        - input: what the other head predicts; not looked at.
        - target: mapping with ``scores`` and what ``loss`` reads.
        - output: scalar.
    """

    def __init__(self, loss: nn.Module) -> None:
        super().__init__()
        self.loss = loss

    def forward(self, input: Any, target: Mapping[str, Tensor]) -> Tensor:  # noqa: A002 (MONAI's name)
        """The loss of a batch."""
        value: Tensor = self.loss(target[SCORES], target)
        return value
