# SPDX-License-Identifier: Apache-2.0
"""Normalised cut of predictions, and kernel cut, which adds the Potts term."""

from __future__ import annotations

import torch
from torch import Tensor

from medwsss.losses.penalized import PenalizedLoss
from medwsss.terms.neighborhoods import GridNeighborhood, Neighborhood
from medwsss.terms.relaxations import bilinear
from medwsss.terms.simplex import void_mask

__all__ = ["NormalizedCutLoss"]


class NormalizedCutLoss(PenalizedLoss):
    """``R = (1/B) Σ_b Σ_k σ^k·W(1 − σ^k) / d·σ^k + (λ/N) Σ_{ij} w_ij P_BL(σ_i, σ_j)``, with ``d = W1``.

    A ratio for each class of each image, so ``R`` is never negative, and ``K − 1`` where predictions say nothing. With
    ``λ = 0`` it is the normalised cut; kernel cut adds the Potts term of the same weights.

    Args:
        weight: of ``R``.
        neighborhood: ``W``; every one will do.
        lam: ``λ``, of the Potts term, a mean over the ``N`` voxels of the batch that exist.
        dice_weight: as in :class:`PenalizedLoss`.

    Raises:
        ValueError: for a negative weight or ``lam``.

    Source: Tang et al., Normalized Cut Loss for Weakly-supervised CNN Segmentation, CVPR 2018, Eq. (3); On Regularized
    Losses for Weakly-supervised CNN Segmentation, ECCV 2018 (kernel cut).

    Example:
        >>> loss = NormalizedCutLoss(1.0, GridNeighborhood(bandwidth=0.1))
        >>> target = {"scribble": torch.tensor([[[0, 255, 255, 1]]]), "guide": torch.tensor([[[0.0, 0, 1, 1]]])}
        >>> at_the_edge, nowhere = torch.tensor([[[50.0, 50, -50, -50]]]), torch.zeros(1, 1, 4)
        >>> [round(loss(torch.cat([z, -z], 1), target).item(), 2) for z in (at_the_edge, nowhere)]  # ln 2 for the seeds
        [0.0, 1.69]
    """

    def __init__(
        self,
        weight: float = 0.1,
        neighborhood: Neighborhood | None = None,
        lam: float = 0.0,
        dice_weight: float = 0.0,
    ) -> None:
        super().__init__(weight, dice_weight)
        if lam < 0:
            raise ValueError(f"expected lam >= 0, got {lam}")
        self.neighborhood: Neighborhood = neighborhood or GridNeighborhood()
        self.lam = lam

    def penalty(self, sigma: Tensor, guide: Tensor, scribble: Tensor) -> Tensor:
        """``R``."""
        exists = ~void_mask(scribble)
        term = self.neighborhood.bind(bilinear, guide, exists)
        degree = term.model(sigma.detach())[2]
        # P_BL of (a, 1 − a) and (b, 1 − b) is a (1 − b) + b (1 − a), so over unordered pairs it sums to a·W(1 − a)
        cuts = torch.stack([term.of_predictions(torch.cat([of, 1 - of], 1)) for of in sigma.split(1, 1)], 1)
        mass = (degree * sigma).flatten(2).sum(2)
        ratios = (cuts / mass.clamp_min(torch.finfo(sigma.dtype).tiny)).sum(1)
        # over the classes they add up to twice the Potts term: what two of them cut from each other is counted for both
        return ratios.mean() + self.lam * cuts.sum() / 2 / exists.sum().clamp_min(1)
