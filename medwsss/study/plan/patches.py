# SPDX-License-Identifier: Apache-2.0
"""Patches and strides that suit a grid and a U-Net, and what a step with them keeps in memory."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from monai.networks.nets import UNet

__all__ = ["check_patch_size", "plan_grid", "step_memory"]

Stride = int | list[int]

_LEAST = 4  # voxels that an axis has left at the deepest level
_EQUAL = 2.0  # an axis this many times coarser than the finest is not halved with it


def plan_grid(
    shape: Sequence[float], spacing: Sequence[float], voxels: int, levels: int
) -> tuple[list[int], list[Stride]]:
    """A patch, and the strides of a U-Net for it.

    Each level halves the axes that are less than twice as coarse as the finest one there, as long as four voxels are
    left. The patch is the image, cut down where it is longest in mm until it has at most ``voxels``, to multiples of
    what its axes are divided by; a level that leaves no such patch is not there. Axes of fewer than eight voxels are
    padded to eight.

    Args:
        shape: of a typical image.
        spacing: of its voxels.
        voxels: of a patch, at most.
        levels: at most.

    Returns:
        The patch's size, and for each level a stride for all axes or one an axis.

    Example:
        >>> plan_grid((36, 50, 35), (1, 1, 1), 50_000, levels=3)
        ([32, 48, 32], [2, 2, 2])
        >>> plan_grid((200, 200, 10), (1.5, 1.5, 8), 50_000, levels=3)
        ([64, 72, 10], [[2, 2, 1], [2, 2, 1], 2])
    """
    size = [max(float(each), 2.0 * _LEAST) for each in shape]
    strides = _halvings(size, spacing, levels)
    patch = _cut(size, spacing, voxels, strides)
    while math.prod(patch) > voxels and len(strides) > 1:
        strides = strides[:-1]
        patch = _cut(size, spacing, voxels, strides)
    return patch, [stride[0] if len(set(stride)) == 1 else stride for stride in strides]


def _halvings(size: Sequence[float], spacing: Sequence[float], levels: int) -> list[list[int]]:
    """Strides of at most so many levels, one an axis."""
    left, step, strides = list(size), list(map(float, spacing)), list[list[int]]()
    while len(strides) < levels:
        stride = [2 if each < _EQUAL * min(step) and side >= 2 * _LEAST else 1 for each, side in zip(step, left)]
        if max(stride) == 1:
            break
        left = [side / by for side, by in zip(left, stride)]
        step = [each * by for each, by in zip(step, stride)]
        strides.append(stride)
    return strides


def _cut(size: Sequence[float], spacing: Sequence[float], voxels: int, strides: Sequence[Sequence[int]]) -> list[int]:
    """The largest patch of at most ``voxels`` that these strides divide, or the smallest that they do."""
    factor = [math.prod(each) for each in zip(*strides)]
    patch = [int(side / by) * by for side, by in zip(size, factor)]
    while math.prod(patch) > voxels:
        room = [side * each if side > _LEAST * by else 0 for side, each, by in zip(patch, spacing, factor)]
        if not max(room):
            break
        longest = room.index(max(room))
        patch[longest] -= factor[longest]
    return patch


def check_patch_size(
    patch_size: Sequence[int], spatial_dims: int, channels: Sequence[int], strides: Sequence[int | Sequence[int]]
) -> None:
    """Check that patches fit the U-Net: as many numbers as axes, divisible by the product of an axis' strides.

    Raises:
        ValueError: naming what does not fit, and sizes that would.
    """
    if len(strides) != len(channels) - 1:
        raise ValueError(f"expected one stride fewer than channels {list(channels)}, got {list(strides)}")
    if len(patch_size) != spatial_dims:
        raise ValueError(f"expected a patch_size of {spatial_dims} numbers (spatial_dims), got {list(patch_size)}")
    if odd := [each for each in strides if not isinstance(each, int) and len(each) != spatial_dims]:
        raise ValueError(f"expected strides of one number, or of {spatial_dims} (spatial_dims), got {odd[0]}")
    factors = [math.prod(s if isinstance(s, int) else s[axis] for s in strides) for axis in range(spatial_dims)]
    if any(size < 1 or size % factor for size, factor in zip(patch_size, factors)):
        fitting = [max(1, round(size / factor)) * factor for size, factor in zip(patch_size, factors)]
        raise ValueError(
            f"expected a patch_size divisible by {factors}, the product of the strides, got {list(patch_size)}; "
            f"{fitting} would do"
        )


def step_memory(
    in_channels: int,
    num_classes: int,
    patch: Sequence[int],
    batch: int,
    channels: Sequence[int],
    strides: Sequence[int | Sequence[int]],
) -> int:
    """Bytes of one training step of the bundle's U-Net: shapes are followed through the network without computing."""
    total = 0

    def count(module: torch.nn.Module, arguments: object, output: torch.Tensor) -> None:
        nonlocal total
        total += 0 if list(module.children()) else output.numel()

    with torch.device("meta"):
        network = UNet(len(patch), in_channels, num_classes, channels, strides, num_res_units=1)  # type: ignore
        for module in network.modules():
            module.register_forward_hook(count)
        network(torch.empty(batch, in_channels, *patch))
    logits = batch * num_classes * math.prod(patch)
    return 4 * (total + 4 * sum(p.numel() for p in network.parameters()) + 4 * logits)  # float32; the solver: 4 logits
