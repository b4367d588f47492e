# SPDX-License-Identifier: Apache-2.0
"""Importance sampling in place of pooling: tags are compared with scores at places drawn from the map itself."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from medwsss.losses.precision import without_autocast
from medwsss.losses.reduction import masked_mean
from medwsss.losses.tags import TagLoss, tagged_maps
from medwsss.terms.tag_losses import POSTERIORS, expected_tag_loss, known_tags, tag_cross_entropy

__all__ = ["ImportanceSamplingLoss"]


class ImportanceSamplingLoss(TagLoss):
    """``(1 − λ) L_ce + λ L_is``, Eq. (16): :class:`TagLoss`, and the cross-entropy of scores at ``N`` drawn places.

    Places are drawn from ``p_c ∝ b_c``, Eq. (15), one set a tag, Eq. (18). ``samples=None`` takes the expectation over
    them instead, which is a sum over voxels, exact and free of noise.

    Args:
        weight: ``λ``: 0.2 in the paper for the binomial posterior, 0.6 for the multinomial one.
        samples: ``N``; ``None``: the exact expectation.
        posterior: ``"binomial"``, ``b = sigmoid(s)``, or ``"multinomial"``, ``softmax`` over tags and a background, for
            which the network has one channel more than there are tags, the first.
        exponent: ``γ`` of ``p ∝ b^γ``: from a mean over the image (0) to its maximum.
        through_sampler: with the expectation, let the gradient go through ``p``, too.
        floor: added to ``b^γ`` in ``p``; 1e-5 in the published code.
        pooling: of ``L_ce``, see :class:`TagLoss`.
        parameter: of the pooling.

    Shape:
        as :class:`TagLoss`.

    Raises:
        ValueError: for a weight outside [0, 1], no samples, an unknown posterior, a gradient through samples, and a
            multinomial posterior without a background.

    Example:
        >>> import torch
        >>> scores = torch.tensor([[[0.0, 1.0986123]]])  # b = (1/2, 3/4), p = (0.4, 0.6)
        >>> loss = ImportanceSamplingLoss(weight=1, samples=None)
        >>> [round(loss(scores, torch.tensor([[y]])).item(), 6) for y in (1.0, 0.0)]  # 0.4 ln 2 + 0.6 ln 4/3, …
        [0.449868, 1.109035]

    Source: Jonnarth et al., WACV 2024, Eq. (6) to (8) and (14) to (18).
    """

    def __init__(
        self,
        weight: float = 0.2,
        samples: int | None = 10,
        posterior: str = "binomial",
        exponent: float = 1.0,
        through_sampler: bool = False,
        floor: float = 0.0,
        pooling: str = "average",
        parameter: float | None = None,
    ) -> None:
        super().__init__(pooling, parameter)
        if not 0 <= weight <= 1:
            raise ValueError(f"expected weight from 0 to 1, got {weight}")
        if samples is not None and samples < 1:
            raise ValueError(f"expected at least one sample or None, got {samples}")
        if posterior not in POSTERIORS:
            raise ValueError(f"expected posterior in {list(POSTERIORS)}, got {posterior!r}")
        if through_sampler and samples is not None:
            raise ValueError(f"expected samples None, through which a gradient can go, got {samples}")
        if exponent < 0 or floor < 0:
            raise ValueError(f"expected exponent and floor >= 0, got {exponent} and {floor}")
        self.weight, self.samples, self.posterior = weight, samples, posterior
        self.exponent, self.through_sampler, self.floor = exponent, through_sampler, floor

    @without_autocast
    def forward(self, input: Tensor, target: Tensor | Mapping[str, Tensor]) -> Tensor:  # noqa: A002 (MONAI's name)
        """The loss of a batch."""
        maps = tagged_maps(input, target)
        multinomial = self.posterior == "multinomial"
        if multinomial and maps.all_scores.shape == maps.scores.shape:
            raise ValueError(f"expected a channel of the background before the {maps.scores.shape[1]} tags, got none")
        values = expected_tag_loss(
            maps.all_scores if multinomial else maps.scores,
            maps.tags,
            self.samples,
            self.posterior,
            self.exponent,
            self.through_sampler,
            self.floor,
            maps.exists,
        )
        pooled = tag_cross_entropy(self.pooled(maps.scores, maps.exists), maps.tags)
        return masked_mean((1 - self.weight) * pooled + self.weight * values, known_tags(maps.tags))
