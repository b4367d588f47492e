# SPDX-License-Identifier: Apache-2.0
"""Which pairs ``ij ∈ N`` the Potts term looks at, and the weights ``w_ij`` of Eq. (8)."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

__all__ = ["GridNeighborhood", "pairs"]


def pairs(x: Tensor, offset: Sequence[int]) -> tuple[Tensor, Tensor]:
    """Views ``(x_i, x_j)`` of ``x`` (``B C *S``) over all voxel pairs ``j = i + offset``, each ``B C *S_pairs``."""
    head, tail = [slice(None)] * 2, [slice(None)] * 2
    for step, size in zip(offset, x.shape[2:]):
        head.append(slice(max(0, -step), max(0, size - max(0, step))))
        tail.append(slice(max(0, step), max(0, size - max(0, -step))))
    return x[tuple(head)], x[tuple(tail)]


@dataclass(frozen=True)
class GridNeighborhood:
    """Nearest neighbours on a grid of 1, 2 or 3 axes, with contrast weights.

    ``w_ij = exp(−‖I_i − I_j‖² / 2β²) / d_ij``, with ``‖·‖²`` summed over the guide's channels and ``d_ij`` the distance
    of the two voxels in units of the smallest spacing. ``I`` is the guide, smoothed a little if so asked: noise in one
    voxel makes all of its pairs look like borders, and labels do not pass.

    Args:
        connectivity: how many axes a step may move along: 1 is 4 neighbours in 2-D and 6 in 3-D, 2 is 8 and 18, 3 is
            26 in 3-D. More than the guide has axes means all of them.
        bandwidth: ``β`` in the guide's units (9 grey levels of 255 for natural images in the paper), or ``"auto"``:
            ``β²`` is the mean of ``‖I_i − I_j‖²`` over the sample's own pairs.
        spacing: voxel size along each spatial axis in any one unit (mm); ``None`` is isotropic. A step along a coarse
            axis is longer and weighs less.
        smoothing: standard deviation of the Gaussian that smooths the guide, in units of the smallest spacing; 0 takes
            the guide as it is. Smoothing lowers contrasts, so the bandwidth should be lower too.

    Raises:
        ValueError: for a connectivity below 1, a bandwidth that is neither positive nor ``"auto"``, a spacing that is
            not positive, or a smoothing that is negative or not finite.
    """

    connectivity: int = 1
    bandwidth: float | str = "auto"
    spacing: Sequence[float] | None = None
    smoothing: float = 0.0

    def __post_init__(self) -> None:
        if self.connectivity < 1:
            raise ValueError(f"expected connectivity 1, 2 or 3, got {self.connectivity}")
        if self.bandwidth != "auto" and not (isinstance(self.bandwidth, int | float) and self.bandwidth > 0):
            raise ValueError(f'expected a positive bandwidth or "auto", got {self.bandwidth!r}')
        if self.spacing is not None and not all(size > 0 for size in self.spacing):
            raise ValueError(f"expected positive spacing, got {tuple(self.spacing)}")
        if not 0 <= self.smoothing < math.inf:
            raise ValueError(f"expected smoothing from 0, got {self.smoothing}")

    def offsets(self, ndim: int) -> list[tuple[int, ...]]:
        """Half the neighbourhood, so that each unordered pair comes once.

        1, 2 or 3 offsets on 1, 2 or 3 axes at connectivity 1, up to 1, 4 or 13.
        """
        steps = itertools.product((-1, 0, 1), repeat=ndim)
        origin = (0,) * ndim
        return [step for step in steps if step > origin and sum(map(abs, step)) <= self.connectivity]

    def distances(self, ndim: int) -> list[float]:
        """``d_ij`` for each of :meth:`offsets`, in units of the smallest spacing."""
        sizes = self._sizes(ndim)
        return [math.hypot(*(o * s for o, s in zip(offset, sizes))) for offset in self.offsets(ndim)]

    def _sizes(self, ndim: int) -> list[float]:
        """Of a voxel, in units of its smallest."""
        spacing = (1.0,) * ndim if self.spacing is None else tuple(self.spacing)
        if len(spacing) != ndim:
            raise ValueError(f"expected a spacing for each of {ndim} axes, got {spacing}")
        return [s / min(spacing) for s in spacing]

    def smoothed(self, guide: Tensor, exists: Tensor | None = None) -> Tensor:
        """``Σ_j G_ij I_j / Σ_j G_ij`` over the voxels ``j`` that exist, so that what lies outside has no say.

        Args:
            guide: ``B C *S``.
            exists: ``B 1 *S`` bool, as in :meth:`weights`.
        """
        if not self.smoothing:
            return guide
        inside = torch.ones_like(guide[:1, :1]) if exists is None else exists.to(guide.dtype)
        return self._spread(guide * inside) / self._spread(inside).clamp_min(torch.finfo(guide.dtype).tiny)

    def _spread(self, x: Tensor) -> Tensor:
        """``Σ_j G_ij x_j``, axis by axis; ``G_ij`` is what voxel ``j`` holds of a Gaussian around ``i``."""
        for axis, size in enumerate(self._sizes(x.ndim - 2)):
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

    def weights(self, guide: Tensor, exists: Tensor | None = None) -> list[Tensor]:
        """``w_ij`` for each of :meth:`offsets`.

        Args:
            guide: ``B C *S``, what contrast is measured on.
            exists: ``B 1 *S`` bool, false where there is no image (``VOID``): such pairs weigh 0 and don't count for
                the automatic bandwidth.

        Returns:
            one ``B 1 *S_pairs`` tensor an offset, in the guide's floating type (float32 at least).
        """
        guide = self.smoothed(guide.to(torch.promote_types(guide.dtype, torch.float32)), exists)
        offsets = self.offsets(guide.ndim - 2)
        contrasts = [(b - a).square_().sum(1, keepdim=True) for a, b in (pairs(guide, o) for o in offsets)]
        both = [torch.ones_like(c, dtype=torch.bool) for c in contrasts]
        if exists is not None:
            both = [a & b for a, b in (pairs(exists, o) for o in offsets)]
        precision: Tensor | float
        if self.bandwidth == "auto":
            total = sum((torch.where(m, c, 0).flatten(1).sum(1) for c, m in zip(contrasts, both)), start=0.0)
            count = sum((m.flatten(1).sum(1) for m in both), start=0.0)
            variance = (torch.as_tensor(total) / torch.as_tensor(count).clamp_min(1)).clamp_min(EPSILON_CONTRAST)
            precision = (0.5 / variance).reshape(-1, *[1] * (guide.ndim - 1))
        else:
            precision = 0.5 / float(self.bandwidth) ** 2
        distances = self.distances(guide.ndim - 2)
        return [c.mul_(-precision).exp_().div_(d).mul_(m) for c, m, d in zip(contrasts, both, distances)]


#: A flat image has no contrast: every pair then weighs 1 / d_ij, whatever the bandwidth.
EPSILON_CONTRAST = 1e-20
