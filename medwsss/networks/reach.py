# SPDX-License-Identifier: Apache-2.0
"""How far a network looks."""

from __future__ import annotations

import torch
from torch import nn

__all__ = ["reach_of"]


@torch.enable_grad()
def reach_of(network: nn.Module, in_channels: int, spatial_dims: int = 2, step: int = 8, most: int = 256) -> int | None:
    """From how many voxels away, along any axis, anything has a say in an output of a network that does not train.

    It is found by a derivative: of the outputs of a cell of ``step`` voxels, at which strides repeat, in the middle of
    a larger image of noise.

    Args:
        network: with logits of the image's size; it is in ``eval`` meanwhile.
        in_channels: of the image.
        spatial_dims: axes of the image.
        step: product of the network's strides.
        most: voxels that are looked at to each side, at most.

    Returns:
        The number of voxels; ``None`` where it is more than ``most`` or the whole image has a say (instance norms,
        pooling over all of it).

    Example:
        >>> convolution = nn.Conv1d(1, 2, kernel_size=5, padding=2)
        >>> reach_of(nn.Sequential(convolution, nn.ReLU(), nn.Conv1d(2, 1, 3, padding=1)), 1, 1)
        3
    """
    parameter = next(network.parameters(), torch.empty(0))
    trains, sizes = network.training, [32]
    while sizes[-1] < most:
        sizes.append(2 * sizes[-1])
    network.eval()
    try:
        for margin in (-(-size // step) * step for size in sizes):
            size = [2 * margin + step] * spatial_dims
            noise = torch.randn(1, in_channels, *size, generator=torch.Generator().manual_seed(0))
            image = noise.to(parameter).requires_grad_()
            middle = (slice(None), slice(None), *[slice(margin, margin + step)] * spatial_dims)
            (gradient,) = torch.autograd.grad(network(image)[middle].square().sum(), image)
            seen = gradient.abs().sum((0, 1)).nonzero()
            first, last = int(seen.min()), int(seen.max())
            if first > 0 and last < size[0] - 1:
                return max(margin - first, last - (margin + step - 1), 0)
    finally:
        network.train(trains)
    return None
