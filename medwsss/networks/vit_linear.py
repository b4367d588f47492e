# SPDX-License-Identifier: Apache-2.0
"""A vision transformer with a linear decoder, in any number of spatial axes."""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil

import torch
import torch.nn.functional as F
from monai.networks.layers import Conv, trunc_normal_
from monai.utils import ensure_tuple_rep
from torch import Tensor, nn

from medwsss.networks.resampling import resample

__all__ = ["ViTLinear", "VisionTransformer"]


class VisionTransformer(nn.Module):
    """ViT's encoder: patches and a class token through transformer layers with normalisation first.

    It is built of PyTorch's ``TransformerEncoderLayer``, which computes what torchvision's, timm's and Hugging Face's
    ViT compute (the last with an ε of 1e-12). MONAI's ``ViT`` has no position for the class token and another ε, so its
    results differ; its layers also carry a normalisation that no data passes, on which distributed training stops.

    The position embedding is resampled to the input's grid of patches, so that inputs of any size pass.

    Args:
        spatial_dims: number of spatial axes, 1, 2 or 3.
        in_channels: number of the input's channels.
        img_size: size that the position embedding is laid out for, one number for all axes or one an axis.
        patch_size: the patches', likewise.
        hidden_size, mlp_dim, num_layers, num_heads: ViT-B's by default.
        dropout_rate: in the layers.

    Source: Dosovitskiy et al., An Image is Worth 16x16 Words, ICLR 2021.
    """

    def __init__(
        self,
        spatial_dims: int,
        in_channels: int,
        img_size: Sequence[int] | int,
        patch_size: Sequence[int] | int = 16,
        hidden_size: int = 768,
        mlp_dim: int = 3072,
        num_layers: int = 12,
        num_heads: int = 12,
        dropout_rate: float = 0.0,
    ) -> None:
        super().__init__()
        self.patch_size = list(ensure_tuple_rep(patch_size, spatial_dims))
        sizes = ensure_tuple_rep(img_size, spatial_dims)
        self.grid = [ceil(size / patch) for size, patch in zip(sizes, self.patch_size)]
        self.patch_embedding = Conv[Conv.CONV, spatial_dims](
            in_channels, hidden_size, kernel_size=self.patch_size, stride=self.patch_size
        )
        self.class_token = nn.Parameter(torch.zeros(1, 1, hidden_size))
        # the class token's position, then the patches' in the order of a flattened grid
        self.position_embedding = nn.Parameter(torch.empty(1, 1 + torch.Size(self.grid).numel(), hidden_size))
        trunc_normal_(self.position_embedding, std=0.02)
        self.layers = nn.ModuleList(
            nn.TransformerEncoderLayer(
                hidden_size,
                num_heads,
                mlp_dim,
                dropout_rate,
                activation="gelu",
                layer_norm_eps=1e-6,
                batch_first=True,
                norm_first=True,
            )
            for _ in range(num_layers)
        )
        self.norm = nn.LayerNorm(hidden_size, eps=1e-6)

    def forward(self, x: Tensor) -> Tensor:
        """``B in_channels *S`` to ``B hidden_size *ceil(S / patch_size)``; zeros fill the last patches up."""
        padding: list[int] = []
        for size, patch in zip(x.shape[2:], self.patch_size):
            padding = [0, -size % patch] + padding
        patches = self.patch_embedding(F.pad(x, padding))
        grid = list(patches.shape[2:])
        tokens = torch.cat([self.class_token.expand(x.shape[0], -1, -1), patches.flatten(2).transpose(1, 2)], dim=1)
        tokens = tokens + resample_positions(self.position_embedding, self.grid, grid)
        for layer in self.layers:
            tokens = layer(tokens)
        features: Tensor = self.norm(tokens)[:, 1:]
        return features.transpose(1, 2).reshape([x.shape[0], -1] + grid)


class ViTLinear(nn.Module):
    """A linear classifier on each patch's features of a ViT ("ViT-linear"), its logits upsampled.

    Args:
        spatial_dims, in_channels: of the input.
        out_channels: number of classes, K.
        img_size: size that the position embedding is laid out for; inputs may have any other.
        patch_size: the patches', one number for all axes or one an axis.
        upsample: logits at the input's resolution; otherwise one a patch.
        hidden_size, mlp_dim, num_layers, num_heads, dropout_rate: of :class:`VisionTransformer`; ViT-B's by default.

    Shape:
        - input: ``B in_channels *S``, of any size.
        - output: ``B out_channels *S``, or ``B out_channels *ceil(S / patch_size)`` without ``upsample``.
    """

    def __init__(
        self,
        spatial_dims: int,
        in_channels: int,
        out_channels: int,
        img_size: Sequence[int] | int,
        patch_size: Sequence[int] | int = 16,
        upsample: bool = True,
        hidden_size: int = 768,
        mlp_dim: int = 3072,
        num_layers: int = 12,
        num_heads: int = 12,
        dropout_rate: float = 0.0,
    ) -> None:
        super().__init__()
        self.backbone = VisionTransformer(
            spatial_dims, in_channels, img_size, patch_size, hidden_size, mlp_dim, num_layers, num_heads, dropout_rate
        )
        self.patch_size = self.backbone.patch_size
        self.decoder = Conv[Conv.CONV, spatial_dims](hidden_size, out_channels, kernel_size=1)
        self.upsample = upsample

    def forward(self, x: Tensor) -> Tensor:
        """The logits."""
        logits: Tensor = self.decoder(self.backbone(x))
        if not self.upsample:
            return logits
        # the size of the whole patches, then the part of it that is image
        size = [number * patch for number, patch in zip(logits.shape[2:], self.patch_size)]
        logits = resample(logits, size, align_corners=False)
        for axis, wanted in enumerate(x.shape[2:]):
            logits = logits.narrow(axis + 2, 0, wanted)
        return logits


def resample_positions(positions: Tensor, from_grid: list[int], to_grid: list[int]) -> Tensor:
    """Position embeddings ``1 1+N C`` of one grid of patches, multilinearly interpolated to another.

    The class token's stays, and an equal grid gives equal embeddings.
    """
    patches = positions[:, 1:].transpose(1, 2).reshape([1, -1] + from_grid)
    resampled = resample(patches, to_grid, align_corners=False).flatten(2).transpose(1, 2)
    return torch.cat([positions[:, :1], resampled], dim=1)
