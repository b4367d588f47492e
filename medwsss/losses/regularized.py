# SPDX-License-Identifier: Apache-2.0
"""Eq. (4): the Potts-regularised loss on the network itself, for plain gradient descent without a solver."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from medwsss.keys import GUIDE
from medwsss.losses.partial_cross_entropy import PartialCrossEntropyLoss, seed_term
from medwsss.losses.precision import without_autocast
from medwsss.losses.reduction import checked_normalization, divisors
from medwsss.terms.cross_entropies import cross_entropy
from medwsss.terms.neighborhoods import GridNeighborhood, Neighborhood
from medwsss.terms.relaxations import RELAXATIONS
from medwsss.terms.simplex import seed_mask, unlabeled_mask, void_mask

__all__ = ["RegularizedLoss"]


class RegularizedLoss(nn.Module):
    """``−(1/n_S) Σ_{i∈S} ln σ_i^{ȳ_i} + (1/n_U) [ η Σ_{i∈U} H(σ_i) + λ Σ_{ij∈N} w_ij P(σ_i, σ_j) ]``, Eq. (4).

    ``H`` is Shannon's entropy and ``U`` the unlabelled voxels; ``n_S = |S|`` and ``n_U = |U|``, or one count for both,
    see :func:`~medwsss.losses.reduction.divisors`. Unlike pseudo-labels, predictions are not fixed on seeds, so every
    pair of existing voxels counts.

    Args:
        relaxation: ``P``, one of ``RELAXATIONS``.
        neighborhood: ``N`` and ``w``.
        eta: ``η``, weight of the entropy.
        lam: ``λ``, weight of the pairs.
        dice_weight: of a Dice loss on seeds, as in :class:`PartialCrossEntropyLoss`.
        normalization: ``"means"``, or ``"sums"`` for η and λ as in Eq. (4).

    Shape:
        - input: ``B K *S`` logits.
        - target: mapping with ``scribble`` (``B 1 *S``) and ``guide`` (``B C *S``).
        - output: scalar.

    Example:
        >>> loss = RegularizedLoss("bilinear", GridNeighborhood(bandwidth=0.1), eta=0, lam=1)
        >>> target = {"scribble": torch.tensor([[[0, 255, 255, 1]]]), "guide": torch.tensor([[[0.0, 0, 1, 1]]])}
        >>> at_the_edge, beside_it = torch.tensor([[[50.0, 50, -50, -50]]]), torch.tensor([[[50.0, -50, -50, -50]]])
        >>> [round(loss(torch.cat([z, -z], 1), target).item(), 2) for z in (at_the_edge, beside_it)]
        [0.0, 0.5]

    Source: Zhang & Boykov, CVPR 2025, Eq. (4).
    """

    def __init__(
        self,
        relaxation: str = "quadratic",
        neighborhood: Neighborhood | None = None,
        eta: float = 0.3,
        lam: float = 6.0,
        dice_weight: float = 0.0,
        normalization: str = "means",
    ) -> None:
        super().__init__()
        if relaxation not in RELAXATIONS:
            raise ValueError(f"expected relaxation in {sorted(RELAXATIONS)}, got {relaxation!r}")
        if eta < 0 or lam < 0:
            raise ValueError(f"expected eta >= 0 and lam >= 0, got {eta} and {lam}")
        self.relaxation = RELAXATIONS[relaxation]
        self.neighborhood: Neighborhood = neighborhood or GridNeighborhood()
        self.neighborhood.check(self.relaxation)
        self.eta = eta
        self.lam = lam
        self.normalization = checked_normalization(normalization)
        self.seed_loss = PartialCrossEntropyLoss(dice_weight)

    @without_autocast
    def forward(self, input: Tensor, target: Mapping[str, Tensor]) -> Tensor:  # noqa: A002 (MONAI's name)
        """The loss of a batch."""
        logits, scribble = self.seed_loss.checked(input, target)
        sigma, unlabeled = logits.softmax(1), unlabeled_mask(scribble).squeeze(1)
        guide = target[GUIDE].to(sigma.dtype)
        pair_sum: Tensor | float = 0.0
        if self.lam:  # entropy minimisation has no pairs
            pair_sum = self.neighborhood.bind(self.relaxation, guide, ~void_mask(scribble)).of_predictions(sigma).sum()
        entropy = torch.where(unlabeled, cross_entropy(sigma, sigma), 0)
        of_seeds, of_rest = divisors(seed_mask(scribble), unlabeled, self.normalization)
        loss = seed_term(logits, scribble).sum() / of_seeds + self.seed_loss.dice_term(logits, scribble)
        return loss + (self.eta * entropy.sum() + self.lam * pair_sum) / of_rest
