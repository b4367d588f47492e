# SPDX-License-Identifier: Apache-2.0
"""Weights ``w_ij`` of Eq. (8) by contrast and distance: what grids and windows share."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from medwsss.terms.neighborhoods.offsets import Offset, OffsetNeighborhood, pairs
from medwsss.terms.simplex import ordered_sum

__all__ = ["ContrastNeighborhood", "voxel_sizes"]

#: A flat image has no contrast: every pair then weighs what its distance says, whatever the bandwidth.
EPSILON_CONTRAST = 1e-20


class ContrastNeighborhood(OffsetNeighborhood):
    """``w_ij = exp(−‖I_i − I_j‖² / 2β²)``, lowered by the distance ``d_ij`` in units of the smallest spacing.

    The fields are those of the dataclasses that are made of it.
    """

    bandwidth: float | str
    spacing: Sequence[float] | None
    smoothing: float

    def __post_init__(self) -> None:
        if self.bandwidth != "auto" and not (isinstance(self.bandwidth, int | float) and self.bandwidth > 0):
            raise ValueError(f'expected a positive bandwidth or "auto", got {self.bandwidth!r}')
        if self.spacing is not None and not all(size > 0 for size in self.spacing):
            raise ValueError(f"expected positive spacing, got {tuple(self.spacing)}")
        if not 0 <= self.smoothing < math.inf:
            raise ValueError(f"expected smoothing from 0, got {self.smoothing}")

    @abstractmethod
    def fall(self, w: Tensor, distance: float) -> Tensor:
        """Weights, which may be overwritten, of pairs at this distance, lowered by it."""

    def distance(self, offset: Offset) -> float:
        """``d_ij`` of one offset."""
        return math.hypot(*(o * s for o, s in zip(offset, self.voxel_sizes(len(offset)))))

    def voxel_sizes(self, ndim: int) -> list[float]:
        """Of a voxel along each axis, in units of its smallest."""
        return voxel_sizes(self.spacing, ndim)

    def smoothed(self, guide: Tensor, exists: Tensor | None = None) -> Tensor:
        """``Σ_j G_ij I_j / Σ_j G_ij`` over the voxels ``j`` that exist, so that what lies outside has no say.

        Args:
            guide: ``B C *S``.
            exists: ``B 1 *S`` bool, as in :meth:`weigh`.
        """
        if not self.smoothing:
            return guide
        inside = torch.ones_like(guide[:1, :1]) if exists is None else exists.to(guide.dtype)
        return self._spread(guide * inside) / self._spread(inside).clamp_min(torch.finfo(guide.dtype).tiny)

    def guide_reach(self, ndim: int) -> list[int]:
        """As :meth:`OffsetNeighborhood.guide_reach`: four standard deviations, where the Gaussian is cut off."""
        if self.bandwidth == "auto":
            raise ValueError('expected a bandwidth in numbers, got "auto", which looks at all of the guide')
        return [max(1, round(4 * self.smoothing / s)) if self.smoothing else 0 for s in self.voxel_sizes(ndim)]

    def _spread(self, x: Tensor) -> Tensor:
        """``Σ_j G_ij x_j``, axis by axis; ``G_ij`` is what voxel ``j`` holds of a Gaussian around ``i``."""
        for axis, size in enumerate(self.voxel_sizes(x.ndim - 2)):
            width = math.sqrt(2) * self.smoothing / size
            reach = max(1, round(4 * self.smoothing / size))
            out = x * math.erf(0.5 / width)
            for step in range(1, min(reach, x.shape[2 + axis] - 1) + 1):
                share = (math.erf((step + 0.5) / width) - math.erf((step - 0.5) / width)) / 2
                offset = [step * (a == axis) for a in range(x.ndim - 2)]
                for to, of in zip(pairs(out, offset), reversed(pairs(x, offset))):
                    to.add_(of, alpha=share)
            x = out
        return x

    def weigh(self, guide: Tensor, exists: Tensor | None = None) -> Callable[[Offset], Tensor]:
        """As :meth:`OffsetNeighborhood.weigh`; the automatic bandwidth counts pairs that exist."""
        guide = self.smoothed(guide, exists)
        precision = self._precision(guide, exists)

        def weight(offset: Offset) -> Tensor:
            w = self.fall(_contrast(guide, offset).mul_(-precision).exp_(), self.distance(offset))
            return w if exists is None else w.mul_(_both(exists, offset))

        return weight

    def _precision(self, guide: Tensor, exists: Tensor | None) -> Tensor | float:
        """``1 / 2β²``."""
        if self.bandwidth != "auto":
            return 0.5 / float(self.bandwidth) ** 2
        total, count = self.contrast(guide, exists)
        return (0.5 / (total / count.clamp_min(1)).clamp_min(EPSILON_CONTRAST)).reshape(-1, *[1] * (guide.ndim - 1))

    def contrast(self, guide: Tensor, exists: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """``Σ ‖I_i − I_j‖²`` over pairs that exist, and how many these are, both ``B``; their ratio is ``β²``.

        Args:
            guide: ``B C *S``, smoothed.
            exists: ``B 1 *S`` bool, as in :meth:`weigh`.
        """
        total, count = guide.new_zeros(len(guide)), guide.new_zeros(len(guide))
        for offset in self.offsets(guide.ndim - 2):
            contrast = _contrast(guide, offset)
            counted = torch.ones_like(contrast, dtype=torch.bool) if exists is None else _both(exists, offset)
            total += torch.where(counted, contrast, 0).flatten(1).sum(1)
            count += counted.flatten(1).sum(1)
        return total, count


def voxel_sizes(spacing: Sequence[float] | None, ndim: int) -> list[float]:
    """Of a voxel along each axis, in units of its smallest; ``None`` is isotropic.

    Raises:
        ValueError: for a spacing of another number of axes.
    """
    spacing = (1.0,) * ndim if spacing is None else tuple(spacing)
    if len(spacing) != ndim:
        raise ValueError(f"expected a spacing for each of {ndim} axes, got {spacing}")
    return [s / min(spacing) for s in spacing]


def _contrast(guide: Tensor, offset: Offset) -> Tensor:
    """``‖I_i − I_j‖²`` of each pair."""
    a, b = pairs(guide, offset)
    return ordered_sum((b - a).square_())


def _both(exists: Tensor, offset: Offset) -> Tensor:
    a, b = pairs(exists, offset)
    return a & b
