# SPDX-License-Identifier: Apache-2.0
"""Random walks on image affinities, which carry activation over to what looks alike: the usual refiner of maps."""

from __future__ import annotations

import torch
from torch import Tensor

from medwsss.terms.neighborhoods.offsets import OffsetNeighborhood, pairs

__all__ = ["affinity_walk"]


def affinity_walk(
    maps: Tensor, guide: Tensor, neighborhood: OffsetNeighborhood, steps: int = 256, exists: Tensor | None = None
) -> Tensor:
    """``r_c ← Tᵗ r_c`` with ``T = D⁻¹ W``, ``w_ii = 1`` and ``D`` the row sums of ``W``.

    A step is a sum over the neighbourhood's pairs, so it takes the memory of their weights and none of a matrix of all
    pairs. Publications raise affinities to a power of 8 or so first; that of Gaussians is one of a smaller bandwidth.

    Args:
        maps: ``B C *S``.
        guide: ``B C' *S``, whose contrasts are affinities.
        neighborhood: a list of offsets, with weights that are not negative.
        steps: ``t``.
        exists: ``B 1 *S`` bool, false where there is no image; such voxels keep what they have.

    Example:
        >>> from medwsss.terms.neighborhoods import GridNeighborhood
        >>> maps, guide = torch.tensor([[[1.0, 0.0, 0.0]]]), torch.tensor([[[0.0, 0.0, 99.0]]])
        >>> affinity_walk(maps, guide, GridNeighborhood(bandwidth=1.0), steps=1).tolist()  # half stays, half is shared
        [[[0.5, 0.5, 0.0]]]

    Source: Ahn & Kwak, Learning Pixel-level Semantic Affinity with Image-level Supervision, CVPR 2018, §3.3, there with
    learnt affinities; Vernaza & Chandraker, Learning Random-Walk Label Propagation, CVPR 2017.
    """
    ndim = guide.ndim - 2
    weighted = list(zip(neighborhood.offsets(ndim), neighborhood.iter_weights(guide, exists)))

    def spread(x: Tensor) -> Tensor:
        total = x.clone()
        for offset, w in weighted:
            p, q = pairs(x, offset)
            for at, other in zip(pairs(total, offset), (q, p)):
                at.addcmul_(w, other)
        return total

    degree = spread(torch.ones_like(maps[:, :1]))
    for _ in range(steps):
        maps = spread(maps).div_(degree)
    return maps
