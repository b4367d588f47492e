# SPDX-License-Identifier: Apache-2.0
"""How losses reduce: means over the voxels that carry a term, over all processes alike."""

from __future__ import annotations

import torch
import torch.distributed as dist
from torch import Tensor

__all__ = ["masked_mean", "over_processes", "voxel_count"]


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
