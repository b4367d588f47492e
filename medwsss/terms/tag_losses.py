# SPDX-License-Identifier: Apache-2.0
"""What a tag says of an image: cross-entropy of its score, and of the scores at places drawn by importance."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = ["POSTERIORS", "expected_tag_loss", "known_tags", "log_posteriors", "tag_cross_entropy"]

POSTERIORS = ("binomial", "multinomial")


def known_tags(tags: Tensor) -> Tensor:
    """Which tags are 0 or 1; NaN is a tag that nobody decided on."""
    return ~tags.isnan()


def tag_cross_entropy(logits: Tensor, tags: Tensor) -> Tensor:
    """``−y ln b − (1 − y) ln(1 − b)``, ``b = sigmoid(logit)``, Eq. (17); 0, with zero gradient, where ``y`` is unknown.

    Shape:
        - logits: ``B C``.
        - tags: ``B C``, 0, 1 or NaN.
        - output: ``B C``.
    """
    known = known_tags(tags)
    values = F.binary_cross_entropy_with_logits(logits, torch.where(known, tags, 0).to(logits.dtype), reduction="none")
    return torch.where(known, values, 0)


def log_posteriors(scores: Tensor, posterior: str = "binomial") -> tuple[Tensor, Tensor]:
    """``ln b`` and ``ln(1 − b)`` of each tag at each place.

    Binomial: ``b = sigmoid(s)``, Eq. (14). Multinomial: ``a = softmax(s)``, Eq. (5), over the tags and a background,
    which is channel 0 and is left out of the result.

    Shape:
        - scores: ``B C *S``, or ``B 1+C *S``.
        - output: ``B C *S``, twice.
    """
    if posterior == "binomial":
        return F.logsigmoid(scores), F.logsigmoid(-scores)
    total = scores.logsumexp(1, keepdim=True)
    rest = [torch.cat((scores[:, :c], scores[:, c + 1 :]), 1).logsumexp(1) for c in range(1, scores.shape[1])]
    return scores[:, 1:] - total, torch.stack(rest, 1) - total


def expected_tag_loss(
    scores: Tensor,
    tags: Tensor,
    samples: int | None = None,
    posterior: str = "binomial",
    exponent: float = 1.0,
    through_sampler: bool = False,
    floor: float = 0.0,
    exists: Tensor | None = None,
) -> Tensor:
    """``Σ_i p_i ℓ_i``, ``ℓ_i = −y ln b_i − (1 − y) ln(1 − b_i)``, ``p_i ∝ b_i^γ``: Eq. (8) for places by Eq. (15).

    With ``samples`` it is the mean of ``ℓ`` at so many places drawn from ``p``, Eq. (18); without, its expectation,
    which costs a sum over voxels and has no noise. Places are found by the inverse of the cumulative distribution, in
    double precision: ``torch.multinomial`` takes no more than 2²⁴ of them, less than a 256³ map has.

    Args:
        scores: ``B C *S``; of a multinomial posterior ``B 1+C *S``, background first.
        tags: ``B C``, 0, 1 or NaN (unknown: 0 with zero gradient).
        samples: ``N``, or ``None``.
        posterior: one of ``POSTERIORS``.
        exponent: ``γ``: 0 is the mean of ``ℓ`` over the image, large ones global max pooling.
        through_sampler: let the gradient go through ``p``, too; the published code does not.
        floor: added to ``b^γ`` in ``p``, 1e-5 in the published code: ``p`` is even where a tag is surely absent.
        exists: ``B 1 *S`` bool; ``p`` is 0 elsewhere.

    Returns:
        ``B C``.

    Source: Jonnarth et al., High-fidelity Pseudo-labels for Boosting Weakly-Supervised Segmentation, WACV 2024.
    """
    log_b, log_rest = (x.flatten(2) for x in log_posteriors(scores, posterior))
    y = torch.where(known_tags(tags), tags, 0).to(log_b.dtype).unsqueeze(2)
    losses = -y * log_b - (1 - y) * log_rest
    weight = exponent * log_b
    if floor:
        weight = torch.logaddexp(weight, weight.new_tensor(math.log(floor)))
    if exists is not None:
        weight = torch.where(exists.flatten(2), weight, torch.finfo(weight.dtype).min / 4)
    if samples is None:
        p = weight.softmax(2)
        values = ((p if through_sampler else p.detach()) * losses).sum(2)
    else:
        values = losses.gather(2, _drawn(weight.detach(), samples)).mean(2)
    return torch.where(known_tags(tags), values, 0)


def _drawn(weight: Tensor, samples: int) -> Tensor:
    """Indices ``B C N`` of places drawn, with replacement, with probability ``∝ e^weight`` (``B C V``)."""
    cumulative = weight.double().softmax(2).cumsum(2)
    total = cumulative[:, :, -1:]
    u = torch.rand(*weight.shape[:2], samples, dtype=torch.float64, device=weight.device) * total
    below = torch.nextafter(total, torch.zeros_like(total))  # the product may have been rounded up
    return torch.searchsorted(cumulative, torch.minimum(u, below), right=True)
