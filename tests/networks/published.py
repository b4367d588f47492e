# SPDX-License-Identifier: Apache-2.0
"""The weights of published ImageNet classifiers: their keys and shapes, written down from the packages they come with.

Two layouts of one network list the same weights in the same order.
"""

from __future__ import annotations

import torch
from torch import Tensor

Shapes = dict[str, tuple[int, ...]]

RESNET50, RESNET101 = (3, 4, 6, 3), (3, 4, 23, 3)


def norm(name: str, channels: int) -> Shapes:
    per_channel = ("weight", "bias", "running_mean", "running_var")
    return {f"{name}.{part}": (channels,) for part in per_channel} | {f"{name}.num_batches_tracked": ()}


def linear(name: str, outputs: int, inputs: int) -> Shapes:
    return {f"{name}.weight": (outputs, inputs), f"{name}.bias": (outputs,)}


def resnet(depths: tuple[int, ...]) -> Shapes:
    """torchvision's and timm's."""
    shapes: Shapes = {"conv1.weight": (64, 3, 7, 7), **norm("bn1", 64)}
    inputs = 64
    for stage, depth in enumerate(depths):
        width = 64 * 2**stage
        for block in range(depth):
            prefix = f"layer{stage + 1}.{block}"
            shapes |= {f"{prefix}.conv1.weight": (width, inputs, 1, 1), **norm(f"{prefix}.bn1", width)}
            shapes |= {f"{prefix}.conv2.weight": (width, width, 3, 3), **norm(f"{prefix}.bn2", width)}
            shapes |= {f"{prefix}.conv3.weight": (4 * width, width, 1, 1), **norm(f"{prefix}.bn3", 4 * width)}
            if block == 0:
                shapes |= {f"{prefix}.downsample.0.weight": (4 * width, inputs, 1, 1)}
                shapes |= norm(f"{prefix}.downsample.1", 4 * width)
            inputs = 4 * width
    return shapes | linear("fc", 1000, 2048)


def hugging_face_resnet(depths: tuple[int, ...]) -> Shapes:
    """transformers' ``ResNetForImageClassification``."""

    def unit(name: str, outputs: int, inputs: int, size: int) -> Shapes:
        return {f"{name}.convolution.weight": (outputs, inputs, size, size), **norm(f"{name}.normalization", outputs)}

    shapes = unit("resnet.embedder.embedder", 64, 3, 7)
    inputs = 64
    for stage, depth in enumerate(depths):
        width = 64 * 2**stage
        for block in range(depth):
            prefix = f"resnet.encoder.stages.{stage}.layers.{block}"
            shapes |= unit(f"{prefix}.layer.0", width, inputs, 1)
            shapes |= unit(f"{prefix}.layer.1", width, width, 3)
            shapes |= unit(f"{prefix}.layer.2", 4 * width, width, 1)
            if block == 0:
                shapes |= unit(f"{prefix}.shortcut", 4 * width, inputs, 1)
            inputs = 4 * width
    return shapes | linear("classifier.1", 1000, 2048)


# channels in and out, hidden channels, of each inverted residual
MOBILE_BLOCKS = (
    [(32, 16, 32), (16, 24, 96), (24, 24, 144), (24, 32, 144), *[(32, 32, 192)] * 2]
    + [(32, 64, 192), *[(64, 64, 384)] * 3, (64, 96, 384), *[(96, 96, 576)] * 2]
    + [(96, 160, 576), *[(160, 160, 960)] * 2, (160, 320, 960)]
)


def mobilenet_v2() -> Shapes:
    """torchvision's."""
    shapes: Shapes = {"features.0.0.weight": (32, 3, 3, 3), **norm("features.0.1", 32)}
    for index, (inputs, outputs, hidden) in enumerate(MOBILE_BLOCKS, start=1):
        prefix, part = f"features.{index}.conv", 0
        if index > 1:
            shapes |= {f"{prefix}.0.0.weight": (hidden, inputs, 1, 1), **norm(f"{prefix}.0.1", hidden)}
            part = 1
        shapes |= {f"{prefix}.{part}.0.weight": (hidden, 1, 3, 3), **norm(f"{prefix}.{part}.1", hidden)}
        shapes |= {f"{prefix}.{part + 1}.weight": (outputs, hidden, 1, 1), **norm(f"{prefix}.{part + 2}", outputs)}
    shapes |= {"features.18.0.weight": (1280, 320, 1, 1), **norm("features.18.1", 1280)}
    return shapes | linear("classifier.1", 1000, 1280)


