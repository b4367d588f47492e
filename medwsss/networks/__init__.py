# SPDX-License-Identifier: Apache-2.0
"""What MONAI's networks lack: DeepLabV3+, a linear decoder on a ViT, ImageNet weights for both, score maps of tags."""

from __future__ import annotations

from medwsss.networks.deeplab_v3_plus import DeepLabV3Plus
from medwsss.networks.imagenet_weights import WeightReport, load_imagenet_weights
from medwsss.networks.mobilenet_v2 import MobileNetV2
from medwsss.networks.reach import reach_of
from medwsss.networks.score_maps import ResidualEncoder, ScoreMaps
from medwsss.networks.siamese import Siamese
from medwsss.networks.two_decoders import TwoDecoders
from medwsss.networks.two_heads import TwoHeads
from medwsss.networks.vit_linear import ViTLinear

__all__ = [
    "DeepLabV3Plus",
    "MobileNetV2",
    "ResidualEncoder",
    "ScoreMaps",
    "Siamese",
    "TwoDecoders",
    "TwoHeads",
    "ViTLinear",
    "WeightReport",
    "load_imagenet_weights",
    "reach_of",
]
