# SPDX-License-Identifier: Apache-2.0
"""One encoder with a second decoder, which sees its features through dropout."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import torch
from monai.networks.layers import Dropout
from monai.networks.nets import UNet
from torch import Tensor, nn

from medwsss.keys import LOGITS, OTHER_LOGITS

__all__ = ["TwoDecoders"]


class TwoDecoders(nn.Module):
    """A U-Net, and a second way up from the features that it has on its way down.

    Args:
        network: MONAI's ``UNet``, of at least two levels, which remains what it is.
        dropout: share of the features that the second decoder does not see, whole channels.

    Shape:
        - input: ``B C *S``.
        - output: in training ``{"logits": B K *S, "other_logits": B K *S}``, which
          :class:`~medwsss.handlers.MixedLabelHandler` takes apart; in evaluation the U-Net's logits.

    Raises:
        ValueError: for another network.

    Source: Luo et al., Scribble-supervised medical image segmentation via dual-branch network and dynamically mixed
    pseudo labels supervision, MICCAI 2022.

    Example:
        >>> network = TwoDecoders(UNet(2, 1, 3, channels=[4, 8], strides=[2]))
        >>> {name: tuple(x.shape) for name, x in network(torch.zeros(2, 1, 8, 8)).items()}
        {'logits': (2, 3, 8, 8), 'other_logits': (2, 3, 8, 8)}
    """

    network: nn.Module
    dropout: nn.Module

    def __init__(self, network: UNet, dropout: float = 0.5) -> None:
        super().__init__()
        if not isinstance(network, UNet):
            raise ValueError(f"expected MONAI's UNet, got {type(network).__name__}")
        self.network = network
        self.other = nn.ModuleList(copy.deepcopy(up) for up in _parts(network)[2])
        for module in self.other.modules():
            if hasattr(module, "reset_parameters"):
                module.reset_parameters()  # type: ignore[operator]
        self.dropout = Dropout["dropout", network.dimensions](dropout)

    def forward(self, x: Tensor) -> Any:
        """Both decoders, or the first one alone."""
        if not self.training:
            return self.network(x)
        downs, bottom, ups = _parts(self.network)
        features = []
        for down in downs:
            x = down(x)
            features.append(x)
        features.append(bottom(x))
        return {LOGITS: _up(ups, features), OTHER_LOGITS: _up(self.other, [self.dropout(each) for each in features])}


def _parts(network: Any) -> tuple[list[nn.Module], nn.Module, list[nn.Module]]:
    """The ways down, from the finest, the bottom, and the ways up to each of the former."""
    downs: list[nn.Module] = []
    ups: list[nn.Module] = []
    level: Any = network.model
    while isinstance(level, nn.Sequential) and hasattr(level[1], "submodule"):
        downs.append(level[0])
        ups.append(level[2])
        level = level[1].submodule
    return downs, level, ups


def _up(ups: Sequence[nn.Module] | nn.ModuleList, features: Sequence[Tensor]) -> Tensor:
    y = features[-1]
    for up, skip in zip(reversed(ups), reversed(features[:-1])):
        y = up(torch.cat((skip, y), 1))
    return y
