# SPDX-License-Identifier: Apache-2.0
"""From a score map to a score of the whole image: what a tag is compared with."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

__all__ = ["POOLINGS", "average", "generalized_mean", "log_sum_exp", "maximum", "noisy_or", "rank_weighted"]


def average(scores: Tensor, exists: Tensor | None = None) -> Tensor:
    """``(1/|Ω|) Σ_i s_i``, global average pooling; Eq. (3), whose sum is a mean in all published code.

    Shape (of all poolings):
        - scores: ``B C *S``.
        - exists: ``B 1 *S`` bool; others take no part. A sample without any has no meaning, and is 0 or finite.
        - output: ``B C``.

    Source: Zhou et al., Learning Deep Features for Discriminative Localization, CVPR 2016.
    """
    if exists is None:
        return scores.flatten(2).mean(2)
    return torch.where(exists, scores, 0).flatten(2).sum(2) / _count(scores, exists)


def maximum(scores: Tensor, exists: Tensor | None = None) -> Tensor:
    """``max_i s_i``, global max pooling."""
    return _inside(scores, exists, _lowest(scores)).flatten(2).amax(2)


def log_sum_exp(scores: Tensor, exists: Tensor | None = None, sharpness: float = 1.0) -> Tensor:
    """``(1/τ) ln (1/|Ω|) Σ_i e^{τ s_i}`` with ``τ = sharpness``: the average for ``τ → 0``, the maximum for ``τ → ∞``.

    Source: Pinheiro & Collobert, From Image-level to Pixel-level Labeling with Convolutional Networks, CVPR 2015.
    """
    total = _inside(sharpness * scores, exists, _lowest(scores)).flatten(2).logsumexp(2)
    return (total - _count(scores, exists).log()) / sharpness


def rank_weighted(scores: Tensor, exists: Tensor | None = None, share: float = 0.149) -> Tensor:
    """``Σ_j d^{j−1} s_(j) / Σ_j d^{j−1}`` over scores from the highest down: the average for ``d → 1``.

    The share of the map that counts, ``1 / ((1 − d) |Ω|)``, is what carries over from one size of map to another, so
    ``d = 1 − 1 / (share |Ω|)``, 0 (the maximum) where that is negative. SEC's ``d = 0.996`` on ``41²`` cells is 0.149.

    Source: Kolesnikov & Lampert, Seed, Expand and Constrain, ECCV 2016.
    """
    count = _count(scores, exists)
    decay = (1 - 1 / (share * count)).clamp_min(0).unsqueeze(-1)
    ordered = _inside(scores, exists, _lowest(scores)).flatten(2).sort(2, descending=True).values
    rank = torch.arange(ordered.shape[2], device=scores.device, dtype=count.dtype)
    weights = torch.where(rank < count.unsqueeze(-1), decay**rank, 0)
    weights = weights / weights.sum(2, keepdim=True).clamp_min(torch.finfo(weights.dtype).tiny)
    return torch.where(weights > 0, weights * ordered, 0).sum(2)


def generalized_mean(scores: Tensor, exists: Tensor | None = None, exponent: float = 4.0) -> Tensor:
    """The logit of ``((1/|Ω|) Σ_i b_i^r)^{1/r}``, ``b = sigmoid(s)``, ``r = exponent``.

    Source: Qian et al., Transformer Based Multiple Instance Learning (Swin-MIL), MICCAI 2022.
    """
    log_b = torch.nn.functional.logsigmoid(scores)
    log_p = log_sum_exp(log_b, exists, exponent).clamp_max(-torch.finfo(scores.dtype).eps)
    return log_p - torch.log(-torch.expm1(log_p))


def noisy_or(scores: Tensor, exists: Tensor | None = None) -> Tensor:
    """The logit of ``1 − Π_i (1 − b_i)``: a tag is there if it is at one place at least."""
    log_q = _inside(torch.nn.functional.logsigmoid(-scores), exists, 0.0).flatten(2).sum(2)
    log_q = log_q.clamp_max(-torch.finfo(scores.dtype).tiny)
    return torch.log(-torch.expm1(log_q)) - log_q


#: By name. What follows ``scores`` and ``exists`` is one number at most, which has a default.
POOLINGS: dict[str, Callable[..., Tensor]] = {
    function.__name__: function
    for function in (average, maximum, log_sum_exp, rank_weighted, generalized_mean, noisy_or)
}


def _inside(x: Tensor, exists: Tensor | None, otherwise: float) -> Tensor:
    return x if exists is None else torch.where(exists, x, otherwise)


def _count(scores: Tensor, exists: Tensor | None) -> Tensor:
    """``|Ω|`` of each sample, ``B 1``, at least 1."""
    if exists is None:
        return scores.new_full((len(scores), 1), scores[0, 0].numel())
    return exists.flatten(2).sum(2).clamp_min(1).to(scores.dtype)


def _lowest(scores: Tensor) -> float:
    return torch.finfo(scores.dtype).min / 4
