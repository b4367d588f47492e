# SPDX-License-Identifier: Apache-2.0
"""Spatial BCE: of an image that shows a class, each place decides for itself on which side of a threshold it is."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from medwsss.losses.precision import without_autocast
from medwsss.losses.reduction import masked_mean
from medwsss.losses.tags import tagged_maps
from medwsss.terms.pooling import average
from medwsss.terms.tag_losses import known_tags

__all__ = ["SpatialBCELoss", "spatial_loss"]


def spatial_loss(x: Tensor, threshold: Tensor) -> Tensor:
    """``2x/t − x²/t²`` below ``t`` and ``(1 − x)(1 − 2t + x)/(1 − t)²`` above: 0 at 0 and 1, and 1 at ``t``."""
    below = x * (2 * threshold - x) / threshold**2
    return torch.where(x < threshold, below, (1 - x) * (1 - 2 * threshold + x) / (1 - threshold) ** 2)


class SpatialBCELoss(nn.Module):
    """Mean over places of :func:`spatial_loss` for tags that are there, of ``−ln(1 − b)`` for those that are not.

    The threshold of a class and image is what the assumed ``share`` of its places is above, and a divergence
    ``KL(share ‖ mean b)`` keeps the share from collapsing. In the paper the shares come from masks of an earlier stage,
    and the threshold is learned in a fifth of the steps; neither is done here.

    Args:
        share: of an image that a class is taken to cover where it is there.
        weight: of the divergence.

    Shape:
        as :class:`~medwsss.losses.tags.TagLoss`.

    Raises:
        ValueError: for a share that is not between 0 and 1.

    Source: Wu et al., Adaptive Spatial-BCE Loss for Weakly Supervised Semantic Segmentation, ECCV 2022.
    """

    def __init__(self, share: float = 0.3, weight: float = 1.0) -> None:
        super().__init__()
        if not 0 < share < 1 or weight < 0:
            raise ValueError(f"expected a share between 0 and 1 and a weight >= 0, got {share} and {weight}")
        self.share, self.weight = share, weight

    @without_autocast
    def forward(self, input: Tensor, target: Tensor | Mapping[str, Tensor]) -> Tensor:  # noqa: A002 (MONAI's name)
        """The loss of a batch."""
        maps = tagged_maps(input, target)
        x = maps.scores.sigmoid()
        flat = (x if maps.exists is None else torch.where(maps.exists, x, torch.nan)).detach().flatten(2)
        threshold = flat.nanquantile(1 - self.share, 2).nan_to_num(0.5).clamp(0.05, 0.95)
        threshold = threshold.reshape(*threshold.shape, *[1] * (x.ndim - 2))
        there = average(spatial_loss(x, threshold), maps.exists)
        absent = average(-torch.nn.functional.logsigmoid(-maps.scores), maps.exists)
        mean = average(x, maps.exists).clamp(1e-4, 1 - 1e-4)
        spread = -self.share * (mean / self.share).log() - (1 - self.share) * ((1 - mean) / (1 - self.share)).log()
        values = torch.where(maps.tags == 1, there + self.weight * spread, absent)
        known = known_tags(maps.tags)
        return masked_mean(torch.where(known, values, 0), known)