def timm_mobilenet_v2() -> Shapes:
    """timm's ``mobilenetv2_100``."""
    shapes: Shapes = {"conv_stem.weight": (32, 3, 3, 3), **norm("bn1", 32)}
    stages = [0, 1, 1, 2, 2, 2, 3, 3, 3, 3, 4, 4, 4, 5, 5, 5, 6]
    for index, (stage, (inputs, outputs, hidden)) in enumerate(zip(stages, MOBILE_BLOCKS)):
        prefix = f"blocks.{stage}.{index - stages.index(stage)}"
        if stage == 0:
            shapes |= {f"{prefix}.conv_dw.weight": (32, 1, 3, 3), **norm(f"{prefix}.bn1", 32)}
            shapes |= {f"{prefix}.conv_pw.weight": (16, 32, 1, 1), **norm(f"{prefix}.bn2", 16)}
        else:
            shapes |= {f"{prefix}.conv_pw.weight": (hidden, inputs, 1, 1), **norm(f"{prefix}.bn1", hidden)}
            shapes |= {f"{prefix}.conv_dw.weight": (hidden, 1, 3, 3), **norm(f"{prefix}.bn2", hidden)}
            shapes |= {f"{prefix}.conv_pwl.weight": (outputs, hidden, 1, 1), **norm(f"{prefix}.bn3", outputs)}
    shapes |= {"conv_head.weight": (1280, 320, 1, 1), **norm("bn2", 1280)}
    return shapes | linear("classifier", 1000, 1280)


def vit(width: int = 768, hidden: int = 3072, depth: int = 12, patch: int = 16, patches: int = 196) -> Shapes:
    """torchvision's; ``vit_b_16`` by default."""
    shapes: Shapes = {"class_token": (1, 1, width), "conv_proj.weight": (width, 3, patch, patch)}
    shapes |= {"conv_proj.bias": (width,), "encoder.pos_embedding": (1, 1 + patches, width)}
    for index in range(depth):
        prefix = f"encoder.layers.encoder_layer_{index}"
        shapes |= {f"{prefix}.ln_1.weight": (width,), f"{prefix}.ln_1.bias": (width,)}
        shapes |= {f"{prefix}.self_attention.in_proj_weight": (3 * width, width)}
        shapes |= {f"{prefix}.self_attention.in_proj_bias": (3 * width,)}
        shapes |= linear(f"{prefix}.self_attention.out_proj", width, width)
        shapes |= {f"{prefix}.ln_2.weight": (width,), f"{prefix}.ln_2.bias": (width,)}
        shapes |= linear(f"{prefix}.mlp.0", hidden, width) | linear(f"{prefix}.mlp.3", width, hidden)
    shapes |= {"encoder.ln.weight": (width,), "encoder.ln.bias": (width,)}
    return shapes | linear("heads.head", 1000, width)


def timm_vit(weights: dict[str, Tensor], depth: int) -> dict[str, Tensor]:
    """torchvision's weights under timm's ``VisionTransformer``'s keys, which stand in the same order."""
    names = ["cls_token", "patch_embed.proj.weight", "patch_embed.proj.bias", "pos_embed"]
    for index in range(depth):
        for part in ("norm1", "attn.qkv", "attn.proj", "norm2", "mlp.fc1", "mlp.fc2"):
            names += [f"blocks.{index}.{part}.weight", f"blocks.{index}.{part}.bias"]
    names += ["norm.weight", "norm.bias", "head.weight", "head.bias"]
    return dict(zip(names, weights.values(), strict=True))


def hugging_face_vit(weights: dict[str, Tensor], depth: int) -> dict[str, Tensor]:
    """torchvision's weights under the keys of transformers' ``ViTForImageClassification``."""
    values = iter(weights.values())
    start = ["cls_token", "patch_embeddings.projection.weight", "patch_embeddings.projection.bias"]
    named = {f"vit.embeddings.{name}": next(values) for name in (*start, "position_embeddings")}

    def affine(name: str) -> None:
        named[f"{name}.weight"], named[f"{name}.bias"] = next(values), next(values)

    for index in range(depth):
        prefix = f"vit.encoder.layer.{index}"
        affine(f"{prefix}.layernorm_before")
        for kind in ("weight", "bias"):
            for part, value in zip(("query", "key", "value"), next(values).chunk(3)):
                named[f"{prefix}.attention.attention.{part}.{kind}"] = value.clone()
        affine(f"{prefix}.attention.output.dense")
        affine(f"{prefix}.layernorm_after")
        affine(f"{prefix}.intermediate.dense")
        affine(f"{prefix}.output.dense")
    affine("vit.layernorm")
    affine("classifier")
    return named


def parameters(shapes: Shapes) -> int:
    """How many numbers a network learns."""
    buffers = ("running_mean", "running_var", "num_batches_tracked")
    return sum(torch.Size(shape).numel() for name, shape in shapes.items() if not name.endswith(buffers))


def forge(shapes: Shapes, seed: int = 0) -> dict[str, Tensor]:
    """Random weights that keep activations in range, the same for the same shapes in the same order."""
    generator = torch.Generator().manual_seed(seed)
    weights = {}
    for name, shape in shapes.items():
        if name.endswith("num_batches_tracked"):
            weights[name] = torch.tensor(7)
        elif len(shape) in (2, 4):
            weights[name] = torch.randn(shape, generator=generator) * (2 / torch.Size(shape[1:]).numel()) ** 0.5
        elif name.endswith(("running_var", "weight")):
            weights[name] = 0.5 + torch.rand(shape, generator=generator)
        else:
            weights[name] = torch.randn(shape, generator=generator) / 10
    return weights
