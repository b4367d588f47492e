# SPDX-License-Identifier: Apache-2.0
"""The y-part of Eq. (8), ``η Σ_{i∉S} H(y_i, σ_i) + λ Σ_{ij∈N} w_ij P(y_i, y_j)``: value and gradient in closed form."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

import torch
from torch import Tensor

from medwsss.terms.cross_entropies import CROSS_ENTROPIES, CrossEntropy
from medwsss.terms.neighborhoods import GridNeighborhood, Neighborhood, PairTerm
from medwsss.terms.relaxations import RELAXATIONS
from medwsss.terms.simplex import check_seeds, seed_index, softmax, unlabeled_mask, void_mask
from medwsss.terms.trust import seeded_segments

__all__ = ["BoundEnergy", "SelfLabelingEnergy"]

TRUSTS = ("everywhere", "seeded")

_ROUNDING = 1e-2  # of distributions in half precision


class SelfLabelingEnergy:
    """What pseudo-labels minimise for fixed predictions: Eq. (8) without its seed term.

    ``E(y) = η Σ_{i∉S} H(y_i, σ_i) + λ Σ_{ij∈N} w_ij P(y_i, y_j)``, sums over a sample's voxels and unordered pairs.
    Pairs with both ends on seeds are constants and left out, and a void voxel takes part in nothing.

    Args:
        cross_entropy: ``H``, one of ``CROSS_ENTROPIES``.
        relaxation: ``P``, one of ``RELAXATIONS``.
        neighborhood: ``N`` and ``w``.
        eta: ``η``, the unary weight; the network's own ``η`` is the loss's.
        lam: ``λ``, the pair weight.
        trust: where ``σ`` says something: ``"everywhere"`` (the paper's), or ``"seeded"``, in the network's segments
            that hold a seed of their class (:func:`~medwsss.terms.trust.seeded_segments`). Elsewhere it is uniform.

    Raises:
        ValueError: for an unknown term, a relaxation that the neighbourhood cannot serve, or a negative weight.

    Source: Zhang & Boykov, CVPR 2025, Eq. (8).

    Example::

        >>> from medwsss.keys import UNLABELED
        >>> energy = SelfLabelingEnergy("quadratic", "quadratic", GridNeighborhood(bandwidth=1.0), eta=0.0, lam=1.0)
        >>> scribble = torch.tensor([0, UNLABELED, 1]).reshape(1, 1, 3)
        >>> problem = energy.bind(torch.zeros(1, 2, 3), torch.zeros(1, 1, 3), scribble)
        >>> y = torch.tensor([[[1.0, 0.5, 0.0], [0.0, 0.5, 1.0]]])
        >>> problem.value(y).item()  # twice ½‖(1, 0) − (½, ½)‖²
        0.5
    """

    def __init__(
        self,
        cross_entropy: str = "collision_cross_entropy",
        relaxation: str = "collision_divergence",
        neighborhood: Neighborhood | None = None,
        eta: float = 0.3,
        lam: float = 6.0,
        trust: str = "everywhere",
    ) -> None:
        if cross_entropy not in CROSS_ENTROPIES:
            raise ValueError(f"expected cross_entropy in {sorted(CROSS_ENTROPIES)}, got {cross_entropy!r}")
        if relaxation not in RELAXATIONS:
            raise ValueError(f"expected relaxation in {sorted(RELAXATIONS)}, got {relaxation!r}")
        if eta < 0 or lam < 0:
            raise ValueError(f"expected eta >= 0 and lam >= 0, got {eta} and {lam}")
        if trust not in TRUSTS:
            raise ValueError(f"expected trust in {sorted(TRUSTS)}, got {trust!r}")
        self.cross_entropy = CROSS_ENTROPIES[cross_entropy]
        self.relaxation = RELAXATIONS[relaxation]
        self.neighborhood: Neighborhood = neighborhood or GridNeighborhood()
        self.neighborhood.check(self.relaxation)
        self.eta = eta
        self.lam = lam
        self.trust = trust

    def bind(
        self,
        logits: Tensor,
        guide: Tensor,
        scribble: Tensor,
        weights: Sequence[Tensor] | None = None,
        frozen: Tensor | None = None,
    ) -> BoundEnergy:
        """The energy of one batch.

        With known labels ``q_i`` of some voxels ``F``, such as those around a block, it is that of the others:
        ``E(y | q) = η Σ_{i∉S∪F} H(y_i, σ_i) + λ Σ_{ij∈N} w_ij P(y_i, y_j)`` with ``y_i = q_i`` on ``F``, over pairs
        with an end in neither ``S`` nor ``F``. Where ``q`` is of a minimiser of ``E``, the rest of it minimises this.

        Args:
            logits: ``B K *S`` network outputs of any floating type; computed with in float32, or float64 if they are.
            guide: ``B C *S``, what contrast weights look at.
            scribble: ``B 1 *S`` integer, classes, ``UNLABELED`` and ``VOID``.
            weights: ``w_ij`` of this guide if the caller has them (``neighborhood.weights``).
            frozen: ``B K *S``, ``q_i`` on ``F`` and 0 elsewhere; what it says of seeds and void voxels is ignored.

        Raises:
            ValueError: for shapes that don't belong together, a seed outside the classes, logits or a guide that are
                not finite, naming the sample, and frozen labels that are neither distributions nor 0.
        """
        _check(logits, guide, scribble)
        check_seeds(scribble, logits.shape[1])
        scribble = scribble.to(torch.uint8)  # every class that there can be is below UNLABELED and VOID
        logits = logits.detach().to(torch.promote_types(logits.dtype, torch.float32))
        if frozen is not None:
            _check_frozen(frozen, logits)
            frozen = frozen.to(logits.dtype) * unlabeled_mask(scribble)
        exists, free = ~void_mask(scribble), _free(scribble, frozen)
        if self.trust == "seeded":
            logits = logits * seeded_segments(logits, scribble)
        guide = guide.to(logits.dtype)
        pair_term = self.neighborhood.bind(self.relaxation, guide, exists, free, self.lam, weights)
        return BoundEnergy(logits, scribble, self.cross_entropy, self.eta, pair_term, frozen)


class BoundEnergy:
    """:class:`SelfLabelingEnergy` of one batch, ``η Σ_{i free} H(y_i, σ_i)`` and a pair term; made by its ``bind``.

    Args:
        logits: of the network, ``B K *S``, in the type that is computed in.
        scribble: ``B 1 *S``, in bytes.
        cross_entropy: ``H``.
        eta: ``η``.
        pair_term: ``λ Σ_{ij∈N} w_ij P(y_i, y_j)``.
        frozen: ``B K *S``, labels of unlabelled voxels that are known, 0 elsewhere.

    Attributes:
        free: ``B 1 *S`` bool, the voxels to label.
    """

    def __init__(
        self,
        logits: Tensor,
        scribble: Tensor,
        cross_entropy: CrossEntropy,
        eta: float,
        pair_term: PairTerm,
        frozen: Tensor | None = None,
    ) -> None:
        self.logits = logits
        self.scribble = scribble
        self.cross_entropy = cross_entropy
        self.eta = eta
        self.pair_term = pair_term
        self.frozen = frozen
        self.free = _free(scribble, frozen)

    @cached_property
    def seeds(self) -> tuple[Tensor, ...]:
        """Where ``y`` is 1 on seeds, as an index of it, made when first asked for."""
        return seed_index(self.scribble)

    @cached_property
    def sigma(self) -> Tensor:
        """Predictions ``σ = softmax(logits)``, made when first asked for."""
        return softmax(self.logits)

    def reset(self, y: Tensor) -> Tensor:
        """``y`` with ``y_i = ȳ_i`` on seeds (§2), ``q_i`` on frozen and uniform on void voxels."""
        given = void_mask(self.scribble).to(y.dtype) / y.shape[1]
        y = torch.where(self.free, y, given if self.frozen is None else given + self.frozen)
        y[self.seeds] = 1
        return y

    def value(self, y: Tensor) -> Tensor:
        """``E(y)`` for each sample, ``B``; differentiable by autograd."""
        return self._unary(y) + self.pair_term.value(y)

    def gradient(self, y: Tensor) -> Tensor:
        """``∂E/∂y``, ``B K *S``, in closed form."""
        return self.value_and_gradient(y)[1]

    def value_and_gradient(self, y: Tensor) -> tuple[Tensor, Tensor]:
        """``E(y)`` and ``∂E/∂y`` in one pass over the pairs."""
        return self.model(y)[:2]

    def model(self, y: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """``E(y)``, ``∂E/∂y`` and a curvature ``c`` for each voxel (``B 1 *S``), in one pass over the pairs.

        ``c_i = η c_H(y_i, σ_i) + Σ_j λ |w_ij ∂P/∂(p·q)|``, by about which ``∂E/∂y_i`` changes when ``ln y_i`` changes
        by 1.
        """
        value, gradient, curvature = self.pair_term.model(y)
        gradient += torch.where(self.free, self.eta * self.cross_entropy.gradient(y, self.sigma), 0)
        curvature += self.eta * self.cross_entropy.curvature(y, self.sigma).unsqueeze(1)
        return self._unary(y) + value, gradient, curvature

    def _unary(self, y: Tensor) -> Tensor:
        """``η Σ_{i free} H(y_i, σ_i)``, ``B``."""
        values = torch.where(self.free.squeeze(1), self.cross_entropy(y, self.sigma), 0)
        return self.eta * values.flatten(1).sum(1)


def _free(scribble: Tensor, frozen: Tensor | None) -> Tensor:
    """Voxels to label: nobody annotated them, and no label of them is known."""
    unlabeled = unlabeled_mask(scribble)
    return unlabeled if frozen is None else unlabeled & ~(frozen > 0).any(1, keepdim=True)


def _check_frozen(frozen: Tensor, logits: Tensor) -> None:
    if frozen.shape != logits.shape:
        raise ValueError(f"expected frozen labels of shape {tuple(logits.shape)}, got {tuple(frozen.shape)}")
    total = frozen.sum(1)
    if not ((frozen >= 0).all() and ((total == 0) | ((total - 1).abs() < _ROUNDING)).all()):
        raise ValueError("expected frozen labels that are distributions, or 0 where there are none, got others")


def _check(logits: Tensor, guide: Tensor, scribble: Tensor) -> None:
    batch, space = logits.shape[0], logits.shape[2:]
    if len(space) not in (1, 2, 3) or not logits.is_floating_point():
        raise ValueError(
            f"expected floating logits B K *S with 1 to 3 spatial axes, got {tuple(logits.shape)} {logits.dtype}"
        )
    if scribble.shape != (batch, 1, *space) or scribble.is_floating_point():
        raise ValueError(
            f"expected an integer scribble of shape {(batch, 1, *space)}, got {tuple(scribble.shape)} {scribble.dtype}"
        )
    if guide.shape[:1] + guide.shape[2:] != (batch, *space):
        raise ValueError(f"expected a guide of shape {(batch, 'C', *space)}, got {tuple(guide.shape)}")
    for name, tensor in (("logits", logits), ("guide", guide)):
        if tensor.sum().isfinite():  # one quick pass; a sum may also overflow
            continue
        finite = tensor.isfinite().flatten(1).all(1)
        if not finite.all():
            samples = (~finite).nonzero().flatten().tolist()
            raise ValueError(f"expected finite {name}, got NaN or inf in sample {samples} of the batch")
