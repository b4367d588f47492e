# SPDX-License-Identifier: Apache-2.0
"""What the scribble bundle would do with a study, and settings of it that suit the study's grid."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from monai.networks.nets import UNet

from medwsss.study.summary import StudySummary

# the bundle's defaults: patches of a volume in an epoch, patches of an iteration, and its U-Net
SAMPLES, BATCH, CHANNELS = 4, 4, (16, 32, 64, 128)
_STEP = 2 ** (len(CHANNELS) - 1)  # what patches have to be divisible by
_BUDGET = 48 * 48 * 16  # voxels of a patch, 192 x 192 in 2-D
_ANISOTROPIC = 3  # from this ratio of spacings on, slices say more about their plane than about each other
_MIB = 2**20


@dataclass(frozen=True)
class Plan:
    """Training with the bundle's defaults, ``patch_size`` apart, which is a suggestion."""

    patches: int  #: an epoch
    iterations: int  #: an epoch
    patch_size: list[int]
    spatial_dims: int
    anisotropy: float  #: largest spacing by the smallest
    cache_mib: float  #: the study in memory: images, scribbles, and where patches are drawn
    step_mib: float  #: one iteration: weights, gradients, Adam's moments, and what the backward pass needs

    def __str__(self) -> str:
        size = " ".join(map(str, self.patch_size))
        return "\n".join(
            [
                f"an epoch     {self.patches} patches, {self.iterations} iterations of {BATCH}",
                f"memory       about {self.cache_mib:.0f} MiB for the study, {self.step_mib:.0f} MiB for a step",
                f"anisotropy   {self.anisotropy:.3g}",
                f"suggested    --spatial_dims {self.spatial_dims} --patch_size '[{size.replace(' ', ',')}]'",
            ]
        )


def plan_training(summary: StudySummary) -> Plan:
    """Plan the training on a section that holds at least one item.

    The suggested patch is a block of equal sides in mm, as far as the typical image reaches, of about as many voxels
    as the bundle's own; anisotropic volumes are suggested to be trained on slices.
    """
    spacing, shape = summary.typical_spacing, summary.typical_shape
    anisotropy = max(spacing) / min(spacing)
    slices = len(shape) == 3 and spacing[-1] >= _ANISOTROPIC * max(spacing[:-1])
    spatial_dims = 2 if slices else len(shape)
    patch = suggest_patch(shape[:spatial_dims], spacing[:spatial_dims])
    channels = summary.channels or 1
    patches = SAMPLES * summary.items
    voxels = summary.items * math.prod(shape)
    return Plan(
        patches=patches,
        iterations=max(patches // BATCH, 1),
        patch_size=patch,
        spatial_dims=spatial_dims,
        anisotropy=anisotropy,
        cache_mib=voxels * (4 * channels + 1 + 4) / _MIB,
        step_mib=step_memory(channels, summary.num_classes, patch) / _MIB,
    )


def suggest_patch(shape: Sequence[float], spacing: Sequence[float]) -> list[int]:
    """Multiples of what the U-Net divides by: the image, cut down where it is longest in mm to the voxel budget."""
    patch = [max(int(size) // _STEP, 1) * _STEP for size in shape]
    while math.prod(patch) > _BUDGET:
        patch[max(range(len(patch)), key=lambda axis: (patch[axis] > _STEP, patch[axis] * spacing[axis]))] -= _STEP
    return patch if max(patch) > _STEP else [2 * _STEP] * len(patch)  # instance norm wants more than one voxel


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
    factors = [math.prod(s if isinstance(s, int) else s[axis] for s in strides) for axis in range(spatial_dims)]
    if any(size < 1 or size % factor for size, factor in zip(patch_size, factors)):
        fitting = [max(1, round(size / factor)) * factor for size, factor in zip(patch_size, factors)]
        raise ValueError(
            f"expected a patch_size divisible by {factors}, the product of the strides, got {list(patch_size)}; "
            f"{fitting} would do"
        )


def step_memory(in_channels: int, num_classes: int, patch: Sequence[int]) -> int:
    """Bytes of one training step of the bundle's U-Net: shapes are followed through the network without computing."""
    total = 0

    def count(module: torch.nn.Module, arguments: object, output: torch.Tensor) -> None:
        nonlocal total
        total += 0 if list(module.children()) else output.numel()

    with torch.device("meta"):
        network = UNet(len(patch), in_channels, num_classes, CHANNELS, [2] * (len(CHANNELS) - 1), num_res_units=1)
        for module in network.modules():
            module.register_forward_hook(count)
        network(torch.empty(BATCH, in_channels, *patch))
    logits = BATCH * num_classes * math.prod(patch)
    return 4 * (total + 4 * sum(p.numel() for p in network.parameters()) + 4 * logits)  # float32; the solver: 4 logits
