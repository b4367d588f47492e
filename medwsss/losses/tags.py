# SPDX-License-Identifier: Apache-2.0
"""Cross-entropy of pooled score maps: training by what an image shows, without a word on where."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from medwsss.keys import SCRIBBLE, TAGS
from medwsss.losses.precision import without_autocast
from medwsss.losses.reduction import masked_mean
from medwsss.terms.pooling import POOLINGS
from medwsss.terms.simplex import void_mask
from medwsss.terms.tag_losses import known_tags, tag_cross_entropy

__all__ = ["TagLoss", "TaggedMaps", "existing_cells", "tagged_maps"]


class TaggedMaps(NamedTuple):
    """Score maps and what is known of their images."""

    scores: Tensor  #: ``B C *s``, one channel a tag, float32 at least
    all_scores: Tensor  #: with the background's channel first, if the network has one
    tags: Tensor  #: ``B C``: 0, 1 or NaN
    exists: Tensor | None  #: ``B 1 *s``, which cells are of the image


def existing_cells(target: Mapping[str, Tensor], size: torch.Size) -> Tensor | None:
    """Cells of a map of this size of which at least half exists, by the target's scribble (``VOID`` does not)."""
    if SCRIBBLE not in target:
        return None
    exists = ~void_mask(target[SCRIBBLE])
    return exists if exists.shape[2:] == size else F.interpolate(exists.float(), size=size, mode="area") >= 0.5


def tagged_maps(input: Tensor, target: Tensor | Mapping[str, Tensor]) -> TaggedMaps:  # noqa: A002 (MONAI's name)
    """Score maps with the tags and the cells of a target.

    Args:
        input: ``B C *s``, or ``B 1+C *s`` with a background first.
        target: the tags ``B C``, or a mapping with them and, if there is padding, a ``scribble`` with ``VOID`` there.

    Raises:
        ValueError: for tags of another number, and values that are no tag.
    """
    entries = target if isinstance(target, Mapping) else {TAGS: target}
    tags = entries[TAGS]
    if tags.shape[:1] != input.shape[:1] or tags.ndim != 2 or input.shape[1] - tags.shape[1] not in (0, 1):
        raise ValueError(
            f"expected tags for {len(input)} maps of {input.shape[1]} channels (of which the first may be the "
            f"background's), got a shape of {tuple(tags.shape)}"
        )
    scores = input.to(torch.promote_types(input.dtype, torch.float32))
    tags = tags.to(scores.dtype)
    if bool((known_tags(tags) & (tags != 0) & (tags != 1)).any()):
        raise ValueError(f"expected tags of 0, 1 or NaN (unknown), got {tags[known_tags(tags)].unique().tolist()}")
    exists = existing_cells(entries, input.shape[2:])
    if exists is not None:  # an image without any cell says nothing of its tags
        tags = torch.where(exists.flatten(1).any(1, keepdim=True), tags, math.nan)
    return TaggedMaps(scores[:, scores.shape[1] - tags.shape[1] :], scores, tags, exists)


class TagLoss(nn.Module):
    """``−(1/BC) Σ y_c ln B_c + (1 − y_c) ln(1 − B_c)`` with ``B_c = sigmoid(pool_i s_c(i))``, Eq. (17) for the average.

    The mean is over the tags that are known in the whole batch; unknown ones (NaN) have exactly zero gradient.

    Args:
        pooling: one of :data:`~medwsss.terms.pooling.POOLINGS`.
        parameter: of the pooling (sharpness, share, exponent); default: its own.

    Shape:
        - input: ``B C *s`` score maps of any size and floating type, or ``B 1+C *s`` with a background, left out here.
        - target: tags ``B C``, or a mapping with ``tags`` and, where images are padded, ``scribble``.
        - output: scalar.

    Raises:
        ValueError: for an unknown pooling, and tags that do not fit.

    Example:
        >>> scores = torch.tensor([[[0.0, math.log(3)]]])
        >>> [round(TagLoss(name)(scores, torch.tensor([[1.0]])).item(), 6) for name in ("average", "maximum")]
        [0.455746, 0.287682]

    Source: Zhou et al., CVPR 2016; Jonnarth et al., WACV 2024, Eq. (17).
    """

    def __init__(self, pooling: str = "average", parameter: float | None = None) -> None:
        super().__init__()
        if pooling not in POOLINGS:
            raise ValueError(f"expected pooling in {sorted(POOLINGS)}, got {pooling!r}")
        if parameter is not None and (pooling in ("average", "maximum", "noisy_or") or not parameter > 0):
            raise ValueError(f"expected a positive parameter of a pooling that has one, got {parameter} for {pooling}")
        self.pooling = pooling
        self.parameter = parameter

    def pooled(self, scores: Tensor, exists: Tensor | None = None) -> Tensor:
        """Scores of images, ``B C``."""
        more = () if self.parameter is None else (self.parameter,)
        return POOLINGS[self.pooling](scores, exists, *more)

    @without_autocast
    def forward(self, input: Tensor, target: Tensor | Mapping[str, Tensor]) -> Tensor:  # noqa: A002 (MONAI's name)
        """The loss of a batch."""
        maps = tagged_maps(input, target)
        values = tag_cross_entropy(self.pooled(maps.scores, maps.exists), maps.tags)
        return masked_mean(values, known_tags(maps.tags))
