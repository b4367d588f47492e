# SPDX-License-Identifier: Apache-2.0
"""Total variation of predictions, alone and in the Mumford–Shah functional."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from medwsss.losses.penalized import PenalizedLoss, mean_where_exists
from medwsss.terms.neighborhoods import pairs
from medwsss.terms.neighborhoods.contrast import voxel_sizes
from medwsss.terms.simplex import void_mask

__all__ = ["MumfordShahLoss", "TotalVariationLoss", "total_variation"]

FLAT = 1e-8  #: added below the root, which is not differentiable at 0; its own root is taken off


def total_variation(sigma: Tensor, exists: Tensor, spacing: Sequence[float] | None = None) -> Tensor:
    """``Σ_k sqrt(Σ_a ((σ^k_{i+a} − σ^k_i) / h_a)²)``, ``B *S``: isotropic, by forward differences along each axis.

    Args:
        sigma: ``B K *S``.
        exists: ``B 1 *S`` bool; differences to what does not exist are 0, and so are those beyond the border.
        spacing: voxel size along each axis in any one unit; ``h_a`` is in units of the smallest.
    """
    squares = torch.full_like(sigma, FLAT)
    axes = torch.eye(sigma.ndim - 2, dtype=torch.long).tolist()
    for offset, size in zip(axes, voxel_sizes(spacing, sigma.ndim - 2)):
        (here, there), (a, b) = pairs(sigma, offset), pairs(exists, offset)
        step = torch.zeros_like(sigma)
        pairs(step, offset)[0].copy_((there - here) * (a & b) / size)
        squares = squares + step.square()
    variation: Tensor = (squares.sqrt() - FLAT**0.5).sum(1)
    return variation


class TotalVariationLoss(PenalizedLoss):
    """``R = (1/N) Σ_i Σ_k |∇σ_i^k|`` over voxels that exist, see :func:`total_variation`.

    Args:
        weight: of ``R``.
        spacing: voxel size along each axis; ``None`` is isotropic.
        dice_weight: as in :class:`PenalizedLoss`.

    Example:
        >>> target = {"scribble": torch.tensor([[[0, 255, 255, 1]]]), "guide": torch.zeros(1, 1, 4)}
        >>> step = torch.tensor([[[50.0, 50, -50, -50]]])
        >>> round(TotalVariationLoss(1.0)(torch.cat([step, -step], 1), target).item(), 2)  # two classes, 4 places
        0.5

    Source: Rudin, Osher & Fatemi, Physica D 1992.
    """

    def __init__(self, weight: float = 0.1, spacing: Sequence[float] | None = None, dice_weight: float = 0.0) -> None:
        super().__init__(weight, dice_weight)
        self.spacing = spacing

    def penalty(self, sigma: Tensor, guide: Tensor, scribble: Tensor) -> Tensor:
        """``R``."""
        return mean_where_exists(total_variation(sigma, ~void_mask(scribble), self.spacing), scribble)


class MumfordShahLoss(TotalVariationLoss):
    """``R = (1/N) Σ_i [Σ_k ‖I_i − c_k‖² σ_i^k + μ Σ_k |∇σ_i^k|]``, ``c_k = Σ_i σ_i^k I_i / Σ_i σ_i^k`` in each image.

    Args:
        weight: of ``R``.
        mu: ``μ``, of the total variation.
        spacing: voxel size along each axis; ``None`` is isotropic.
        scale: unit of the guide ``I``: 1 for intensities from 0 to 1, 255 for grey levels.
        dice_weight: as in :class:`PenalizedLoss`.

    Raises:
        ValueError: for a scale that is not positive, or a negative weight or ``mu``.

    Source: Kim & Ye, Mumford–Shah Loss Functional for Image Segmentation, TIP 2020, Eq. (9).
    """

    def __init__(
        self,
        weight: float = 1.0,
        mu: float = 0.01,
        spacing: Sequence[float] | None = None,
        scale: float = 1.0,
        dice_weight: float = 0.0,
    ) -> None:
        super().__init__(weight, spacing, dice_weight)
        if mu < 0 or scale <= 0:
            raise ValueError(f"expected mu >= 0 and a positive scale, got {mu} and {scale}")
        self.mu, self.scale = mu, scale

    def penalty(self, sigma: Tensor, guide: Tensor, scribble: Tensor) -> Tensor:
        """``R``."""
        exists = ~void_mask(scribble)
        image = torch.where(exists, guide, 0) / self.scale
        of_class = (sigma * exists).flatten(2)
        mass = of_class.sum(2).clamp_min(torch.finfo(sigma.dtype).tiny)
        means = torch.einsum("bkn,bcn->bkc", of_class, image.flatten(2)) / mass.unsqueeze(2)
        apart = (image.unsqueeze(1) - means.reshape(*means.shape, *[1] * (sigma.ndim - 2))).square().sum(2)
        within = mean_where_exists((sigma * apart).sum(1), scribble)
        return within + self.mu * super().penalty(sigma, guide, scribble)
