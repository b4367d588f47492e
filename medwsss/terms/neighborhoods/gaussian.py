# SPDX-License-Identifier: Apache-2.0
"""Weights ``w_ij`` that are a Gaussian of position and contrast: what dense and sparse neighbourhoods share."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from medwsss.terms.neighborhoods.base import Neighborhood
from medwsss.terms.neighborhoods.contrast import voxel_sizes

__all__ = ["GaussianNeighborhood"]


class GaussianNeighborhood(Neighborhood):
    """``w_ij = exp(−d_ij² / 2s² − ‖I_i − I_j‖² / 2β²)``, ``d_ij`` in units of the smallest spacing.

    The fields are those of the dataclasses that are made of it.
    """

    spatial_bandwidth: float | None
    bandwidth: float
    spacing: Sequence[float] | None

    def __post_init__(self) -> None:
        for name in ("spatial_bandwidth", "bandwidth"):
            value = getattr(self, name)
            if value is not None and not (isinstance(value, int | float) and 0 < value < float("inf")):
                raise ValueError(f"expected a positive {name} for {type(self).__name__}, got {value!r}")
        if self.spacing is not None and not all(size > 0 for size in self.spacing):
            raise ValueError(f"expected positive spacing, got {tuple(self.spacing)}")

    def positions(self, shape: Sequence[int], like: Tensor) -> Tensor:
        """Of every voxel in units of ``s``, axes × ``N``; no axes without ``s``."""
        if self.spatial_bandwidth is None:
            return like.new_zeros(0, torch.Size(shape).numel())
        sizes = [size / self.spatial_bandwidth for size in voxel_sizes(self.spacing, len(shape))]
        axes = [size * torch.arange(n, dtype=like.dtype, device=like.device) for n, size in zip(shape, sizes)]
        return torch.stack(torch.meshgrid(*axes, indexing="ij")).flatten(1)

    def contrasts(self, guide: Tensor, exists: Tensor | None) -> Tensor:
        """In units of ``β``, ``B C N``; where there is no image the contrast is 0, and nothing asks for it.

        Raises:
            ValueError: for a guide that is not finite.
        """
        if not guide.isfinite().all():
            raise ValueError("expected a finite guide, got NaN or inf")
        return (guide if exists is None else torch.where(exists, guide, 0)).flatten(2) / self.bandwidth
