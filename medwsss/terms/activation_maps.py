# SPDX-License-Identifier: Apache-2.0
"""Class activation maps: score maps in [0, 1], and what they leave to the background."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["BACKGROUNDS", "FLOORS", "background_score", "max_normalize"]

FLOORS = ("max", "min_max")
BACKGROUNDS = ("constant", "power")


def max_normalize(scores: Tensor, exists: Tensor | None = None, floor: str = "max", through_max: bool = True) -> Tensor:
    """``r_c(i) = ReLU(s_c(i)) / max_j ReLU(s_c(j))``, Eq. (4); 0 everywhere for a class without a positive score.

    Shape:
        - scores: ``B C *S``.
        - exists: ``B 1 *S`` bool; ``r`` is 0 elsewhere.
        - output: ``B C *S`` in [0, 1].

    Args:
        scores: see above.
        exists: see above.
        floor: ``"min_max"``, as in the published code, subtracts the least ``ReLU(s)`` of the class from both.
        through_max: let the gradient go through the maximum (and the minimum), as there; without, it is Eq. (22)'s.

    Example:
        >>> max_normalize(torch.tensor([[[-1.0, 1.0, 2.0, 4.0]]])).tolist()
        [[[0.0, 0.25, 0.5, 1.0]]]
    """
    positive = scores.relu() if exists is None else torch.where(exists, scores.relu(), 0)
    flat = positive.flatten(2)
    low = flat.amin(2) if exists is None else torch.where(exists.flatten(2), flat, torch.inf).amin(2)
    # no voxel exists: nothing to subtract
    low = torch.where(low.isfinite(), low, 0) if floor == "min_max" else torch.zeros_like(low)
    span = flat.amax(2) - low
    if not through_max:
        low, span = low.detach(), span.detach()
    low, span = (x.reshape(*x.shape, *[1] * (scores.ndim - 2)) for x in (low, span))
    return torch.where(span > 0, (positive - low).relu() / torch.where(span > 0, span, 1), 0)


def background_score(cam: Tensor, kind: str = "constant", alpha: float = 0.25) -> Tensor:
    """What competes with the classes of ``cam`` (``B C *S`` in [0, 1]): ``α`` or ``(1 − max_c r_c)^α``, ``B 1 *S``."""
    if kind not in BACKGROUNDS:
        raise ValueError(f"expected a background score of {BACKGROUNDS}, got {kind!r}")
    if kind == "constant":
        return torch.full_like(cam[:, :1], alpha)
    return (1 - cam.amax(1, keepdim=True)).clamp_min(0) ** alpha
