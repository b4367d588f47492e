# SPDX-License-Identifier: Apache-2.0
"""How losses reduce: sums over voxels by one count or by each term's own, over all processes alike."""

from __future__ import annotations

import torch
import torch.distributed as dist
from torch import Tensor

__all__ = ["NORMALIZATIONS", "checked_normalization", "divisors", "masked_mean", "over_processes", "voxel_count"]

NORMALIZATIONS = ("means", "sums")
FEWEST = 0.01  # seeds to an unlabelled voxel: a batch counts as having as many at least, see divisors


def checked_normalization(name: str) -> str:
    """``name``, if it is one of ``NORMALIZATIONS``."""
    if name not in NORMALIZATIONS:
        raise ValueError(f"expected normalization in {list(NORMALIZATIONS)}, got {name!r}")
    return name


def over_processes(x: Tensor) -> Tensor:
    """The sum of ``x``, which may be overwritten, over all processes of ``torch.distributed``."""
    if dist.is_available() and dist.is_initialized():
        dist.all_reduce(x)
    return x


def voxel_count(mask: Tensor) -> Tensor:
    """How many voxels ``mask`` holds, at least 1 in all; the divisor of a mean over them.

    Under ``torch.distributed`` it is the mean count of a process: ``DistributedDataParallel`` averages gradients over
    processes, and with this divisor the average is the gradient of the mean over the whole batch, however the voxels
    are spread.
    """
    processes = dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1
    return over_processes(mask.sum().float()).clamp_min(1) / processes


def masked_mean(values: Tensor, mask: Tensor) -> Tensor:
    """Mean of ``values`` over ``mask``; 0, with zero gradient, where ``mask`` is empty."""
    return torch.where(mask, values, 0).sum() / voxel_count(mask)


def divisors(seeds: Tensor, weights: Tensor, normalization: str) -> tuple[Tensor, Tensor]:
    """What the sum over seeds ``S`` and the weighted sum over unlabelled voxels ``U`` are divided by.

    ``"means"``: each by its own, ``|S|`` and ``Σ_{i∈U} b_i``, so their ratio is not that of Eq. (8), which has sums: it
    lacks ``|U|/|S|``, 10 to 300 for scribbles.

    ``"sums"``: both by one count, so the ratio is Eq. (8)'s for weights of mean 1, to which ``b`` is scaled. That count
    is ``max(|S|, |U| / 100)``: dividing by ``|S|`` keeps the seed term what it is in warm-up, but would blow the other
    one up in a batch of few seeds, without bound in one of none. Where seeds are rarer than that, all batches have
    about one factor in common, and what they follow is the gradient of Eq. (8)'s sum over a study.

    Args:
        seeds: mask of ``S``, of any shape.
        weights: ``b``, positive on ``U`` and 0 elsewhere; a mask where all weigh alike.
        normalization: one of ``NORMALIZATIONS``.
    """
    of_seeds, of_weights = voxel_count(seeds), voxel_count(weights)
    if normalization == "means":
        return of_seeds, of_weights
    unlabeled = voxel_count(weights > 0)
    common = torch.maximum(of_seeds, FEWEST * unlabeled)
    return common, common * of_weights / unlabeled
