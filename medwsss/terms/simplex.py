# SPDX-License-Identifier: Apache-2.0
"""The probability simplex: scribbles as one-hot distributions, and logarithms that survive its vertices."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from medwsss.keys import UNLABELED, VOID

__all__ = [
    "EPSILON",
    "check_seeds",
    "one_hot",
    "ordered_sum",
    "safe_log",
    "safe_reciprocal",
    "seed_index",
    "seed_mask",
    "softmax",
    "uncertainty",
    "unlabeled_mask",
    "void_mask",
]

#: Below this, ``ln x`` is continued by its tangent. Small enough to change nothing that float32 distributes over
#: classes, large enough for ``λ w / EPSILON`` to stay finite in float32.
EPSILON = 1e-30


def safe_log(x: Tensor, eps: float = EPSILON) -> Tensor:
    """``ln x`` for ``x >= eps``, its tangent ``ln eps + x / eps − 1`` below: finite, C¹, increasing, also at 0."""
    return torch.where(x < eps, math.log(eps) - 1 + x / eps, x.clamp_min(eps).log())


def safe_reciprocal(x: Tensor, eps: float = EPSILON) -> Tensor:
    """The derivative of :func:`safe_log`: ``1 / x`` for ``x >= eps``, ``1 / eps`` below."""
    return x.clamp_min(eps).reciprocal()


def seed_mask(scribble: Tensor) -> Tensor:
    """``i ∈ S``: voxels that carry a class."""
    return (scribble != UNLABELED) & (scribble != VOID)


def unlabeled_mask(scribble: Tensor) -> Tensor:
    """Voxels that exist and that nobody annotated: those to label."""
    return scribble == UNLABELED


def void_mask(scribble: Tensor) -> Tensor:
    """Voxels that do not exist (padding, nodata)."""
    return scribble == VOID


def one_hot(scribble: Tensor, num_classes: int, dtype: torch.dtype = torch.float32) -> Tensor:
    """Seeds as one-hot distributions ``ȳ_i``, Eq. (2); zero where there is no seed.

    Args:
        scribble: ``B 1 *S`` integer map of classes, ``UNLABELED`` and ``VOID``.
        num_classes: ``K``.
        dtype: of the result.

    Returns:
        ``B K *S``.

    Raises:
        ValueError: when a seed's class is not in ``0 … K − 1``.
    """
    seeds = seed_mask(scribble)
    check_seeds(scribble, num_classes)
    classes = torch.where(seeds, scribble, 0).long()
    shape = (scribble.shape[0], num_classes, *scribble.shape[2:])
    return torch.zeros(shape, dtype=dtype, device=scribble.device).scatter_(1, classes, seeds.to(dtype))


def seed_index(scribble: Tensor) -> tuple[Tensor, ...]:
    """Where ``y`` (``B K *S``) is 1 on seeds, as an index of it: ``y[seed_index(scribble)] = 1``."""
    sample, channel, *voxel = seed_mask(scribble).nonzero(as_tuple=True)
    return sample, scribble[(sample, channel, *voxel)].long(), *voxel


def check_seeds(scribble: Tensor, num_classes: int) -> None:
    """Refuses seeds whose class is not in ``0 … K − 1``.

    Raises:
        ValueError: naming the classes.
    """
    classes = scribble * seed_mask(scribble)
    least, greatest = classes.aminmax()
    if least < 0 or greatest >= num_classes:
        found = sorted(classes[(classes < 0) | (classes >= num_classes)].unique().tolist())
        raise ValueError(f"expected seed classes 0 to {num_classes - 1} (the network's channels), got {found}")


def ordered_sum(x: Tensor) -> Tensor:
    """``Σ_k x_k`` over channels, ``B 1 *S``, one after the other.

    PyTorch's own sum takes another order near the end of what a thread works on, so that a voxel's last bits depend on
    its place and on the number of threads; so does its softmax.
    """
    total: Tensor = x[:, :1].clone()
    for k in range(1, x.shape[1]):
        total += x[:, k : k + 1]
    return total


def softmax(logits: Tensor) -> Tensor:
    """Over channels, to the last bit the same wherever a voxel lies; see :func:`ordered_sum`."""
    y = (logits - logits.amax(1, keepdim=True)).exp()
    return y.div_(ordered_sum(y))


def uncertainty(p: Tensor) -> Tensor:
    """``H(p_i) / ln K``: 0 where one class has it all, 1 where no class has more than another.

    Shape:
        - p: ``B K *S`` on the simplex.
        - output: ``B *S``.

    Example:
        >>> uncertainty(torch.tensor([[[0.5, 0.89], [0.5, 0.11]]])).round(decimals=2).tolist()
        [[1.0, 0.5]]
    """
    entropy: Tensor = torch.special.entr(p).sum(1)
    return entropy / math.log(p.shape[1])
