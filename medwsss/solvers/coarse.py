# SPDX-License-Identifier: Apache-2.0
"""The same energy for labels that are constant on cells of 2 voxels an axis: where a solver can start cheaply."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from typing import Any

from torch import Tensor

from medwsss.solvers.cells import merged
from medwsss.terms.energy import BoundEnergy
from medwsss.terms.neighborhoods import OffsetPairs, pairs, takes_part
from medwsss.terms.relaxations import quadratic
from medwsss.terms.simplex import unlabeled_mask, void_mask

__all__ = ["can_coarsen", "cell", "cell_weights", "coarsened", "reach"]

LEAST_SIDE = 4  # voxels an axis has to have to be halved

#: :func:`medwsss.solvers.cells.merged`, or what does the same.
Merge = Callable[[Tensor, Tensor, Sequence[int]], tuple[Tensor, Tensor]]


def cell(problem: BoundEnergy) -> tuple[int, ...]:
    """Voxels of a cell of this problem along each axis."""
    return cell_size(problem.logits.shape[2:], _offset_pairs(problem).spacing)


def cell_size(shape: Sequence[int], spacing: Sequence[float] | None) -> tuple[int, ...]:
    """Voxels of a cell along each axis: 2, but 1 where the axis is short or voxels are twice as long as elsewhere.

    Thick slices are thus not merged before voxels in the plane are as long, as is usual in multigrid methods.
    """
    spacing = spacing or [1.0] * len(shape)
    least = min((s for s, n in zip(spacing, shape) if n >= LEAST_SIDE), default=0.0)
    return tuple(2 if n >= LEAST_SIDE and s < 2 * least else 1 for s, n in zip(spacing, shape))


def can_coarsen(problem: BoundEnergy) -> bool:
    """Whether pairs are a list of offsets, an axis is long enough, equal labels cost nothing, and none are frozen.

    Pairs inside a cell are left out; of frozen labels some would lie in a cell beside free ones.
    """
    term = problem.pair_term
    if not isinstance(term, OffsetPairs) or problem.frozen is not None:
        return False
    return max(problem.logits.shape[2:]) >= LEAST_SIDE and term.relaxation.zero_on_equals


def coarsened(problem: BoundEnergy, merge: Merge = merged) -> BoundEnergy:
    """``E`` of labels that are constant on cells, divided by the voxels of a cell, as an energy of cells.

    The relaxation is the quadratic one whatever that of the voxels: it is convex, and what a coarse grid decides too
    early it would not change its mind about on the finer one. ``w`` of two cells is the sum over the pairs from one to
    the other. The unary term is that of the mean logits, which is exact for ``−y·ln σ``. A cell with seeds is a seed of
    the class that most of them have; one without anything to label is void.
    """
    size, term = cell(problem), _offset_pairs(problem)
    logits, scribble = merge(problem.logits, problem.scribble, size)
    weights = cell_weights(term, problem.logits, size)
    per_voxel = 1 / math.prod(size)  # λ is in the weights already
    spacing = term.spacing and [s * n for s, n in zip(term.spacing, size)]
    free, exists = unlabeled_mask(scribble), ~void_mask(scribble)

    def weigh(offset: tuple[int, ...]) -> Tensor:
        return (weights[offset] * takes_part(free, exists, offset)).mul_(per_voxel)

    # a cell may have more neighbours than a voxel; what serves the voxels has to serve it too
    keep = term.weight_map is not None
    pair_term = OffsetPairs(quadratic, list(weights), weigh, logits, spacing, keep)
    return BoundEnergy(logits, scribble, problem.cross_entropy, problem.eta, pair_term)


def cell_weights(term: OffsetPairs, like: Tensor, size: Sequence[int]) -> dict[tuple[int, ...], Tensor]:
    """``Σ w_ij`` over the pairs of voxels from one cell to another, for each offset between cells.

    Args:
        term: of voxels.
        like: ``B C *S`` of voxels.
        size: of a cell.
    """
    whole: tuple[Any, ...] = (..., *(slice(n) for n in like.shape[2:]))  # cells at the far border are filled up
    cells = [-(-n // s) for n, s in zip(like.shape[2:], size)]
    sums: dict[tuple[int, ...], Tensor] = {}
    for offset, w in term:
        full = w.new_zeros(len(like), 1, *(c * s for c, s in zip(cells, size)))
        pairs(full[whole], offset)[0].copy_(w)
        for place in itertools.product(*map(range, size)):  # of a pair's first voxel in its cell
            step = tuple((p + o) // s for p, o, s in zip(place, offset, size))
            if not any(step):
                continue
            half = max(step, tuple(-s for s in step))  # the cell that comes first is the pair's first
            every: tuple[Any, ...] = tuple(slice(p, None, s) for p, s in zip(place, size))
            if half not in sums:
                sums[half] = pairs(w.new_zeros(len(like), 1, *cells), half)[0]
            sums[half] += pairs(full[(..., *every)], step)[0]
    return dict(sorted(sums.items()))


def reach(
    shape: Sequence[int], spacing: Sequence[float] | None, hops: Sequence[int], steps: Sequence[int]
) -> tuple[int, ...]:
    """How far along each axis labels come from, in voxels.

    ``h_l = 2 (h_{l+1} + 1) + steps_l · hop_l``: the steps on a grid, and what they start from, interpolated between two
    cells of the next one.

    Args:
        shape: of the grid.
        spacing: voxel size along each axis; ``None`` is isotropic.
        hops: how far a pair goes along each axis.
        steps: on this grid, and on each coarser one.
    """
    own = [steps[0] * hop for hop in hops]
    if not steps[1:] or max(shape) < LEAST_SIDE:
        return tuple(own)
    size = cell_size(shape, spacing)
    cells, pace = ([-(-n // s) for n, s in zip(x, size)] for x in (shape, hops))
    far = reach(cells, spacing and [s * n for s, n in zip(spacing, size)], pace, steps[1:])
    return tuple(s * (f + 1) + o if s > 1 else f + o for s, f, o in zip(size, far, own))


def _offset_pairs(problem: BoundEnergy) -> OffsetPairs:
    term = problem.pair_term
    assert isinstance(term, OffsetPairs)  # as can_coarsen says
    return term
