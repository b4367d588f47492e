# SPDX-License-Identifier: Apache-2.0
"""How torchvision, timm and Hugging Face name a backbone's weights, as rules that lead to the names used here."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import NamedTuple

from monai.networks.nets.resnet import ResNetFeatures
from torch import nn

from medwsss.networks.mobilenet_v2 import STAGES, MobileNetV2
from medwsss.networks.vit_linear import VisionTransformer

__all__ = ["KeyLayout", "layout_of"]


WRAPPERS = (r"^((module|backbone|resnet|vit)\.)+", "")


class KeyLayout(NamedTuple):
    """Names of one backbone's weights in files."""

    input_layer: str  # the weight whose shape depends on the number of input channels, in our names
    head: str  # regular expression of the keys that belong to the classifier
    rules: tuple[tuple[str, str | Callable[[re.Match[str]], str]], ...]  # pattern and replacement, one after another

    def is_head(self, key: str) -> bool:
        """Whether a file's key belongs to its classifier."""
        return re.match(self.head, re.sub(*WRAPPERS, key)) is not None

    def translate(self, key: str) -> str:
        """A file's key in our names; the key itself where no rule knows it."""
        for pattern, replacement in (WRAPPERS, *self.rules):
            key = re.sub(pattern, replacement, key)
        return key


def layout_of(backbone: nn.Module) -> KeyLayout:
    """The layout of a backbone.

    Raises:
        ValueError: for a module that is none of the backbones here.
    """
    for kind, layout in LAYOUTS.items():
        if isinstance(backbone, kind):
            return layout
    names = ", ".join(kind.__name__ for kind in LAYOUTS)
    raise ValueError(f"expected a network with a backbone of type {names}, got {type(backbone).__name__}")


def _hugging_face_stage(match: re.Match[str]) -> str:
    return f"layer{int(match[1]) + 1}.{match[2]}."


def _hugging_face_layer(match: re.Match[str]) -> str:
    return f".{'conv' if match[2] == 'convolution' else 'bn'}{int(match[1]) + 1}."


def _timm_mobilenet(match: re.Match[str]) -> str:
    """``blocks.2.1.conv_dw.``, the second block of the third stage → ``features.5.conv.1.0.``."""
    stage, block, layer = int(match[1]), int(match[2]), match[3]
    # torchvision counts the blocks through, and has each block's convolutions and normalisations in one sequence
    layers = {"conv_pw": "0.0", "bn1": "0.1", "conv_dw": "1.0", "bn2": "1.1", "conv_pwl": "2", "bn3": "3"}
    if stage == 0:  # no expansion
        layers = {"conv_dw": "0.0", "bn1": "0.1", "conv_pw": "1", "bn2": "2"}
    feature = 1 + sum(number for _, _, number, _ in STAGES[:stage]) + block
    return f"features.{feature}.conv.{layers[layer]}." if layer in layers else match[0]


LAYOUTS: dict[type[nn.Module], KeyLayout] = {
    ResNetFeatures: KeyLayout(
        "conv1.weight",
        r"^(fc|classifier)\.",
        (
            # torchvision's and timm's names are ours; the rest is Hugging Face's
            (r"^embedder\.embedder\.convolution\.", "conv1."),
            (r"^embedder\.embedder\.normalization\.", "bn1."),
            (r"^encoder\.stages\.(\d+)\.layers\.(\d+)\.", _hugging_face_stage),
            (r"\.shortcut\.convolution\.", ".downsample.0."),
            (r"\.shortcut\.normalization\.", ".downsample.1."),
            (r"\.layer\.(\d)\.(convolution|normalization)\.", _hugging_face_layer),
        ),
    ),
    MobileNetV2: KeyLayout(
        "features.0.0.weight",
        r"^(features\.18|classifier|conv_head|bn2)\.",
        (
            # torchvision's names are ours; the rest is timm's
            (r"^conv_stem\.", "features.0.0."),
            (r"^bn1\.", "features.0.1."),
            (r"^blocks\.(\d)\.(\d)\.(\w+)\.", _timm_mobilenet),
        ),
    ),
    VisionTransformer: KeyLayout(
        "patch_embedding.weight",
        r"^(heads?|classifier|pooler|pre_logits)\.",
        (
            # torchvision's, timm's and Hugging Face's name of each
            (r"^(class_token|cls_token|embeddings\.cls_token)$", "class_token"),
            (r"^(encoder\.pos_embedding|pos_embed|embeddings\.position_embeddings)$", "position_embedding"),
            (r"^(conv_proj|patch_embed\.proj|embeddings\.patch_embeddings\.projection)\.", "patch_embedding."),
            (r"^(encoder\.layers\.encoder_layer_|blocks\.|encoder\.layer\.)(\d+)\.", r"layers.\2."),
            (r"^(encoder\.ln|layernorm)\.", "norm."),
            (r"\.(ln_1|layernorm_before)\.", ".norm1."),
            (r"\.(ln_2|layernorm_after)\.", ".norm2."),
            (r"\.(self_attention\.in_proj_|attn\.qkv\.)", ".self_attn.in_proj_"),
            (r"\.attention\.attention\.(query|key|value)\.", r".self_attn.\1_"),
            (r"\.(self_attention\.out_proj|attn\.proj|attention\.output\.dense)\.", ".self_attn.out_proj."),
            (r"\.(mlp\.0|mlp\.linear_1|mlp\.fc1|intermediate\.dense)\.", ".linear1."),
            (r"\.(mlp\.3|mlp\.linear_2|mlp\.fc2|output\.dense)\.", ".linear2."),
        ),
    ),
}
