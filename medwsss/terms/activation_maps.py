# SPDX-License-Identifier: Apache-2.0
"""Class activation maps: score maps in [0, 1], and what they leave to the background."""

from __future__ import annotations

import torch
from torch import Tensor

from medwsss.keys import UNLABELED

__all__ = [
    "BACKGROUNDS",
    "FLOORS",
    "background_score",
    "label_map",
    "max_normalize",
    "present_classes",
    "prior_map",
    "seed_map",
]

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
    if floor == "min_max":
        low = (positive if exists is None else torch.where(exists, positive, torch.inf)).flatten(2).amin(2)
        low = torch.where(low.isfinite(), low, 0)  # no voxel exists: nothing to subtract
        low = (low if through_max else low.detach()).reshape(*low.shape, *[1] * (scores.ndim - 2))
        positive = (positive - low).relu()
    span = positive.flatten(2).amax(2).reshape(*scores.shape[:2], *[1] * (scores.ndim - 2))
    if not through_max:
        span = span.detach()
    return positive / torch.where(span > 0, span, 1)


def present_classes(pooled: Tensor, tags: Tensor | None = None) -> Tensor:
    """Which classes are taken to be there: those of a positive score and, where tags are known, those that they name.

    Shape:
        - pooled: scores of images, ``B C``.
        - tags: ``B C``, 0, 1 or NaN; ``None``: nobody may look at them.
        - output: ``B C`` bool.
    """
    predicted = pooled > 0
    return predicted if tags is None else torch.where(tags.isnan(), predicted, tags == 1)


def background_score(cam: Tensor, kind: str = "constant", alpha: float = 0.25) -> Tensor:
    """What competes with the classes of ``cam`` (``B C *S`` in [0, 1]): ``α`` or ``(1 − max_c r_c)^α``, ``B 1 *S``."""
    if kind not in BACKGROUNDS:
        raise ValueError(f"expected a background score of {BACKGROUNDS}, got {kind!r}")
    if kind == "constant":
        return torch.full_like(cam[:, :1], alpha)
    return (1 - cam.amax(1, keepdim=True)).clamp_min(0) ** alpha


def label_map(cam: Tensor, kind: str = "constant", alpha: float = 0.25, background: bool = True) -> Tensor:
    """The class of the largest of background score and activations, ``B 1 *S`` int64.

    Without a background, tags are classes 0, 1, …, and it is the largest activation; else they are classes 1, 2, ….
    """
    every = torch.cat((background_score(cam, kind, alpha), cam), 1) if background else cam
    return every.argmax(1, keepdim=True)


def seed_map(
    cam: Tensor, present: Tensor, foreground: float = 0.4, low: float | None = None, background: bool = True
) -> Tensor:
    """Scribbles where a map is sure, ``B 1 *S`` int64: its class from ``foreground`` up, and the background.

    An image in which no class is there is background. Of others ``low`` makes seeds, up to which no activation is; not
    where the map of a class that is there is empty, which tells of no place where it isn't. What lies between, and
    where two classes reach ``foreground``, is ``UNLABELED``.

    Args:
        cam: ``B C *S`` in [0, 1].
        present: ``B C`` bool.
        foreground: see above.
        low: see above; ``None``: no such seeds. A map covers the part of an object that tells its class, so what it
            does not cover need not be background.
        background: whether class 0 is one.
    """
    best, index = cam.max(1, keepdim=True)
    seeds = torch.full_like(index, UNLABELED)
    if background:
        found = (cam.flatten(2) > 0).any(2)
        complete = ((found | ~present) if low is not None else ~present).all(1)
        seeds = torch.where((best <= (low or 0)) & complete.reshape(-1, *[1] * (cam.ndim - 1)), 0, seeds)
    alone = (cam >= foreground).sum(1, keepdim=True) == 1
    return torch.where(alone, index + int(background), seeds)


def prior_map(
    cam: Tensor, present: Tensor, kind: str = "power", alpha: float = 4.0, background: bool = True, least: float = 0.01
) -> Tensor:
    """A distribution over classes, ``B K *S``: background score and activations, of classes that are there.

    Each has ``least`` at first, so that no voxel is decided by the map alone, and a class that is not there has 0.

    Args:
        cam: ``B C *S`` in [0, 1].
        present: ``B C`` bool.
        kind: of the background score.
        alpha: of the background score.
        background: whether class 0 is one.
        least: of a class that is there.
    """
    there = present.reshape(*present.shape, *[1] * (cam.ndim - 2)).to(cam.dtype)
    scores = (cam + least) * there
    if background:
        scores = torch.cat((background_score(cam, kind, alpha) + least, scores), 1)
    total = scores.sum(1, keepdim=True)
    return torch.where(total > 0, scores / torch.where(total > 0, total, 1), 1 / scores.shape[1])
