# SPDX-License-Identifier: Apache-2.0
"""One encoder for two tasks: score maps of tags, and a segmentation that learns from them while they are learnt."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from monai.networks.blocks import ResidualUnit
from monai.networks.layers import Conv
from torch import Tensor, nn

from medwsss.keys import LOGITS, SCORES
from medwsss.networks.resampling import resample
from medwsss.networks.score_maps import ScoreMaps

__all__ = ["TwoHeads", "check_score_maps"]


def check_score_maps(network: nn.Module) -> None:
    """Refuse to take a segmentation's logits for score maps.

    Raises:
        ValueError: for a network that has both.
    """
    if isinstance(network, TwoHeads):
        raise ValueError(
            "expected a network of score maps, whose seeds cam.json writes, got that of single_stage.json, which makes "
            "its seeds while it trains: medwsss infer RUN IMAGES has its predictions"
        )


class TwoHeads(nn.Module):
    """Score maps on an encoder's last features, Eq. (2), and a U-Net's way back up from these to the image's grid.

    Args:
        backbone: an encoder as a sequence of stages, such as :class:`~medwsss.networks.ResidualEncoder`.
        channels: of each stage's features.
        num_tags: score maps; one more, the first, where a background is to have a channel.
        num_classes: ``K``.
        in_channels: of the image, which the last step up sees, too.
        spatial_dims: axes.
        dropout: of the features that score maps are made of.

    Shape:
        - input: ``B in_channels *S``.
        - output: in training ``{"scores": B num_tags *s, "logits": B K *S}``, which
          :class:`~medwsss.handlers.CamSeedHandler` takes apart; in evaluation the logits.

    Raises:
        ValueError: where stages and channels differ in number.

    Example:
        >>> from medwsss.networks import ResidualEncoder
        >>> network = TwoHeads(ResidualEncoder(2, 3, [4, 8], [2, 2]), [4, 8], num_tags=2, num_classes=3)
        >>> {name: tuple(x.shape) for name, x in network(torch.zeros(1, 3, 32, 24)).items()}
        {'scores': (1, 2, 8, 6), 'logits': (1, 3, 32, 24)}
        >>> tuple(network.eval()(torch.zeros(1, 3, 32, 24)).shape)
        (1, 3, 32, 24)
    """

    def __init__(
        self,
        backbone: nn.Sequential,
        channels: Sequence[int],
        num_tags: int,
        num_classes: int,
        in_channels: int = 3,
        spatial_dims: int = 2,
        dropout: float = 0.5,
    ) -> None:
        super().__init__()
        if len(backbone) != len(channels):
            raise ValueError(f"expected channels of {len(backbone)} stages, got {list(channels)}")
        self.backbone = backbone
        self.scores = ScoreMaps(nn.Identity(), channels[-1], num_tags, spatial_dims, dropout)
        # from the deepest features up, each stage joined with what is one finer
        finer, width = [*channels[-2::-1], in_channels], [*channels[-2::-1], channels[0]]
        self.decoder = nn.ModuleList(
            ResidualUnit(spatial_dims, below + skip, out, subunits=1, norm="batch")
            for below, skip, out in zip([channels[-1], *width], finer, width)
        )
        self.classes = Conv["conv", spatial_dims](channels[0], num_classes, 1)

    def forward(self, x: Tensor) -> Any:
        """Both heads, or that of the segmentation alone."""
        features = [x]
        for stage in self.backbone:
            features.append(stage(features[-1]))
        y = features[-1]
        for join, skip in zip(self.decoder, features[-2::-1]):
            size = list(skip.shape[2:])
            y = join(torch.cat((y if list(y.shape[2:]) == size else resample(y, size, align_corners=False), skip), 1))
        logits: Tensor = self.classes(y)
        return {SCORES: self.scores(features[-1]), LOGITS: logits} if self.training else logits
