# SPDX-License-Identifier: Apache-2.0
"""The step of :class:`NaturalGradient` in one pass over memory, on the CPU: compiled once and cached on disk.

It reads ``y``, ``y'``, the logits, the weights and the seeds once and writes the next ``y`` once.
"""

from __future__ import annotations

import functools
import math
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from torch import Tensor

from medwsss.solvers.compiled import cells
from medwsss.solvers.compiled.kernel import BLOCK, CCE, CE, QUADRATIC, RCE, sweep
from medwsss.solvers.compiled.similarities import COSINE, DOT, SQUARED
from medwsss.terms import cross_entropies, relaxations
from medwsss.terms.energy import BoundEnergy
from medwsss.terms.neighborhoods import OffsetPairs
from medwsss.terms.neighborhoods.offsets import STORED
from medwsss.terms.simplex import safe_log

__all__ = ["FusedStep", "interpolated", "lacking", "merged", "mixed"]

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
    """What of this problem the loops here do not know; ``None`` where they know all of it."""
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


#: Values below which a thread is not worth waking: one step takes about a nanosecond a value.
LEAST_SHARE = 1 << 17


@functools.cache
def workers(threads: int) -> ThreadPoolExecutor:
    """Threads that live as long as the process: starting them takes as long as a step on a coarse grid."""
    return ThreadPoolExecutor(threads)


if hasattr(os, "register_at_fork"):  # a forked data-loading process has none of them
    os.register_at_fork(after_in_child=workers.cache_clear)


def in_parallel(work: Callable[[int, int], object], items: int, values: int) -> None:
    """``work(first, last)`` for all items, on as many threads as PyTorch has where there is enough to do.

    Args:
        work: does a range of items.
        items: how many.
        values: how many numbers they have in all.
    """
    threads = torch.get_num_threads()
    shares = max(1, min(threads, items, values // LEAST_SHARE))
    bounds = [items * i // shares for i in range(shares + 1)]
    others = [workers(threads).submit(work, *ends) for ends in zip(bounds[1:-1], bounds[2:])]
    work(bounds[0], bounds[1])
    for other in others:
        other.result()


def boxes(x: Tensor) -> np.ndarray:
    """``B C *S`` with three axes of space."""
    x = x.contiguous()
    return x.reshape(*x.shape[:2], *boxed(x.shape[2:], 1)).numpy()


def boxed(figures: Sequence[int], fill: int) -> tuple[int, ...]:
    """A figure for each of three axes."""
    return (fill,) * (3 - len(figures)) + tuple(figures)


def merged(logits: Tensor, scribble: Tensor, size: Sequence[int]) -> tuple[Tensor, Tensor]:
    """:func:`medwsss.solvers.cells.merged`, for sizes of 1 and 2."""
    shape = [-(-n // s) for n, s in zip(logits.shape[2:], size)]
    means = logits.new_empty(*logits.shape[:2], *shape)
    classes = scribble.new_empty(len(means), 1, *shape)
    arrays = [boxes(x) for x in (logits, scribble, means, classes)]

    def work(first: int, last: int) -> None:
        for of_sample, seeds, mean, of_cell in zip(*(x[first:last] for x in arrays)):
            cells.merge(of_sample, seeds[0], np.array(boxed(size, 1)), mean, of_cell[0])

    in_parallel(work, len(means), logits.numel())
    return means, classes


def interpolated(y: Tensor, size: Sequence[int], shape: Sequence[int]) -> Tensor:
    """:func:`medwsss.solvers.cells.interpolated`."""
    out = y.new_empty(*y.shape[:2], *shape)
    coarse, fine = boxes(y), boxes(out)

    def work(first: int, last: int) -> None:
        for of_cells, of_voxels in zip(coarse[first:last], fine[first:last]):
            cells.interpolate(of_cells, np.array(boxed(size, 1)), of_voxels)

    in_parallel(work, len(y), out.numel())
    return out


def mixed(y: Tensor, problem: BoundEnergy, share: float) -> Tensor:
    """:func:`medwsss.solvers.mirror_step.mixed`."""
    y = y.contiguous()
    values, scribble = y.flatten(2).numpy(), problem.scribble.flatten(1).numpy()

    def work(first: int, last: int) -> None:
        for of_sample, entries in zip(values[first:last], scribble[first:last]):
            cells.fix(of_sample, entries, np.float32(share))

    in_parallel(work, len(y), y.numel())
    return y


def unary(problem: BoundEnergy) -> Tensor:
    """``σ``, or for ``−y·ln σ`` its ``−ln σ``: once a solve."""
    return -safe_log(problem.sigma) if UNARIES[problem.cross_entropy] == CE else problem.sigma


class FusedStep:
    """``E(y)`` and the step from ``y`` for one :class:`BoundEnergy` in float32 on the CPU; buffers are made once.

    Args:
        problem: what to minimise.
    """

    def __init__(self, problem: BoundEnergy) -> None:
        term = problem.pair_term
        if not isinstance(term, OffsetPairs) or term.weight_map is None:
            raise ValueError(f"expected a problem that the compiled step knows, got one with {lacking(problem)}")
        shape = problem.logits.shape
        self.shape = shape
        flat = (*shape[:2], -1)
        strides = [math.prod(shape[axis + 1 :]) for axis in range(2, len(shape))]
        # Those with a pair on this grid; as they are half a neighbourhood, the second voxel always lies ahead.
        inside = [n for n, offset in enumerate(term.offsets) if all(abs(o) < s for o, s in zip(offset, shape[2:]))]
        shifts = [sum(o * s for o, s in zip(term.offsets[n], strides)) for n in inside]
        weights = term.weight_map if len(inside) == len(term.offsets) else term.weight_map[:, inside]
        self.arguments = (
            unary(problem).reshape(flat).contiguous().numpy(),
            problem.free.flatten(1).contiguous().numpy(),
            weights.flatten(2).numpy(),
            np.array(shifts, np.int64),
            np.float32(problem.eta),
            (
                UNARIES[problem.cross_entropy],
                SIMILARITIES[term.relaxation.similarity],
                term.relaxation.logarithmic,
            ),
        )
        # long enough that what two slabs find both is an eighth of the work
        self.slab = BLOCK * 8 * -(-max(shifts, default=1) // BLOCK)
        self.slabs = -(-math.prod(shape[2:]) // self.slab)
        self.buffers: list[Tensor] = []

    def __call__(self, y: Tensor, previous: Tensor, stride: Tensor, momentum: float) -> tuple[Tensor, Tensor]:
        """:class:`MirrorStep`; the result lies where a ``y`` of an earlier call was. All are contiguous."""
        spare = [buffer for buffer in self.buffers if buffer is not y and buffer is not previous]
        out = spare[0] if spare else torch.empty_like(y)
        self.buffers = [out, y, previous]
        return self._sweep(y, previous, stride, momentum, out), out

    def energy(self, y: Tensor, stride: Tensor) -> Tensor:
        """``E(y)`` alone."""
        return self._sweep(y, y, stride, 0.0, None)

    def _sweep(self, y: Tensor, previous: Tensor, stride: Tensor, momentum: float, out: Tensor | None) -> Tensor:
        now, past, new = (
            x.reshape(*self.shape[:2], -1).numpy() for x in (y, previous, previous if out is None else out)
        )
        figures = np.float32(momentum), stride.numpy(), out is not None
        energy = np.zeros((len(y), self.slabs))

        def work(first: int, last: int) -> None:
            sweep(first, last, now, past, *self.arguments, figures, self.slab, new, energy)

        in_parallel(work, energy.size, y.numel())
        return torch.from_numpy(energy.sum(1)).to(y.dtype)
