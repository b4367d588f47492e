# SPDX-License-Identifier: Apache-2.0
"""Random pairs of voxels far apart: the sparse non-local neighbourhood."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from medwsss.terms.neighborhoods.base import PairTerm
from medwsss.terms.neighborhoods.gaussian import GaussianNeighborhood
from medwsss.terms.relaxations import Relaxation

__all__ = ["ListPairs", "SparseNonlocalNeighborhood"]


@dataclass(frozen=True)
class SparseNonlocalNeighborhood(GaussianNeighborhood):
    """Random pairs anywhere in an image of 1, 2 or 3 axes.

    ``w_ij = exp(−d_ij² / 2s² − ‖I_i − I_j‖² / 2β²)`` as in :class:`DenseNeighborhood`, of which it is a sample; without
    ``s`` distance does not count. All relaxations can be had. Images of one size have the same pairs.

    Args:
        pairs_per_voxel: how many random partners each voxel draws; it is drawn by about as many.
        bandwidth: ``β`` in the guide's units.
        spatial_bandwidth: ``s`` in units of the smallest spacing, or ``None``.
        spacing: voxel size along each spatial axis in any one unit (mm); ``None`` is isotropic.
        seed: of the draw.

    Raises:
        ValueError: for fewer than one pair a voxel, or a bandwidth or spacing that is not positive.

    Source: Veksler & Boykov, Sparse Non-Local CRF, CVPR 2022.

    Example::

        >>> first, second = SparseNonlocalNeighborhood(pairs_per_voxel=2, bandwidth=9.0).pairs((8, 8))
        >>> len(first) <= 2 * 64, bool((first < second).all())
        (True, True)
    """

    pairs_per_voxel: int
    bandwidth: float
    spatial_bandwidth: float | None = None
    spacing: Sequence[float] | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.pairs_per_voxel < 1:
            raise ValueError(f"expected pairs_per_voxel from 1, got {self.pairs_per_voxel}")

    def pairs(self, shape: Sequence[int]) -> Tensor:
        """Flat indices ``i < j`` of each pair, ``2 × pairs``, each unordered pair once."""
        count = torch.Size(shape).numel()
        generator = torch.Generator().manual_seed(self.seed)
        one = torch.arange(count).repeat(self.pairs_per_voxel)
        other = torch.randint(count, one.shape, generator=generator)
        ends = torch.stack([torch.minimum(one, other), torch.maximum(one, other)])
        once: Tensor = ends[:, ends[0] < ends[1]].unique(dim=1)
        return once

    def bind(
        self,
        relaxation: Relaxation,
        guide: Tensor,
        exists: Tensor | None = None,
        free: Tensor | None = None,
        scale: float = 1.0,
        weights: Sequence[Tensor] | None = None,
    ) -> ListPairs:
        """As :meth:`Neighborhood.bind`; ``weights`` is one tensor, ``B × pairs``."""
        first, second = self.pairs(guide.shape[2:]).to(guide.device)
        if weights is None:
            positions = self.positions(guide.shape[2:], guide).expand(len(guide), -1, -1)
            features = torch.cat([positions, self.contrasts(guide, exists)], 1)
            w = torch.exp(-(features[..., first] - features[..., second]).square().sum(1) / 2)
        else:
            (w,) = weights
        for mask, both in ((exists, torch.logical_and), (free, torch.logical_or)):
            if mask is not None:
                w = w * both(mask.flatten(1)[:, first], mask.flatten(1)[:, second])
        return ListPairs(relaxation, first, second, w * scale)


class ListPairs(PairTerm):
    """``Σ w_ij P(y_i, y_j)`` over a list of pairs.

    Args:
        relaxation: ``P``.
        first: flat index of ``i`` of each pair.
        second: of ``j``.
        w: ``B × pairs``.
    """

    def __init__(self, relaxation: Relaxation, first: Tensor, second: Tensor, w: Tensor) -> None:
        self.relaxation, self.first, self.second, self.w = relaxation, first, second, w

    def value(self, y: Tensor) -> Tensor:
        """The sum over each sample's pairs, ``B``."""
        p, q = (y.flatten(2)[..., end] for end in (self.first, self.second))
        return (self.w * self.relaxation(p, q)).sum(1)

    def model(self, y: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The sum, its derivative and its curvature, as :meth:`OffsetPairs.model` has them."""
        flat = y.flatten(2)
        p, q = flat[..., self.first], flat[..., self.second]
        norms = ((p * p).sum(1, keepdim=True), (q * q).sum(1, keepdim=True))
        potential, s_pq, s_pp, s_qq = self.relaxation.slopes((p * q).sum(1, keepdim=True), *norms)
        w = self.w.unsqueeze(1)
        gradient, curvature = torch.zeros_like(flat), torch.zeros_like(flat[:, :1])
        for end, own, other, radial in ((self.first, p, q, s_pp), (self.second, q, p, s_qq)):
            gradient.index_add_(2, end, w * (s_pq * other + 2 * radial * own))
            curvature.index_add_(2, end, (w * s_pq).abs().expand_as(w))
        return (w * potential).flatten(1).sum(1), gradient.reshape(y.shape), curvature.reshape(y[:, :1].shape)
