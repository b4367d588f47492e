# SPDX-License-Identifier: Apache-2.0
"""The solver's loops on the CPU, compiled once and cached on disk: the step, and the way to coarser grids and back."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from torch import Tensor

from medwsss.solvers.compiled import cells
from medwsss.solvers.compiled.fused import FusedStep
from medwsss.solvers.compiled.kernel import BLOCK, sweep
from medwsss.terms.energy import BoundEnergy

__all__ = ["NumbaStep", "interpolated", "merged", "mixed"]

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


class NumbaStep(FusedStep):
    """:class:`FusedStep` on the CPU.

    Args:
        problem: what to minimise.
    """

    def __init__(self, problem: BoundEnergy) -> None:
        super().__init__(problem)
        self.arguments = (
            self.unary.numpy(),
            self.free.numpy(),
            self.weights.numpy(),
            np.array(self.shifts, np.int64),
            np.float32(self.eta),
            self.kinds,
        )
        # long enough that what two slabs find both is an eighth of the work
        self.slab = BLOCK * 8 * -(-max(self.shifts, default=1) // BLOCK)
        self.slabs = -(-self.shape[2] // self.slab)

    def sweep(self, y: Tensor, previous: Tensor, stride: Tensor, momentum: float, out: Tensor | None) -> Tensor:
        """As :meth:`FusedStep.sweep`, on as many threads as PyTorch has."""
        now, past, new = (x.reshape(self.shape).numpy() for x in (y, previous, previous if out is None else out))
        figures = np.float32(momentum), stride.numpy(), out is not None
        energy = np.zeros((len(y), self.slabs))

        def work(first: int, last: int) -> None:
            sweep(first, last, now, past, *self.arguments, figures, self.slab, new, energy)

        in_parallel(work, energy.size, y.numel())
        return torch.from_numpy(energy.sum(1)).to(y.dtype)
