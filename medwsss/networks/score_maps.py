# SPDX-License-Identifier: Apache-2.0
"""Networks with one output a tag: whatever is fully convolutional, or an encoder with a head on it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from monai.networks.blocks import ResidualUnit
from monai.networks.layers import Conv, Dropout
from torch import Tensor, nn

__all__ = ["ResidualEncoder", "ScoreMaps"]


class ResidualEncoder(nn.Sequential):
    """MONAI's residual units one after the other, as in its ``UNet`` on the way down: a small encoder.

    Args:
        spatial_dims: axes.
        in_channels: of the image.
        channels: of each unit's features.
        strides: of each unit.
        norm: of its convolutions.

    Raises:
        ValueError: where channels and strides differ in number, or there are none.
    """

    def __init__(
        self,
        spatial_dims: int,
        in_channels: int,
        channels: Sequence[int],
        strides: Sequence[int],
        norm: str = "instance",
    ) -> None:
        if len(channels) != len(strides) or not channels:
            raise ValueError(f"expected a stride for each of the channels, got {list(channels)} and {list(strides)}")
        super().__init__(
            *(
                ResidualUnit(spatial_dims, a, b, strides=s, subunits=2, norm=norm)
                for a, b, s in zip([in_channels, *channels[:-1]], channels, strides)
            )
        )


class ScoreMaps(nn.Module):
    """``s_c(i) = Σ_k w_k^c f_k(i)``, Eq. (2): a 1×1 convolution without bias on an encoder's last features.

    Its output is the class activation map itself, at the encoder's stride. A network that is fully convolutional, with
    ``out_channels`` tags and ``upsample=False`` where it has that, needs no such head.

    Args:
        backbone: from ``B C *S`` to ``B F *s``, or to a list of maps, of which the last counts.
        channels: ``F``.
        num_tags: outputs; one more, the first, where a background is to have a channel.
        spatial_dims: axes.
        dropout: of features, whole channels of them.

    Shape:
        - input: ``B C *S``.
        - output: ``B num_tags *s``.

    Example:
        >>> import torch
        >>> network = ScoreMaps(ResidualEncoder(2, 3, [4, 8], [2, 2]), 8, num_tags=5, spatial_dims=2)
        >>> tuple(network(torch.zeros(1, 3, 32, 24)).shape)
        (1, 5, 8, 6)

    Source: Zhou et al., CVPR 2016; Jonnarth et al., WACV 2024, Eq. (2).
    """

    def __init__(
        self, backbone: nn.Module, channels: int, num_tags: int, spatial_dims: int = 2, dropout: float = 0.5
    ) -> None:
        super().__init__()
        self.backbone = backbone
        self.dropout = Dropout["dropout", spatial_dims](dropout)
        self.head = Conv["conv", spatial_dims](channels, num_tags, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """The score maps."""
        features: Any = self.backbone(x)
        maps: Tensor = self.head(self.dropout(features[-1] if isinstance(features, (list, tuple)) else features))
        return maps
