# SPDX-License-Identifier: Apache-2.0
"""MobileNetV2 as a backbone, in any number of spatial axes, with torchvision's parameter names."""

from __future__ import annotations

from monai.networks.layers import Act, Conv, Norm
from torch import Tensor, nn

__all__ = ["MobileNetV2"]

# expansion, channels, blocks, stride of the first block: Table 2 of the paper
STAGES = ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1))


def _convolution(
    spatial_dims: int, in_channels: int, out_channels: int, kernel_size: int, stride: int = 1, groups: int = 1
) -> list[nn.Module]:
    conv = Conv[Conv.CONV, spatial_dims](
        in_channels, out_channels, kernel_size, stride, padding=kernel_size // 2, groups=groups, bias=False
    )
    return [conv, Norm[Norm.BATCH, spatial_dims](out_channels)]


def _activated(*layers: nn.Module) -> nn.Sequential:
    return nn.Sequential(*layers, Act["relu6"](inplace=True))


class InvertedResidual(nn.Module):
    """Expansion, depth-wise convolution and linear projection, plus the input where shapes allow (Figure 4d)."""

    def __init__(self, spatial_dims: int, in_channels: int, out_channels: int, stride: int, expansion: int) -> None:
        super().__init__()
        hidden = in_channels * expansion
        layers = []
        if expansion != 1:
            layers.append(_activated(*_convolution(spatial_dims, in_channels, hidden, 1)))
        layers.append(_activated(*_convolution(spatial_dims, hidden, hidden, 3, stride, groups=hidden)))
        # the projection's two layers have no container of their own in torchvision, so neither have they here
        self.conv = nn.Sequential(*layers, *_convolution(spatial_dims, hidden, out_channels, 1))
        self.residual = stride == 1 and in_channels == out_channels

    def forward(self, x: Tensor) -> Tensor:
        """``B C *S`` to ``B out_channels *ceil(S / stride)``."""
        y: Tensor = self.conv(x)
        return x + y if self.residual else y


class MobileNetV2(nn.Module):
    """MobileNetV2 without its classifier and the 1×1 convolution before that.

    As MONAI's ``ResNetFeatures``, it returns five feature maps, the last ones at strides 2, 4, 8, 16 and 32 of the
    input, with 16, 24, 32, 96 and 320 channels.

    Args:
        spatial_dims: number of spatial axes, 1, 2 or 3.
        in_channels: number of the input's channels.

    Source: Sandler et al., MobileNetV2: Inverted Residuals and Linear Bottlenecks, CVPR 2018.
    """

    def __init__(self, spatial_dims: int, in_channels: int) -> None:
        super().__init__()
        channels = 32
        blocks: list[nn.Module] = [_activated(*_convolution(spatial_dims, in_channels, channels, 3, stride=2))]
        starts = []
        for expansion, out_channels, number, stride in STAGES:
            if stride == 2:
                starts.append(len(blocks))
            for index in range(number):
                first = stride if index == 0 else 1
                blocks.append(InvertedResidual(spatial_dims, channels, out_channels, first, expansion))
                channels = out_channels
        self.features = nn.ModuleList(blocks)
        self.ends = [start - 1 for start in starts] + [len(blocks) - 1]

    def forward(self, x: Tensor) -> list[Tensor]:
        """``B in_channels *S`` to the last feature map at each stride."""
        features = []
        for index, block in enumerate(self.features):
            x = block(x)
            if index in self.ends:
                features.append(x)
        return features
