# SPDX-License-Identifier: Apache-2.0
"""Equivariance: the map of a transformed image is to be the transformed map (SEAM)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from medwsss.keys import TAGS
from medwsss.losses.precision import without_autocast
from medwsss.losses.tags import tagged_maps
from medwsss.terms.activation_maps import max_normalize

__all__ = ["EquivariantLoss"]


class EquivariantLoss(nn.Module):
    """Mean of a loss over the two views of :class:`~medwsss.networks.Siamese`, and ``weight · mean |r − A⁻¹ r'|``.

    The distance is over the tags that are there, of max-normalised maps ``r`` on the first view's grid.

    Args:
        loss: of each view.
        weight: of the distance.

    Shape:
        - input: ``2B C *s``: maps of ``B`` images, then those of their second view; in evaluation ``B C *s``.
        - target: of the ``B`` images, as ``loss`` takes it.
        - output: scalar.

    Source: Wang et al., Self-supervised Equivariant Attention Mechanism, CVPR 2020 (ER; without its pixel correlation
    module and its ECR).
    """

    def __init__(self, loss: nn.Module, weight: float = 1.0) -> None:
        super().__init__()
        if weight < 0:
            raise ValueError(f"expected weight >= 0, got {weight}")
        self.loss, self.weight = loss, weight

    @without_autocast
    def forward(self, input: Tensor, target: Mapping[str, Any]) -> Tensor:  # noqa: A002 (MONAI's name)
        """The loss of a batch."""
        batch = len(target[TAGS])
        if len(input) == batch:
            alone: Tensor = self.loss(input, target)
            return alone
        if len(input) != 2 * batch:
            raise ValueError(f"expected maps of {batch} images or of two views of each, got {len(input)}")
        views = input.chunk(2)
        first, second = (tagged_maps(view, target) for view in views)
        shown = (first.tags == 1).reshape(*first.tags.shape, *[1] * (input.ndim - 2))
        r, other = (max_normalize(maps.scores, maps.exists) * shown for maps in (first, second))
        distance = (r - other).abs().mean()
        losses: Tensor = sum(self.loss(view, target) for view in views) / 2
        return losses + self.weight * distance
