# SPDX-License-Identifier: Apache-2.0
"""Random distributions and batches that the tests of terms and solvers share."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from medwsss.keys import UNLABELED, VOID


def distributions(batch: int, classes: int, shape: Sequence[int], dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(batch, classes, *shape, dtype=dtype).mul(1.5).softmax(1)


def vertices(batch: int, classes: int, shape: Sequence[int], dtype: torch.dtype = torch.float64) -> Tensor:
    labels = torch.randint(classes, (batch, *shape))
    return torch.nn.functional.one_hot(labels, classes).movedim(-1, 1).to(dtype)


def batch_of(
    batch: int, classes: int, shape: Sequence[int], void: bool = True, dtype: torch.dtype = torch.float64
) -> tuple[Tensor, Tensor, Tensor]:
    """Logits, a guide of two channels, and a scribble with seeds, unlabelled and (if asked) void voxels."""
    logits = torch.randn(batch, classes, *shape, dtype=dtype) * 2
    guide = torch.rand(batch, 2, *shape, dtype=dtype)
    chance = torch.rand(batch, 1, *shape)
    scribble = torch.where(chance < 0.3, torch.randint(classes, chance.shape), UNLABELED)
    if void:
        scribble = torch.where(chance > 0.85, VOID, scribble)
    return logits, guide, scribble
