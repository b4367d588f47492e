# SPDX-License-Identifier: Apache-2.0
"""A distribution over classes from elsewhere beside what a network says: an atlas, activation maps."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from medwsss.terms.simplex import ordered_sum

__all__ = ["with_prior"]

LEAST = -20.0  #: logarithm of a prior that says no: what is absent gets no mass, and stays finite in half precision


def with_prior(logits: Tensor, prior: Tensor | None, weight: float = 1.0) -> Tensor:
    """``z + κ ln π``: logits of the product ``σ π^κ``, in which both opinions count.

    ``π`` is scaled to a sum of 1 over classes, its logarithm is −20 at least, and a voxel where it is 0 has none.

    Args:
        logits: ``z``, ``B K *S``.
        prior: ``B K *S``, not negative; ``None``: there is none.
        weight: ``κ``.

    Raises:
        ValueError: for another shape, and numbers that are negative or not finite.

    Example:
        >>> z, prior = torch.zeros(1, 2, 2), torch.tensor([[[0.75, 0.0], [0.25, 0.0]]])
        >>> with_prior(z, prior).softmax(1).round(decimals=4).tolist()
        [[[0.75, 0.5], [0.25, 0.5]]]
    """
    if prior is None or not weight:
        return logits
    if prior.shape != logits.shape:
        raise ValueError(f"expected a prior of the logits' shape {tuple(logits.shape)}, got {tuple(prior.shape)}")
    p = prior.to(torch.promote_types(logits.dtype, torch.float32))
    if not (p.isfinite().all() and (p >= 0).all()):
        raise ValueError("expected a prior of finite numbers from 0, got others")
    total = ordered_sum(p)
    log_p = (p / torch.where(total > 0, total, 1)).clamp_min(math.exp(LEAST)).log()
    return torch.where(total > 0, logits + weight * log_p, logits)
