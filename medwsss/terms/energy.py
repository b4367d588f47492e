# SPDX-License-Identifier: Apache-2.0
"""The y-part of Eq. (8), ``η Σ_{i∉S} H(y_i, σ_i) + λ Σ_{ij∈N} w_ij P(y_i, y_j)``: value and gradient in closed form."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

import torch
from torch import Tensor

from medwsss.keys import UNLABELED
from medwsss.terms.cross_entropies import CROSS_ENTROPIES, CrossEntropy
from medwsss.terms.neighborhoods import GridNeighborhood, pairs
from medwsss.terms.relaxations import RELAXATIONS, Relaxation
from medwsss.terms.simplex import check_seeds, seed_index, void_mask

__all__ = ["BoundEnergy", "SelfLabelingEnergy", "potts"]


def potts(y: Tensor, relaxation: Relaxation, offsets: Sequence[Sequence[int]], weights: Sequence[Tensor]) -> Tensor:
    """``Σ_{ij∈N} w_ij P(y_i, y_j)`` per sample, differentiable by autograd.

    Args:
        y: ``B K *S`` distributions.
        relaxation: ``P``.
        offsets: half the neighbourhood.
        weights: ``B 1 *S_pairs`` for each offset.

    Returns:
        ``B``.
    """
    total = y.new_zeros(y.shape[0])
    for offset, w in zip(offsets, weights):
        p, q = pairs(y, offset)
        total = total + (w.squeeze(1) * relaxation(p, q)).flatten(1).sum(1)
    return total


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

    Raises:
        ValueError: for an unknown term or a negative weight.

    Source: Zhang & Boykov, CVPR 2025, Eq. (8).
    """

    def __init__(
        self,
        cross_entropy: str = "collision_cross_entropy",
        relaxation: str = "collision_divergence",
        neighborhood: GridNeighborhood | None = None,
        eta: float = 0.3,
        lam: float = 6.0,
    ) -> None:
        if cross_entropy not in CROSS_ENTROPIES:
            raise ValueError(f"expected cross_entropy in {sorted(CROSS_ENTROPIES)}, got {cross_entropy!r}")
        if relaxation not in RELAXATIONS:
            raise ValueError(f"expected relaxation in {sorted(RELAXATIONS)}, got {relaxation!r}")
        if eta < 0 or lam < 0:
            raise ValueError(f"expected eta >= 0 and lam >= 0, got {eta} and {lam}")
        self.cross_entropy = CROSS_ENTROPIES[cross_entropy]
        self.relaxation = RELAXATIONS[relaxation]
        self.neighborhood = neighborhood or GridNeighborhood()
        self.eta = eta
        self.lam = lam

    def bind(
        self, logits: Tensor, guide: Tensor, scribble: Tensor, weights: Sequence[Tensor] | None = None
    ) -> BoundEnergy:
        """The energy of one batch.

        Args:
            logits: ``B K *S`` network outputs of any floating type; computed with in float32, or float64 if they are.
            guide: ``B C *S``, what contrast weights look at.
            scribble: ``B 1 *S`` integer, classes, ``UNLABELED`` and ``VOID``.
            weights: ``w_ij`` of this guide if the caller has them (``neighborhood.weights``).

        Raises:
            ValueError: for shapes that don't belong together, a seed outside the classes, or logits or a guide that are
                not finite, naming the sample.
        """
        _check(logits, guide, scribble)
        check_seeds(scribble, logits.shape[1])
        scribble = scribble.to(torch.uint8)  # every class that there can be is below UNLABELED and VOID
        logits = logits.detach().to(torch.promote_types(logits.dtype, torch.float32))
        if weights is None:
            weights = self.neighborhood.weights(guide.to(logits.dtype), ~void_mask(scribble))
        return BoundEnergy(self, logits, scribble, weights)


