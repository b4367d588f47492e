# SPDX-License-Identifier: Apache-2.0
"""The step of :class:`NaturalGradient` in one pass over memory: what its two compiled forms share.

It reads ``y``, ``y'``, ``σ``, the weights and the seeds, and writes the next ``y``; nothing of the size of ``y`` lies
between. Numba's form is for the CPU, Triton's for CUDA.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable

import torch
from torch import Tensor

from medwsss.terms import cross_entropies, relaxations
from medwsss.terms.energy import BoundEnergy
from medwsss.terms.neighborhoods import OffsetPairs
from medwsss.terms.neighborhoods.offsets import STORED
from medwsss.terms.simplex import safe_log

__all__ = [
    "CCE",
    "CE",
    "COSINE",
    "DOT",
    "FusedStep",
    "QUADRATIC",
    "RCE",
    "SIMILARITIES",
    "SQUARED",
    "UNARIES",
    "lacking",
]

DOT, COSINE, SQUARED = range(3)
CE, RCE, CCE, QUADRATIC = range(4)

SIMILARITIES: dict[Callable[..., relaxations.Similarity | Tensor], int] = {
    relaxations.dot_product: DOT,
    relaxations.cosine: COSINE,
    relaxations.squared_distance: SQUARED,
}
UNARIES = {
    cross_entropies.cross_entropy: CE,
    cross_entropies.reverse_cross_entropy: RCE,
    cross_entropies.collision_cross_entropy: CCE,
    cross_entropies.quadratic: QUADRATIC,
}


def lacking(problem: BoundEnergy) -> str | None:
    """What of this problem the compiled loops do not know; ``None`` where they know all of it."""
    term = problem.pair_term
    if not isinstance(term, OffsetPairs):
        return f"pair term {type(term).__name__}, which is no list of offsets"
    if term.weight_map is None:
        return f"neighbourhood of {len(term.offsets)} offsets, more than {STORED}"
    if term.weight_map.numel() and term.weight_map.min() < 0:
        return "negative weights"
    if term.relaxation.similarity not in SIMILARITIES:
        return f"relaxation {term.relaxation.name!r}"
    return None if problem.cross_entropy in UNARIES else f"cross-entropy {problem.cross_entropy.name!r}"


class FusedStep(ABC):
    """:class:`~medwsss.solvers.mirror_step.MirrorStep` of one :class:`BoundEnergy` in float32; buffers are made once.

    Space is flat: a neighbour is a constant shift away, and a pair that leaves the grid has weight 0, so that 1, 2 and
    3 axes are one code.

    Args:
        problem: what to minimise.

    Raises:
        ValueError: for pairs that are no list of offsets whose weights are kept.

    Attributes:
        unary: ``σ``, or for ``−y·ln σ`` its ``−ln σ``, ``B K N``.
        free: the voxels to label, ``B N``.
        weights: ``B n N``, ``λ w`` of the pair ``(i, i + shifts[n])`` at ``i``.
        shifts: positive; those without a pair on this grid are left out.
        kinds: of the cross-entropy, of the similarity, and whether the relaxation is logarithmic.
    """

    def __init__(self, problem: BoundEnergy) -> None:
        term = problem.pair_term
        if not isinstance(term, OffsetPairs) or term.weight_map is None:
            raise ValueError(f"expected a problem that the compiled step knows, got one with {lacking(problem)}")
        shape = problem.logits.shape
        self.shape = (*shape[:2], math.prod(shape[2:]))
        strides = [math.prod(shape[axis + 1 :]) for axis in range(2, len(shape))]
        # As they are half a neighbourhood, the second voxel always lies ahead.
        inside = [n for n, offset in enumerate(term.offsets) if all(abs(o) < s for o, s in zip(offset, shape[2:]))]
        weights = term.weight_map if len(inside) == len(term.offsets) else term.weight_map[:, inside]
        self.shifts = [sum(o * s for o, s in zip(term.offsets[n], strides)) for n in inside]
        self.weights = weights.flatten(2)
        self.free = problem.free.flatten(1).contiguous()
        self.kinds = (
            UNARIES[problem.cross_entropy],
            SIMILARITIES[term.relaxation.similarity],
            term.relaxation.logarithmic,
        )
        unary = -safe_log(problem.sigma) if self.kinds[0] == CE else problem.sigma
        self.unary = unary.reshape(self.shape).contiguous()
        self.eta = problem.eta
        self._buffers: list[Tensor] = []

    def __call__(self, y: Tensor, previous: Tensor, stride: Tensor, momentum: float) -> tuple[Tensor, Tensor]:
        """:class:`MirrorStep`; the result lies where a ``y`` of an earlier call was. All are contiguous."""
        spare = [buffer for buffer in self._buffers if buffer is not y and buffer is not previous]
        out = spare[0] if spare else torch.empty_like(y)
        self._buffers = [out, y, previous]
        return self.sweep(y, previous, stride, momentum, out), out

    def energy(self, y: Tensor, stride: Tensor) -> Tensor:
        """``E(y)`` alone."""
        return self.sweep(y, y, stride, 0.0, None)

    @abstractmethod
    def sweep(self, y: Tensor, previous: Tensor, stride: Tensor, momentum: float, out: Tensor | None) -> Tensor:
        """``E(y)``, ``B``, and into ``out`` where the step leads."""
