# SPDX-License-Identifier: Apache-2.0
"""What pseudo-labels owe to whom."""

from __future__ import annotations

import numpy as np
import torch
from skimage import measure
from torch import Tensor

from medwsss.terms.simplex import seed_mask, void_mask

__all__ = ["decided_by"]


def decided_by(labels: Tensor, network: Tensor, scribble: Tensor) -> tuple[int, int, int]:
    """How many voxels of a sample owe their pseudo-label to seeds, to edges, and to the network.

    A free voxel with the network's own label is the network's. Another label came over pairs: from a seed where the
    changed voxels of this label around it, face to face, reach a seed of it; otherwise from where the network has that
    label, so that all that pairs did was to move the network's border to an edge. Seeds themselves are the seeds'.

    Args:
        labels: ``argmax y``, ``*S``.
        network: ``argmax σ``, ``*S``.
        scribble: ``*S``.

    Example:
        >>> labels, network = torch.tensor([0, 0, 0, 1, 1]), torch.tensor([1, 1, 1, 1, 0])
        >>> decided_by(labels, network, torch.tensor([0, 255, 255, 255, 255]))
        (3, 1, 1)
    """
    seeds, void = seed_mask(scribble), void_mask(scribble)
    pulled = ~void & (seeds | (labels != network))
    linked = measure.label(torch.where(pulled, labels + 1, 0).numpy(force=True), connectivity=1)
    seeded = np.zeros(linked.max() + 1, dtype=bool)
    seeded[linked[seeds.numpy(force=True)]] = True
    by_seeds, by_pairs = int(seeded[linked].sum()), int(pulled.sum())
    return by_seeds, by_pairs - by_seeds, int((~void).sum()) - by_pairs
