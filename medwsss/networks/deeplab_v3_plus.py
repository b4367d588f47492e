# SPDX-License-Identifier: Apache-2.0
"""DeepLabV3+ on ResNet-50, ResNet-101 or MobileNetV2, in any number of spatial axes."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from monai.networks.blocks import Convolution
from monai.networks.layers import Conv, Pool
from monai.networks.nets.resnet import ResNetFeatures
from torch import Tensor, nn

from medwsss.networks.mobilenet_v2 import MobileNetV2
from medwsss.networks.resampling import resample

__all__ = ["DeepLabV3Plus"]

BACKBONES = ("resnet50", "resnet101", "mobilenet_v2")
CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)


class DeepLabV3Plus(nn.Module):
    """Atrous spatial pyramid pooling on a dilated backbone, and the decoder that joins it with features at stride 4.

    Feature ``i`` of every map here is centred on pixel ``stride · i``. Upsampling with aligned corners keeps that
    exactly on sizes of ``output_stride · n + 1``, such as the published crop of 513.

    The backbone's parameters are named as torchvision's: see :func:`medwsss.networks.load_imagenet_weights`. All
    normalisation is batch normalisation, on one value a channel and sample after the global pooling; training takes
    batches of two or more.

    Args:
        spatial_dims: number of spatial axes, 1, 2 or 3.
        in_channels: number of the input's channels.
        out_channels: number of classes, K.
        backbone: ``resnet50``, ``resnet101`` or ``mobilenet_v2``.
        output_stride: of the backbone's last features, 16 or 8; dilation stands in for the strides left out.
        upsample: logits at the input's resolution; otherwise as the decoder computes them, at stride 4.

    Shape:
        - input: ``B in_channels *S``, of any size.
        - output: ``B out_channels *S``, or ``B out_channels *ceil(S / 4)`` without ``upsample``.

    Raises:
        ValueError: for an unknown backbone or output stride.

    Source: Chen et al., Encoder-Decoder with Atrous Separable Convolution for Semantic Image Segmentation, ECCV 2018;
    convolutions are full, as the field has them for these backbones, not the separable ones for Xception.
    """

    def __init__(
        self,
        spatial_dims: int,
        in_channels: int,
        out_channels: int,
        backbone: str = "resnet101",
        output_stride: int = 16,
        upsample: bool = True,
    ) -> None:
        super().__init__()
        if backbone not in BACKBONES:
            raise ValueError(f"expected backbone in {BACKBONES}, got {backbone!r}")
        if output_stride not in (8, 16):
            raise ValueError(f"expected output_stride 8 or 16, got {output_stride}")
        self.upsample = upsample

        self.backbone: MobileNetV2 | ResNetFeatures
        if backbone == "mobilenet_v2":
            self.backbone = MobileNetV2(spatial_dims, in_channels)
            low, high = 24, 320
            _dilate(self.backbone.features, 1, output_stride)
        else:
            self.backbone = ResNetFeatures(
                backbone, pretrained=False, spatial_dims=spatial_dims, in_channels=in_channels
            )
            low, high = 256, 2048
            _dilate(
                [*self.backbone.layer1, *self.backbone.layer2, *self.backbone.layer3, *self.backbone.layer4],
                4,
                output_stride,
            )

        self.aspp = AtrousPyramid(spatial_dims, high, 256, [rate * 16 // output_stride for rate in (6, 12, 18)])
        self.reduce = _convolution(spatial_dims, low, 48, 1)
        self.decoder = nn.Sequential(
            _convolution(spatial_dims, 256 + 48, 256, 3),
            _convolution(spatial_dims, 256, 256, 3),
            Conv[Conv.CONV, spatial_dims](256, out_channels, kernel_size=1),
        )

    def forward(self, x: Tensor) -> Tensor:
        """The logits."""
        features = self.backbone(x)
        detail = self.reduce(features[1])
        context = resample(self.aspp(features[-1]), list(detail.shape[2:]), align_corners=True)
        logits: Tensor = self.decoder(torch.cat([context, detail], dim=1))
        return resample(logits, list(x.shape[2:]), align_corners=True) if self.upsample else logits


class AtrousPyramid(nn.Module):
    """A 1×1 convolution, dilated 3×3 ones and global pooling side by side, joined by a 1×1 convolution."""

    def __init__(self, spatial_dims: int, in_channels: int, out_channels: int, rates: list[int]) -> None:
        super().__init__()
        self.branches = nn.ModuleList(
            [_convolution(spatial_dims, in_channels, out_channels, 1)]
            + [_convolution(spatial_dims, in_channels, out_channels, 3, dilation=rate) for rate in rates]
        )
        self.pooled = nn.Sequential(
            Pool[Pool.ADAPTIVEAVG, spatial_dims](1), _convolution(spatial_dims, in_channels, out_channels, 1)
        )
        joined = (len(rates) + 2) * out_channels
        self.join = _convolution(spatial_dims, joined, out_channels, 1, dropout=0.1)

    def forward(self, x: Tensor) -> Tensor:
        """``B in_channels *S`` to ``B out_channels *S``."""
        y = [branch(x) for branch in self.branches]
        y.append(self.pooled(x).expand_as(y[0]))
        joined: Tensor = self.join(torch.cat(y, dim=1))
        return joined


def _convolution(
    spatial_dims: int,
    in_channels: int,
    out_channels: int,
    kernel_size: int,
    dilation: int = 1,
    dropout: float | None = None,
) -> Convolution:
    return Convolution(
        spatial_dims,
        in_channels,
        out_channels,
        kernel_size=kernel_size,
        dilation=dilation,
        dropout=dropout,
        adn_ordering="NAD",
        act="relu",
        norm="batch",
        bias=False,
    )


def _dilate(blocks: Iterable[nn.Module], stride: int, output_stride: int) -> None:
    """Leave out the strides beyond ``output_stride`` and dilate the convolutions after each.

    At every position of the strided backbone, the dilated one computes the same; weights keep their meaning.

    Args:
        blocks: in the order of execution, each with one stride, which its 3×3 convolution and its short cut share.
        stride: at the first block's input.
        output_stride: wanted at the last block's output.
    """
    for block in blocks:
        convolutions = [module for module in block.modules() if isinstance(module, CONVOLUTIONS)]
        rate = max(1, stride // output_stride)
        stride *= max(convolution.stride[0] for convolution in convolutions)
        for convolution in convolutions:
            axes = len(convolution.stride)
            if stride > output_stride:
                convolution.stride = (1,) * axes
            half = convolution.kernel_size[0] // 2
            convolution.dilation, convolution.padding = (rate,) * axes, (rate * half,) * axes
