# SPDX-License-Identifier: Apache-2.0
"""Where a network's opinion counts: in segments that a seed stands behind."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from medwsss.terms.simplex import seed_mask, void_mask

__all__ = ["seeded_segments"]


def seeded_segments(logits: Tensor, scribble: Tensor) -> Tensor:
    """Voxels of the network's segments, of equal ``argmax_k σ_i^k`` and connected face to face, that seeds bear out.

    Those are the segments that hold a seed of their class, and of no other class half of its seeds or more (of a
    sample). An annotator who leaves a stroke in every object leaves none in what a network invents; and a network that
    has not learnt a class calls all its strokes something else, which it is then not to be believed about either.
    Void voxels belong to no segment.

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
    classes = logits.argmax(1).int().masked_fill(void_mask(scribble).squeeze(1), -1)
    marks = scribble.squeeze(1).int().masked_fill(~seed_mask(scribble).squeeze(1), -1)
    borne_out = [_borne_out(*maps, logits.shape[1]) for maps in zip(classes.numpy(force=True), marks.numpy(force=True))]
    return torch.from_numpy(np.stack(borne_out)).unsqueeze(1).to(logits.device)


def _borne_out(classes: np.ndarray, marks: np.ndarray, num_classes: int) -> np.ndarray:
    """Of one sample; −1 are void voxels in ``classes`` and voxels without a seed in ``marks``."""
    from skimage.measure import label  # late: where nobody asks for it, terms need PyTorch alone

    segments = label(classes, background=-1, connectivity=1)
    seeds = marks >= 0
    count = np.zeros((segments.max() + 1, num_classes), int)  # seeds by segment and class
    np.add.at(count, (segments[seeds], marks[seeds]), 1)
    own = np.zeros(count.shape, bool)
    own[segments.ravel(), classes.ravel()] = True
    own[0] = False  # void, which has no class
    contradicted = ((2 * count >= count.sum(0)) & (count > 0) & ~own).any(1)
    held = ((count > 0) & own).any(1)
    found: np.ndarray = (held & ~contradicted)[segments]
    return found
