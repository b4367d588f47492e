# SPDX-License-Identifier: Apache-2.0
"""Expansion: a tag that is there takes a fair share of the image, one that is not takes nothing."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from medwsss.losses.precision import without_autocast
from medwsss.losses.reduction import masked_mean
from medwsss.losses.tags import tagged_maps
from medwsss.terms.pooling import maximum, rank_weighted
from medwsss.terms.tag_losses import known_tags

__all__ = ["ExpansionLoss"]

FLOOR = 1e-4  #: of a probability, as in the authors' code


class ExpansionLoss(nn.Module):
    """``−mean_{c there} ln G(σ_c) − mean_{c not there} ln(1 − max_i σ_c) − ln G(σ_0)``, SEC's expansion, per image.

    ``G`` is the rank-weighted mean of the class's probabilities; its decay is told as the share of the image that
    counts (:func:`~medwsss.terms.pooling.rank_weighted`). The mean over images is over those that have the term.

    Args:
        share: of a class that is there; SEC's decay of 0.996 on 41² cells is 0.149.
        background_share: of the background, class 0; SEC's 0.999 is 0.595.

    Shape:
        - input: ``B K *s`` logits of a segmentation network, class 0 being the background.
        - target: the tags of classes 1 to K − 1 (``B K−1``, NaN where unknown), or a mapping with ``tags``.
        - output: scalar.

    Raises:
        ValueError: for shares outside (0, 1], and logits without a background.

    Example:
        >>> logits = torch.zeros(1, 2, 4, 4)  # σ is ½ everywhere
        >>> [round(ExpansionLoss()(logits, torch.tensor([[y]])).item(), 4) for y in (0.0, 1.0)]
        [1.3863, 1.3863]

    Source: Kolesnikov & Lampert, Seed, Expand and Constrain, ECCV 2016, §3.3.
    """

    def __init__(self, share: float = 0.149, background_share: float = 0.595) -> None:
        super().__init__()
        for value in (share, background_share):
            if not 0 < value <= 1:
                raise ValueError(f"expected shares above 0 and to 1, got {share} and {background_share}")
        self.share, self.background_share = share, background_share

    @without_autocast
    def forward(self, input: Tensor, target: Tensor | Mapping[str, Tensor]) -> Tensor:  # noqa: A002 (MONAI's name)
        """The loss of a batch."""
        maps = tagged_maps(input, target)
        if maps.all_scores.shape == maps.scores.shape:
            raise ValueError(f"expected a background before the {maps.scores.shape[1]} tags' logits, got none")
        sigma = maps.all_scores.softmax(1).clamp_min(FLOOR)
        sigma = sigma / sigma.sum(1, keepdim=True)
        there = -rank_weighted(sigma[:, 1:], maps.exists, self.share).log()
        absent = -torch.log1p(-maximum(sigma[:, 1:], maps.exists).clamp(0, 1 - FLOOR))
        background = -rank_weighted(sigma[:, :1], maps.exists, self.background_share).log()
        real = torch.ones_like(background) if maps.exists is None else maps.exists.flatten(1).any(1, keepdim=True)
        known = known_tags(maps.tags)
        return (
            _mean_of_means(there, known & (maps.tags == 1))
            + _mean_of_means(absent, known & (maps.tags == 0))
            + masked_mean(background, real.bool())
        )


def _mean_of_means(values: Tensor, mask: Tensor) -> Tensor:
    """Over images that have such tags, of the mean over these."""
    mean = torch.where(mask, values, 0).sum(1) / mask.sum(1).clamp_min(1)
    return masked_mean(mean, mask.any(1))
