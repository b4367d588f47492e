# SPDX-License-Identifier: Apache-2.0
"""All pairs of voxels: the dense neighbourhood of fully connected CRFs, by filtering."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from medwsss.terms.bilateral_grid import BilateralGrid
from medwsss.terms.neighborhoods.base import PairTerm
from medwsss.terms.neighborhoods.gaussian import GaussianNeighborhood
from medwsss.terms.relaxations import RELAXATIONS, Relaxation, bilinear, normalized_quadratic, quadratic

__all__ = ["DenseNeighborhood", "DensePairs"]

#: What filtering serves: relaxations that are second-order in labels, or in labels of unit length.
SERVED = {bilinear.name, quadratic.name, normalized_quadratic.name}


@dataclass(frozen=True)
class DenseNeighborhood(GaussianNeighborhood):
    """Every pair of voxels on 1, 2 or 3 axes.

    ``w_ij = exp(−d_ij² / 2s² − ‖I_i − I_j‖² / 2β²)`` with the distance ``d_ij`` in units of the smallest spacing. Sums
    over pairs are filters (:mod:`medwsss.terms.bilateral_grid`), so only relaxations that are of second order can be
    had: bilinear, quadratic and normalized quadratic. They are within 2 % of the exact sums in the norm over an image,
    single ones within 3 %, and within 5 % where there are only a few voxels.

    Weights add up over the image: a voxel's may be hundreds, and ``λ`` should be smaller by as much than on a grid.

    Args:
        spatial_bandwidth: ``s`` in units of the smallest spacing: in the field 100 on images of about 500 pixels.
        bandwidth: ``β`` in the guide's units: in the field 15 grey levels of 255 on the network, 9 in labels.
        spacing: voxel size along each spatial axis in any one unit (mm); ``None`` is isotropic.

    Raises:
        ValueError: for a bandwidth or spacing that is not positive.

    Source: Krähenbühl & Koltun, NIPS 2011; Tang et al., ECCV 2018; §3.3 of Zhang & Boykov, CVPR 2025.

    Example::

        >>> ramp = torch.arange(100.0)
        >>> exact = ((ramp - ramp[:, None]) ** 2 * (100**-2 + 9**-2) / -2).exp().sum(1) - 1
        >>> filtered = DenseNeighborhood(100.0, 9.0).filter(torch.ones(1, 1, 100), ramp.reshape(1, 1, 100))
        >>> bool((filtered - exact).norm() < 0.02 * exact.norm())
        True
    """

    spatial_bandwidth: float
    bandwidth: float
    spacing: Sequence[float] | None = None

    def check(self, relaxation: Relaxation) -> None:
        """As :meth:`Neighborhood.check`: those that are no quadratic form are refused."""
        if relaxation.name not in SERVED:
            raise ValueError(
                f"expected a relaxation that a filter can serve for DenseNeighborhood, {', '.join(sorted(SERVED))}, "
                f"got {relaxation.name!r}; grid, window and sparse neighbourhoods serve all {len(RELAXATIONS)}"
            )

    def grids(self, guide: Tensor, exists: Tensor | None = None) -> list[BilateralGrid]:
        """One a sample; arguments as in :meth:`filter`."""
        positions = self.positions(guide.shape[2:], guide)
        return [BilateralGrid(positions, contrasts) for contrasts in self.contrasts(guide, exists)]

    def filter(self, values: Tensor, guide: Tensor, exists: Tensor | None = None) -> Tensor:
        """``Σ_{j≠i} w_ij v_j`` over voxels ``j`` that exist, at voxels ``i`` that do.

        Args:
            values: ``B K *S``; derivatives go through to them.
            guide: ``B C *S``, what contrast is measured on, of a floating type.
            exists: ``B 1 *S`` bool, false where there is no image (``VOID``).

        Returns:
            ``B K *S`` of the values' type.
        """
        there = 1 if exists is None else exists.to(values.dtype)
        return _filtered(self.grids(guide.to(values.dtype), exists), values * there) * there

    def bind(
        self,
        relaxation: Relaxation,
        guide: Tensor,
        exists: Tensor | None = None,
        free: Tensor | None = None,
        scale: float = 1.0,
        weights: Sequence[Tensor] | None = None,
    ) -> DensePairs:
        """As :meth:`Neighborhood.bind`; there are no ``weights`` to have."""
        self.check(relaxation)
        if weights is not None:
            raise ValueError("expected no weights for DenseNeighborhood, which filters, got some")
        there = torch.ones_like(guide[:, :1]) if exists is None else exists.to(guide.dtype)
        return DensePairs(relaxation, self.grids(guide, exists), there, free, scale)


class DensePairs(PairTerm):
    """``Σ w_ij P(y_i, y_j)`` over all pairs.

    With ``W`` the weights of the pairs that count and ``d = W1``: BL is ``½ Σ_i d_i − ½ y·Wy``, Q is
    ``½ Σ_i d_i ‖y_i‖² − ½ y·Wy``, and NQ is BL of ``y_i / ‖y_i‖``.

    Args:
        relaxation: ``P``, one of BL, Q and NQ.
        grids: one a sample.
        exists: ``B 1 *S``, 1 where there is an image, else 0.
        free: as in :meth:`Neighborhood.bind`.
        scale: as there.
    """

    def __init__(
        self, relaxation: Relaxation, grids: Sequence[BilateralGrid], exists: Tensor, free: Tensor | None, scale: float
    ) -> None:
        self.relaxation, self.grids, self.exists, self.scale = relaxation, grids, exists, scale
        self.free = None if free is None or bool((free >= (exists > 0)).all()) else free.to(exists.dtype) * exists
        self._known: dict[int, tuple[Tensor, Tensor]] = {}  # by channels: of given voxels, and filtered
        self.degree = self._weighted(torch.ones_like(exists))

    def value(self, y: Tensor) -> Tensor:
        """The sum over each sample's pairs, ``B``."""
        u = self._unit(y)
        return self._sum(y, u, self._weighted(u))

    def model(self, y: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The sum, its derivative and its curvature; one filter of the labels."""
        u = self._unit(y)
        weighted = self._weighted(u)
        value, gradient = self._sum(y, u, weighted), -weighted
        if self.relaxation == quadratic:
            return value, gradient + self.degree * y, self.degree.clone()
        if self.relaxation == bilinear:
            return value, gradient, self.degree.clone()
        shrink = y.square().sum(1, keepdim=True).rsqrt()
        gradient = shrink * (gradient - u * (u * gradient).sum(1, keepdim=True))
        return value, gradient, shrink * self._weighted(shrink)

    def _unit(self, y: Tensor) -> Tensor:
        return y / y.square().sum(1, keepdim=True).sqrt() if self.relaxation == normalized_quadratic else y

    def _sum(self, y: Tensor, u: Tensor, weighted: Tensor) -> Tensor:
        alone = self.degree * y.square().sum(1, keepdim=True) if self.relaxation == quadratic else self.degree
        return (alone.flatten(1).sum(1) - (u * weighted).flatten(1).sum(1)) / 2

    def _weighted(self, x: Tensor) -> Tensor:
        """``Wx``, in which pairs of two given voxels and those that do not exist weigh nothing."""
        if self.free is None:
            return self.scale * self.exists * _filtered(self.grids, self.exists * x)
        given = self.exists - self.free
        of_free = _filtered(self.grids, self.free * x)
        return self.scale * (self.exists * of_free + self.free * self._of_given(given * x))

    def _of_given(self, x: Tensor) -> Tensor:
        """The filtered part of given voxels, which is the same in all of a solve."""
        if x.requires_grad:
            return _filtered(self.grids, x)
        known = self._known.get(x.shape[1])
        if known is None or not torch.equal(known[0], x):
            known = self._known[x.shape[1]] = x, _filtered(self.grids, x)
        return known[1]


def _filtered(grids: Sequence[BilateralGrid], values: Tensor) -> Tensor:
    return torch.stack([grid.filter(v.flatten(1)).reshape(v.shape) for grid, v in zip(grids, values)])
