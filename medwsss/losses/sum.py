# SPDX-License-Identifier: Apache-2.0
"""Several losses of one output, each with its weight."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

__all__ = ["SumLoss"]


class SumLoss(nn.Module):
    """``Σ_n w_n L_n``; a loss of weight 0 is not computed.

    Args:
        losses: by name.
        weights: of some of them, by name; 1 for the others.

    Attributes:
        parts: ``{name: L_n}`` of the last call, detached and before weighting.

    Raises:
        ValueError: for a weight of no loss, and a negative one.

    Example:
        >>> loss = SumLoss({"near": nn.L1Loss(), "far": nn.MSELoss()}, {"far": 0.5})
        >>> loss(torch.tensor([3.0]), torch.tensor([1.0])).item(), loss.parts["far"].item()
        (4.0, 4.0)
    """

    def __init__(self, losses: Mapping[str, nn.Module], weights: Mapping[str, float] | None = None) -> None:
        super().__init__()
        weights = weights or {}
        if odd := sorted(weights.keys() - losses.keys()) + [name for name, w in weights.items() if w < 0]:
            raise ValueError(f"expected weights >= 0 of {sorted(losses)}, got {dict(weights)}: {odd[0]}")
        self.weights = {name: float(weights.get(name, 1.0)) for name in losses}
        self.losses = nn.ModuleDict({name: loss for name, loss in losses.items() if self.weights[name]})
        if not self.losses:
            raise ValueError("expected at least one loss of positive weight, got none")
        self.parts: dict[str, Tensor] = {}

    def forward(self, input: Any, target: Any) -> Tensor:  # noqa: A002 (MONAI's name)
        """The sum for a batch."""
        values = {name: loss(input, target) for name, loss in self.losses.items()}
        self.parts = {name: value.detach() for name, value in values.items()}
        return torch.stack([self.weights[name] * value for name, value in values.items()]).sum()
