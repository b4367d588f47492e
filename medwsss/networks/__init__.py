# SPDX-License-Identifier: Apache-2.0
"""What MONAI's networks lack for photographs: DeepLabV3+, a linear decoder on a ViT, and ImageNet weights for both."""

from __future__ import annotations

from medwsss.networks.deeplab_v3_plus import DeepLabV3Plus
from medwsss.networks.imagenet_weights import WeightReport, load_imagenet_weights
from medwsss.networks.mobilenet_v2 import MobileNetV2
from medwsss.networks.vit_linear import ViTLinear

__all__ = ["DeepLabV3Plus", "MobileNetV2", "ViTLinear", "WeightReport", "load_imagenet_weights"]
