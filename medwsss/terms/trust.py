# SPDX-License-Identifier: Apache-2.0
"""Where a network's opinion counts: in segments that a seed stands behind."""

from __future__ import annotations

import numpy as np
import torch
from skimage.measure import label
from torch import Tensor

from medwsss.terms.simplex import seed_mask, void_mask

__all__ = ["seeded_segments"]


def seeded_segments(logits: Tensor, scribble: Tensor) -> Tensor:
    """Voxels whose segment, of equal ``argmax_k σ_i^k`` and connected face to face, holds a seed of its class.

    Seeds count as their own class whatever the network says, and void voxels belong to no segment. An annotator who
    leaves a stroke in every object leaves none in what a network invents.

    Shape:
        - logits: ``B K *S``.
        - scribble: ``B 1 *S``, integer.
        - output: ``B 1 *S`` bool.

    Example:
        >>> logits = torch.tensor([[[0.0, 0, 1, 1, 0, 0], [1, 1, 0, 0, 1, 1]]])
        >>> scribble = torch.tensor([[[255, 1, 255, 0, 255, 255]]])
        >>> seeded_segments(logits, scribble).int().tolist()  # nobody drew in the last one
        [[[1, 1, 1, 1, 0, 0]]]
    """
    seeds = seed_mask(scribble)
    classes = torch.where(seeds, scribble, logits.argmax(1, keepdim=True).to(scribble.dtype)).int() + 1
    classes = classes.masked_fill(void_mask(scribble), 0).squeeze(1)
    found = []
    for sample, seeded in zip(classes.numpy(force=True), seeds.squeeze(1).numpy(force=True)):
        segments = label(sample, background=0, connectivity=1)
        known = np.zeros(segments.max() + 1, bool)
        known[segments[seeded]] = True
        found.append(known[segments])
    return torch.from_numpy(np.stack(found)).unsqueeze(1).to(logits.device)
