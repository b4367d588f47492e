# SPDX-License-Identifier: Apache-2.0
"""Feature similarity: a quadratic Potts term on a window, whose weights are negative across colour edges."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from medwsss.terms.neighborhoods import OffsetNeighborhood, WindowNeighborhood, pairs
from medwsss.terms.neighborhoods.offsets import Offset, Weigh

__all__ = ["FeatureSimilarity", "dissimilarity"]


def dissimilarity(delta: Tensor, mu: float = 2.5) -> Tensor:
    """``f(δ) = tanh(μ + ln(δ / (1 − δ)))``, Eq. (12), from −1 (alike) to 1 (another thing).

    Computed as ``(aδ² − (1 − δ)²) / (aδ² + (1 − δ)²)``, ``a = e^{2μ}``, the same number without a logarithm's poles. It
    is 0 at ``δ = 1 / (1 + e^μ)``.

    Example:
        >>> dissimilarity(torch.tensor([0.0, 1 / (1 + math.exp(2.5)), 1.0])).round(decimals=5).tolist()
        [-1.0, 0.0, 1.0]
    """
    apart, alike = delta.square().mul_(math.exp(2 * mu)), (1 - delta).square_()
    return (apart - alike).div_(apart.add_(alike))


@dataclass(frozen=True)
class FeatureSimilarity(OffsetNeighborhood):
    """``−(2/|Ω|) G_ij f(δ_ij)`` for each unordered pair of a window: with ``½‖g_i − g_j‖²`` it sums up to Eq. (9).

    ``G_ij = (2πσ²)^{−d/2} exp(−d_ij² / 2σ²)``, Eq. (10) for ``d`` axes, and ``δ_ij = ‖x_i − x_j‖₁ / C``, Eq. (13). Eq.
    (9) sums over all ordered pairs; here they end where ``G`` is small: beyond ``3σ`` lies about 1 % of the sum.

    Args:
        mu: ``μ``: at which dissimilarity the sign changes, ``1 / (1 + e^μ)``.
        sigma: ``σ``, in cells of the map, along its finest axis.
        radius: of the window, in the same unit; default: ``3σ``.
        spacing: size of a cell along each axis in any one unit; ``None`` is isotropic.

    The guide is in [0, 1]. ``|Ω|`` are the sample's cells that exist.

    Source: Jonnarth et al., WACV 2024, Eq. (9) to (13).
    """

    mu: float = 2.5
    sigma: float = 5.0
    radius: float | None = None
    spacing: Sequence[float] | None = None

    def __post_init__(self) -> None:
        if not self.sigma > 0:
            raise ValueError(f"expected a positive sigma, got {self.sigma}")
        self.window.offsets(1 if self.spacing is None else len(self.spacing))  # a window that is none says so

    @cached_property
    def window(self) -> WindowNeighborhood:
        """Whose offsets and distances these are."""
        radius = 3 * self.sigma if self.radius is None else self.radius
        return WindowNeighborhood(radius, bandwidth=math.inf, spacing=self.spacing)

    def offsets(self, ndim: int) -> list[Offset]:
        """Half the window."""
        return self.window.offsets(ndim)

    def weigh(self, guide: Tensor, exists: Tensor | None = None) -> Weigh:
        """As :meth:`OffsetNeighborhood.weigh`."""
        ndim = guide.ndim - 2
        cells = guide.new_tensor(guide[0, 0].numel()) if exists is None else exists.flatten(1).sum(1).clamp_min(1)
        # a cell is that much of a unit square (cube), over which G is 1 in all
        share = math.prod(self.window.voxel_sizes(ndim)) / (2 * math.pi * self.sigma**2) ** (ndim / 2)
        scale = (-2 * share / cells.to(guide.dtype)).reshape(-1, *[1] * (guide.ndim - 1))

        def weight(offset: Offset) -> Tensor:
            x_i, x_j = pairs(guide, offset)
            delta = (x_i - x_j).abs_().mean(1, keepdim=True)
            fall = math.exp(-(self.window.distance(offset) ** 2) / (2 * self.sigma**2))
            w = dissimilarity(delta, self.mu).mul_(scale * fall)
            if exists is None:
                return w
            e_i, e_j = pairs(exists, offset)
            return w.mul_(e_i & e_j)

        return weight

    def energy(self, maps: Tensor, sample: Tensor, guide: Tensor, exists: Tensor | None = None) -> Tensor:
        """``Σ_ij w_ij ½(g_i − g_j)²`` of single maps, ``M``; autograd goes through it, once.

        The same as :meth:`bind` of the quadratic relaxation, in a tenth of the time: samples have a map for each of
        their tags and none for others.

        Args:
            maps: ``M 1 *S``.
            sample: ``M``, of which sample of the guide each map is.
            guide: ``B C *S``.
            exists: ``B 1 *S`` bool.
        """
        value: Tensor = _QuadraticForm.apply(maps, sample, self.weigh(guide, exists), self.offsets(guide.ndim - 2))
        return value


class _QuadraticForm(torch.autograd.Function):
    """``½ gᵀ L g`` with ``L`` the Laplacian of signed weights, so that ``L g`` is both gradient and, nearly, value."""

    @staticmethod
    def forward(ctx: Any, maps: Tensor, sample: Tensor, weigh: Weigh, offsets: Sequence[Offset]) -> Tensor:
        gradient = torch.zeros_like(maps)
        for offset in offsets:
            if any(abs(o) >= n for o, n in zip(offset, maps.shape[2:])):
                continue
            g_i, g_j = pairs(maps, offset)
            flow = (g_i - g_j).mul_(weigh(offset)[sample])
            at_i, at_j = pairs(gradient, offset)
            at_i.add_(flow)
            at_j.sub_(flow)
        ctx.save_for_backward(gradient)
        return (maps * gradient).flatten(1).sum(1) / 2

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, outer: Tensor) -> tuple[Tensor | None, ...]:
        """``∂/∂g``."""
        (gradient,) = ctx.saved_tensors
        return outer.reshape(-1, *[1] * (gradient.ndim - 1)) * gradient, None, None, None