class BoundEnergy:
    """:class:`SelfLabelingEnergy` of one batch; made by its ``bind``.

    Attributes:
        seeds: where ``y`` is 1 on seeds, as an index of it, made when first asked for.
        scribble: ``B 1 *S``, in bytes.
        logits: of the network, ``B K *S``, in the type that is computed in.
        sigma: predictions ``σ = softmax(logits)``, made when first asked for.
        free: ``B 1 *S`` bool, the voxels to label.
        offsets, weights: half the neighbourhood, and ``λ w_ij`` for each of its offsets (0 for constant pairs).
        weight_map: ``B n *S``, the same in one tensor: that of pair ``(i, i + offset)`` at ``i``, 0 where is none.
    """

    def __init__(self, energy: SelfLabelingEnergy, logits: Tensor, scribble: Tensor, weights: Sequence[Tensor]) -> None:
        self.neighborhood = energy.neighborhood
        self.cross_entropy: CrossEntropy = energy.cross_entropy
        self.relaxation: Relaxation = energy.relaxation
        self.eta = energy.eta
        self.scribble = scribble
        self.logits = logits
        self.free = scribble == UNLABELED
        self._void = void = void_mask(scribble)
        self.offsets = self.neighborhood.offsets(logits.ndim - 2)
        self.weight_map = logits.new_zeros(logits.shape[0], len(self.offsets), *logits.shape[2:])
        maps = self.weight_map.split(1, 1)
        self.weights = [pairs(weight_map, offset)[0] for weight_map, offset in zip(maps, self.offsets)]
        for offset, w, view in zip(self.offsets, weights, self.weights):
            torch.mul(w, _takes_part(self.free, ~void, offset), out=view)
        self.weight_map *= energy.lam

    @cached_property
    def seeds(self) -> tuple[Tensor, ...]:
        return seed_index(self.scribble)

    @cached_property
    def sigma(self) -> Tensor:
        return self.logits.softmax(1)

    def reset(self, y: Tensor) -> Tensor:
        """``y`` with ``y_i = ȳ_i`` on seeds (§2) and uniform on void voxels."""
        y = torch.where(self.free, y, self._void.to(y.dtype) / y.shape[1])
        y[self.seeds] = 1
        return y

    def value(self, y: Tensor) -> Tensor:
        """``E(y)`` for each sample, ``B``; differentiable by autograd."""
        unary = torch.where(self.free.squeeze(1), self.cross_entropy(y, self.sigma), 0)
        return self.eta * unary.flatten(1).sum(1) + potts(y, self.relaxation, self.offsets, self.weights)

    def gradient(self, y: Tensor) -> Tensor:
        """``∂E/∂y``, ``B K *S``, in closed form."""
        return self.value_and_gradient(y)[1]

    def value_and_gradient(self, y: Tensor) -> tuple[Tensor, Tensor]:
        """``E(y)`` and ``∂E/∂y`` in one pass over the pairs."""
        return self.model(y)[:2]

    def model(self, y: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """``E(y)``, ``∂E/∂y`` and a curvature ``c`` for each voxel (``B 1 *S``), in one pass over the pairs.

        ``c_i = η c_H(y_i, σ_i) + Σ_j λ w_ij |∂P/∂(p·q)|``, by about which ``∂E/∂y_i`` changes when ``ln y_i`` changes
        by 1: ``|∂P/∂(p·q)|`` is 1 for BL and Q, ``1/(‖p‖‖q‖)`` for NQ, ``1/p·q`` for CCE and CD and
        ``1/(1 − ½‖p − q‖²)`` for LQ.
        """
        unary = torch.where(self.free.squeeze(1), self.cross_entropy(y, self.sigma), 0)
        value = self.eta * unary.flatten(1).sum(1)
        gradient = torch.where(self.free, self.eta * self.cross_entropy.gradient(y, self.sigma), 0)
        squared_norm = (y * y).sum(1, keepdim=True)
        radial = torch.zeros_like(squared_norm)  # Σ_j w_ij ∂P/∂‖y_i‖²
        curvature = self.eta * self.cross_entropy.curvature(y, self.sigma).unsqueeze(1)
        for offset, w in zip(self.offsets, self.weights):
            p, q = pairs(y, offset)
            potential, s_pq, s_pp, s_qq = self.relaxation.slopes(
                (p * q).sum(1, keepdim=True), *pairs(squared_norm, offset)
            )
            value = value + (w * potential).flatten(1).sum(1)
            s_pq = w * s_pq
            at_p, at_q = pairs(gradient, offset)
            at_p.addcmul_(s_pq, q)
            at_q.addcmul_(s_pq, p)
            curvature_p, curvature_q = pairs(curvature, offset)
            curvature_p.sub_(s_pq)
            curvature_q.sub_(s_pq)
            radial_p, radial_q = pairs(radial, offset)
            radial_p.add_(w * s_pp)
            radial_q.add_(w * s_qq)
        return value, gradient.addcmul_(radial, y, value=2), curvature


def _takes_part(free: Tensor, exists: Tensor, offset: Sequence[int]) -> Tensor:
    (free_p, free_q), (exists_p, exists_q) = pairs(free, offset), pairs(exists, offset)
    return (free_p & exists_q) | (exists_p & free_q)


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
