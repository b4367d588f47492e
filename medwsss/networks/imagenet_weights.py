# SPDX-License-Identifier: Apache-2.0
"""ImageNet weights for a network's backbone, from a file in torchvision's, timm's or Hugging Face's layout."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from monai.utils import optional_import
from torch import Tensor, nn

from medwsss.networks.key_layouts import layout_of
from medwsss.networks.vit_linear import VisionTransformer, resample_positions

__all__ = ["WeightReport", "load_imagenet_weights"]

load_safetensors, _ = optional_import("safetensors.torch", name="load_file")


@dataclass(frozen=True)
class WeightReport:
    """What became of each weight of the file and of the backbone; prints as one line."""

    file: str
    loaded: list[str]
    """the backbone's names"""
    adapted: list[str]
    """those loaded after summing input channels or resampling positions"""
    skipped: list[str]
    """the file's keys that belong to its classifier"""
    mismatched: list[str]
    """names with both shapes"""
    missing: list[str]
    """the backbone's names that the file does not have"""
    unknown: list[str]
    """the file's keys, in the backbone's way of naming, that the backbone does not have"""

    def __str__(self) -> str:
        parts = [f"{len(self.loaded)} loaded"]
        for name in ("adapted", "skipped", "mismatched", "missing", "unknown"):
            keys = getattr(self, name)
            if keys:
                parts.append(f"{len(keys)} {name} ({', '.join(keys[:3])}{', …' if len(keys) > 3 else ''})")
        return f"weights of {self.file}: " + ", ".join(parts)


def load_imagenet_weights(network: nn.Module, path: str | Path, adapt_input: bool = False) -> WeightReport:
    """Load a classifier's weights into ``network.backbone``, all of them or none.

    The file may come from torchvision (``resnet50``, ``resnet101``, ``mobilenet_v2``, ``vit_*``), from timm (the same
    ResNets, ``mobilenetv2_100``, ``vit_*``), or from Hugging Face's transformers (ResNet, ViT). Position embeddings
    are taken as a square (cubic, …) grid and resampled to the network's ``img_size``.

    Args:
        network: with a ``backbone``: ``DeepLabV3Plus`` or ``ViTLinear``.
        path: a ``.safetensors`` file, or a state dict written by ``torch.save``.
        adapt_input: with a number of input channels other than the file's, give each the mean of the file's filters,
            scaled to the same response on a grey image. Otherwise the first layer stays as it is, and ``mismatched``
            says so.

    Returns:
        what was loaded and what was not.

    Raises:
        ValueError: if the file is no state dict, or another network's: it lacks a weight of the backbone, has one
            that neither the backbone nor a known classifier has, or has one of another shape (the first layer's input
            channels apart). The message holds the report, and the network is left as it was.
    """
    backbone = getattr(network, "backbone", None)
    if not isinstance(backbone, nn.Module):
        raise ValueError(f"expected a network with a backbone, got {type(network).__name__}")
    layout = layout_of(backbone)
    read = _read(Path(path))
    head = [key for key in read if layout.is_head(key)]
    weights = {layout.translate(key): weight for key, weight in read.items() if key not in head}
    _join_attention(weights)

    wanted = backbone.state_dict()
    adapted = []
    if isinstance(backbone, VisionTransformer) and _fit_positions(weights, backbone.grid):
        adapted.append("position_embedding")
    first = layout.input_layer
    other_channels = first in weights and _differ_in_channels(weights[first].shape, wanted[first].shape)
    if other_channels and adapt_input:
        weights[first] = weights[first].sum(1, keepdim=True).expand(wanted[first].shape) / wanted[first].shape[1]
        adapted.append(first)

    common = [name for name in weights if name in wanted]
    fitting = {name: weights[name] for name in common if weights[name].shape == wanted[name].shape}
    others = {name: (tuple(weights[name].shape), tuple(wanted[name].shape)) for name in common if name not in fitting}
    report = WeightReport(
        file=str(path),
        loaded=list(fitting),
        adapted=adapted,
        skipped=head,
        mismatched=[f"{name}: file {theirs}, network {ours}" for name, (theirs, ours) in others.items()],
        # files from before PyTorch 0.4.1 do not count batches, and nothing here reads the count
        missing=[name for name in wanted if name not in weights and not name.endswith("num_batches_tracked")],
        unknown=[name for name in weights if name not in wanted],
    )
    tolerated = {first} if other_channels else set()
    if not fitting or report.missing or report.unknown or others.keys() - tolerated:
        raise ValueError(f"expected the weights of a {type(backbone).__name__} such as the network's, got {report}")
    backbone.load_state_dict(fitting, strict=False)
    return report


def _read(path: Path) -> dict[str, Tensor]:
    try:
        if path.suffix == ".safetensors":
            content = load_safetensors(path)
        else:
            content = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, ImportError):
        raise
    except Exception as error:  # the readers' own choice of a dozen kinds, none of which names the file
        raise ValueError(f"expected a state dict in {path}, got a file that cannot be read as one: {error}") from error
    for wrapper in ("state_dict", "model"):
        if isinstance(content, Mapping) and isinstance(content.get(wrapper), Mapping):
            content = content[wrapper]
    if not isinstance(content, Mapping) or not all(isinstance(weight, Tensor) for weight in content.values()):
        raise ValueError(
            f"expected a state dict in {path}, got {type(content).__name__} with other things than tensors"
        )
    return dict(content)


def _join_attention(weights: dict[str, Tensor]) -> None:
    """Hugging Face keeps queries, keys and values apart."""
    for query in [name for name in weights if ".query_" in name]:
        names = [query.replace(".query_", f".{part}_") for part in ("query", "key", "value")]
        if all(name in weights for name in names):
            weights[query.replace(".query_", ".in_proj_")] = torch.cat([weights.pop(name) for name in names])


def _fit_positions(weights: dict[str, Tensor], grid: list[int]) -> bool:
    positions = weights.get("position_embedding")
    if positions is None or positions.ndim != 3:
        return False
    number, axes = positions.shape[1] - 1, len(grid)
    side = round(number ** (1 / axes))
    if side**axes != number or [side] * axes == grid:
        return False
    weights["position_embedding"] = resample_positions(positions.float(), [side] * axes, grid)
    return True


def _differ_in_channels(shape: torch.Size, other: torch.Size) -> bool:
    """Whether two convolutions' weights differ in the number of input channels, and in nothing else."""
    return shape != other and shape[:1] + shape[2:] == other[:1] + other[2:]
