# SPDX-License-Identifier: Apache-2.0
"""The step of :class:`NaturalGradient` in one pass over memory, on the CPU: compiled once and cached on disk.

It reads ``y``, ``y'``, the logits, the weights and the seeds once and writes the next ``y`` once.
"""

from __future__ import annotations

import functools
import math
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from torch import Tensor

from medwsss.solvers.kernel import BLOCK, CCE, CE, COSINE, DOT, QUADRATIC, RCE, SQUARED, sweep
from medwsss.terms import cross_entropies, relaxations
from medwsss.terms.energy import BoundEnergy

__all__ = ["FusedStep"]

SIMILARITIES: dict[Callable[..., relaxations.Similarity], int] = {
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


@functools.cache
def workers(threads: int) -> ThreadPoolExecutor:
    """Threads that live as long as the process: starting them takes as long as a step on a coarse grid."""
    return ThreadPoolExecutor(threads)


if hasattr(os, "register_at_fork"):  # a forked data-loading process has none of them
    os.register_at_fork(after_in_child=workers.cache_clear)


class FusedStep:
    """``E(y)`` and the step from ``y`` for one :class:`BoundEnergy` in float32 on the CPU; buffers are made once.

    Args:
        problem: what to minimise.
    """

    def __init__(self, problem: BoundEnergy) -> None:
        shape = problem.logits.shape
        self.shape = shape
        flat = (*shape[:2], -1)
        strides = [math.prod(shape[axis + 1 :]) for axis in range(2, len(shape))]
        steps = [sum(o * s for o, s in zip(offset, strides)) for offset in problem.offsets]
        self.arguments = (
            problem.logits.reshape(flat).contiguous().numpy(),
            problem.free.flatten(1).contiguous().numpy(),
            problem.weight_map.flatten(2).numpy(),
            np.array([sign * step for step in steps for sign in (1, -1)], np.int64),
            np.float32(problem.eta),
            (
                UNARIES[problem.cross_entropy],
                SIMILARITIES[problem.relaxation.similarity],
                problem.relaxation.logarithmic,
            ),
        )
        self.blocks = -(-math.prod(shape[2:]) // BLOCK)
        self.buffers: list[Tensor] = []

    def __call__(self, y: Tensor, previous: Tensor, stride: Tensor, momentum: float) -> tuple[Tensor, Tensor]:
        """:class:`MirrorStep`; the result lies where a ``y`` of an earlier call was. All are contiguous."""
        spare = [buffer for buffer in self.buffers if buffer is not y and buffer is not previous]
        out = spare[0] if spare else torch.empty_like(y)
        self.buffers = [out, y, previous]
        now, past, new = (x.reshape(*self.shape[:2], -1).numpy() for x in (y, previous, out))
        energy = np.zeros((len(now), self.blocks))
        threads = min(torch.get_num_threads(), self.blocks)
        bounds = np.linspace(0, self.blocks, threads + 1).astype(int)

        def work(first: int, last: int) -> None:
            sweep(first, last, now, past, *self.arguments, np.float32(momentum), stride.numpy(), new, energy)

        if threads == 1:
            work(0, self.blocks)
        else:
            list(workers(threads).map(work, bounds[:-1], bounds[1:]))
        return torch.from_numpy(energy.sum(1)).to(y.dtype), out
