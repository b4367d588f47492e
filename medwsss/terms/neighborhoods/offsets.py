# SPDX-License-Identifier: Apache-2.0
"""Neighbourhoods that are a list of offsets, the same at every voxel, and their pair term."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from medwsss.terms.neighborhoods.base import Neighborhood, PairTerm
from medwsss.terms.relaxations import Relaxation

__all__ = ["OffsetNeighborhood", "OffsetPairs", "Offset", "STORED", "pairs", "takes_part"]

Offset = tuple[int, ...]
#: ``w_ij`` of one offset, ``B 1 *S_pairs``.
Weigh = Callable[[Offset], Tensor]

#: Offsets up to which weights are kept in memory from pass to pass, all 26 neighbours in 3-D; of more offsets they are
#: made anew, one offset at a time.
STORED = 13


def pairs(x: Tensor, offset: Sequence[int]) -> tuple[Tensor, Tensor]:
    """Views ``(x_i, x_j)`` of ``x`` (``B C *S``) over all voxel pairs ``j = i + offset``, each ``B C *S_pairs``."""
    head, tail = [slice(None)] * 2, [slice(None)] * 2
    for step, size in zip(offset, x.shape[2:]):
        head.append(slice(max(0, -step), max(0, size - max(0, step))))
        tail.append(slice(max(0, step), max(0, size - max(0, -step))))
    return x[tuple(head)], x[tuple(tail)]


class OffsetNeighborhood(Neighborhood):
    """The same offsets from every voxel. A kind of it says which, and what a pair weighs; weights may be negative."""

    spacing: Sequence[float] | None = None  #: voxel size along each axis in any one unit; ``None`` is isotropic

    @abstractmethod
    def offsets(self, ndim: int) -> list[tuple[int, ...]]:
        """Half the neighbourhood on ``ndim`` axes, so that each unordered pair comes once."""

    @abstractmethod
    def weigh(self, guide: Tensor, exists: Tensor | None = None) -> Weigh:
        """A function from an offset to its ``w_ij``; what all offsets share is computed here, once.

        Args:
            guide: ``B C *S``, what contrast is measured on, of a floating type.
            exists: ``B 1 *S`` bool, false where there is no image (``VOID``): such pairs weigh 0.
        """

    def guide_reach(self, ndim: int) -> list[int]:
        """How far from a pair's two voxels, along each axis, the guide has a say in its weight.

        Raises:
            ValueError: where all of the guide has one.
        """
        return [0] * ndim

    def weights(self, guide: Tensor, exists: Tensor | None = None) -> list[Tensor]:
        """``w_ij`` for each of :meth:`offsets`.

        Args:
            guide: ``B C *S``.
            exists: as in :meth:`weigh`.

        Returns:
            one ``B 1 *S_pairs`` tensor an offset, in the guide's floating type (float32 at least).
        """
        return list(self.iter_weights(guide, exists))

    def iter_weights(self, guide: Tensor, exists: Tensor | None = None) -> Iterator[Tensor]:
        """:meth:`weights` one by one: those of a large window need not lie in memory at once."""
        weigh = self.weigh(guide.to(torch.promote_types(guide.dtype, torch.float32)), exists)
        return (weigh(offset) for offset in self.offsets(guide.ndim - 2))

    def bind(
        self,
        relaxation: Relaxation,
        guide: Tensor,
        exists: Tensor | None = None,
        free: Tensor | None = None,
        scale: float = 1.0,
        weights: Sequence[Tensor] | None = None,
    ) -> OffsetPairs:
        """As :meth:`Neighborhood.bind`; ``weights`` is what :meth:`weights` returns, a tensor an offset."""
        offsets = self.offsets(guide.ndim - 2)
        if weights is not None and len(weights) != len(offsets):
            raise ValueError(f"expected weights of {len(offsets)} offsets, got {len(weights)}")
        weigh = self.weigh(guide, exists) if weights is None else dict(zip(offsets, weights)).__getitem__

        def scaled(offset: Offset) -> Tensor:
            w = weigh(offset).to(guide.dtype)
            return w * scale if free is None else (w * takes_part(free, exists, offset)).mul_(scale)

        return OffsetPairs(relaxation, offsets, scaled, guide, self.spacing)


class Sums(NamedTuple):
    """Over the pairs so far."""

    value: Tensor  # Σ w_ij P, B
    gradient: Tensor  # at each voxel Σ_j w_ij P_pq y_j, B K *S
    radial: Tensor  # Σ_j w_ij P_pp, B 1 *S
    curvature: Tensor  # Σ_j |w_ij P_pq|, B 1 *S


class OffsetPairs(PairTerm):
    """``Σ w_ij P(y_i, y_j)`` over the pairs of a list of offsets.

    Iterate over it for ``(offset, w)``, as often as need be.

    Args:
        relaxation: ``P``.
        offsets: half the neighbourhood.
        weigh: from an offset to its weights, ``B 1 *S_pairs``.
        like: ``B C *S`` of the type and place to keep weights in.
        spacing: voxel size along each axis; ``None`` is isotropic.
        keep: whether weights stay in memory from pass to pass; by default those of up to :data:`STORED` offsets.

    Attributes:
        weight_map: ``B n *S``, all weights in one tensor, that of the pair ``(i, i + offset)`` at ``i`` and 0 where is
            none; ``None`` where weights are not kept.
    """

    def __init__(
        self,
        relaxation: Relaxation,
        offsets: Sequence[Offset],
        weigh: Weigh,
        like: Tensor,
        spacing: Sequence[float] | None = None,
        keep: bool | None = None,
    ) -> None:
        self.relaxation, self.offsets, self.weigh, self.spacing = relaxation, offsets, weigh, spacing
        self.weight_map: Tensor | None = None
        if len(offsets) <= STORED if keep is None else keep:
            self.weight_map = like.new_zeros(len(like), len(offsets), *like.shape[2:])
            for offset, at in zip(offsets, self.weight_map.split(1, 1)):
                pairs(at, offset)[0].copy_(weigh(offset))

    def __iter__(self) -> Iterator[tuple[Offset, Tensor]]:
        for n, offset in enumerate(self.offsets):
            stored = self.weight_map
            yield offset, self.weigh(offset) if stored is None else pairs(stored[:, n : n + 1], offset)[0]

    def value(self, y: Tensor) -> Tensor:
        """The sum over each sample's pairs, ``B``."""
        total = y.new_zeros(y.shape[0])
        for offset, w in self:
            p, q = pairs(y, offset)
            total = total + (w.squeeze(1) * self.relaxation(p, q)).flatten(1).sum(1)
        return total

    def model(self, y: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The sum, its derivative and its curvature, in one pass over the pairs.

        ``∂P/∂p = P_pq q + 2 P_pp p`` with the derivatives of ``P`` in ``p·q`` and ``‖p‖²``; ``|P_pq|`` is 1 for BL and
        Q, ``1/(‖p‖‖q‖)`` for NQ, ``1/p·q`` for CCE and CD and ``1/(1 − ½‖p − q‖²)`` for LQ.
        """
        norm = (y * y).sum(1, keepdim=True)
        sums = Sums(y.new_zeros(len(y)), torch.zeros_like(y), torch.zeros_like(norm), torch.zeros_like(norm))
        # sample by sample where weights are not kept, so that one offset's numbers stay small beside the labels
        parts = [slice(None)] if self.weight_map is not None else [slice(b, b + 1) for b in range(len(y))]
        for offset, w in self:
            for part in parts:
                self._add(offset, w[part], y[part], norm[part], Sums(*(x[part] for x in sums)))
            del w
        return sums.value, sums.gradient.addcmul_(sums.radial, y, value=2), sums.curvature

    def _add(self, offset: Offset, w: Tensor, y: Tensor, norm: Tensor, sums: Sums) -> None:
        """What the pairs of one offset contribute."""
        p, q = pairs(y, offset)
        potential, s_pq, s_pp, s_qq = self.relaxation.slopes((p * q).sum(1, keepdim=True), *pairs(norm, offset))
        sums.value.add_((w * potential).flatten(1).sum(1))
        s_pq = w * s_pq
        for at, other in zip(pairs(sums.gradient, offset), (q, p)):
            at.addcmul_(s_pq, other)
        for at in pairs(sums.curvature, offset):
            at.add_(s_pq.abs())
        for at, slope in zip(pairs(sums.radial, offset), (s_pp, s_qq)):
            at.add_(w * slope)


def takes_part(free: Tensor, exists: Tensor | None, offset: Offset) -> Tensor:
    """Which pairs have a free voxel and another one that exists."""
    free_p, free_q = pairs(free, offset)
    if exists is None:
        return free_p | free_q
    exists_p, exists_q = pairs(exists, offset)
    return (free_p & exists_q) | (exists_p & free_q)
