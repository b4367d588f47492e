# SPDX-License-Identifier: Apache-2.0
"""ResNet, MobileNetV2 and ViT once more, each as one function of torchvision's weights, without dilation."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

Weights = dict[str, Tensor]


def norm(w: Weights, name: str, x: Tensor) -> Tensor:
    mean, variance = w[f"{name}.running_mean"], w[f"{name}.running_var"]
    return F.batch_norm(x, mean, variance, w[f"{name}.weight"], w[f"{name}.bias"], eps=1e-5)


def resnet(w: Weights, x: Tensor, depths: tuple[int, ...]) -> list[Tensor]:
    """Feature maps at strides 2, 4, 8, 16 and 32; the stride is the 3×3 convolution's ("v1.5")."""
    x = norm(w, "bn1", F.conv2d(x, w["conv1.weight"], stride=2, padding=3)).relu()
    features = [x]
    x = F.max_pool2d(x, 3, 2, 1)
    for stage, depth in enumerate(depths, start=1):
        for block in range(depth):
            name, stride = f"layer{stage}.{block}", 2 if stage > 1 and block == 0 else 1
            y = norm(w, f"{name}.bn1", F.conv2d(x, w[f"{name}.conv1.weight"])).relu()
            y = norm(w, f"{name}.bn2", F.conv2d(y, w[f"{name}.conv2.weight"], stride=stride, padding=1)).relu()
            y = norm(w, f"{name}.bn3", F.conv2d(y, w[f"{name}.conv3.weight"]))
            if block == 0:
                x = F.conv2d(x, w[f"{name}.downsample.0.weight"], stride=stride)
                x = norm(w, f"{name}.downsample.1", x)
            x = (x + y).relu()
        features.append(x)
    return features


def mobilenet_v2(w: Weights, x: Tensor) -> list[Tensor]:
    """Feature maps at strides 2, 4, 8, 16 and 32."""
    x = F.relu6(norm(w, "features.0.1", F.conv2d(x, w["features.0.0.weight"], stride=2, padding=1)))
    features = []
    for index in range(1, 18):
        name, part, y = f"features.{index}.conv", 0, x
        if index > 1:
            y = F.relu6(norm(w, f"{name}.0.1", F.conv2d(y, w[f"{name}.0.0.weight"])))
            part = 1
        stride = 2 if index in (2, 4, 7, 14) else 1
        if stride == 2:
            features.append(x)
        kernel = w[f"{name}.{part}.0.weight"]
        y = F.conv2d(y, kernel, stride=stride, padding=1, groups=len(kernel))
        y = F.relu6(norm(w, f"{name}.{part}.1", y))
        y = norm(w, f"{name}.{part + 2}", F.conv2d(y, w[f"{name}.{part + 1}.weight"]))
        x = x + y if x.shape == y.shape and stride == 1 else y
    return [*features, x]


def vit(w: Weights, x: Tensor, heads: int, depth: int) -> Tensor:
    """All tokens ``B 1+N C`` after the last normalisation, of an image of the published size."""

    def layer_norm(name: str, x: Tensor) -> Tensor:
        centred = x - x.mean(-1, keepdim=True)
        return (
            centred / (centred.square().mean(-1, keepdim=True) + 1e-6).sqrt() * w[f"{name}.weight"] + w[f"{name}.bias"]
        )

    patch = w["conv_proj.weight"].shape[-1]
    x = F.conv2d(x, w["conv_proj.weight"], w["conv_proj.bias"], stride=patch).flatten(2).transpose(1, 2)
    x = torch.cat([w["class_token"].expand(len(x), -1, -1), x], dim=1) + w["encoder.pos_embedding"]
    for index in range(depth):
        name = f"encoder.layers.encoder_layer_{index}"
        attention, y = f"{name}.self_attention", layer_norm(f"{name}.ln_1", x)
        q, k, v = (y @ w[f"{attention}.in_proj_weight"].T + w[f"{attention}.in_proj_bias"]).chunk(3, dim=-1)
        mixed = []
        for a, b, c in zip(q.chunk(heads, -1), k.chunk(heads, -1), v.chunk(heads, -1)):
            mixed.append((a @ b.transpose(1, 2) / a.shape[-1] ** 0.5).softmax(-1) @ c)
        x = x + torch.cat(mixed, -1) @ w[f"{attention}.out_proj.weight"].T + w[f"{attention}.out_proj.bias"]
        y = layer_norm(f"{name}.ln_2", x) @ w[f"{name}.mlp.0.weight"].T + w[f"{name}.mlp.0.bias"]
        y = y * (1 + torch.erf(y / 2**0.5)) / 2
        x = x + y @ w[f"{name}.mlp.3.weight"].T + w[f"{name}.mlp.3.bias"]
    return layer_norm("encoder.ln", x)
