# SPDX-License-Identifier: Apache-2.0
"""Which implementation of a solve's inner loops serves a problem: chosen once, where its energy is bound."""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from medwsss.solvers import cells, mirror_step
from medwsss.solvers.compiled import fused
from medwsss.solvers.mirror_step import MirrorStep, PlainStep
from medwsss.terms.energy import BoundEnergy

__all__ = ["Backend", "choose", "reference"]

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Backend:
    """The inner loops, and how they are called in a result.

    Args:
        name: which implementation, and why where it is not the fastest.
        step: makes the :class:`MirrorStep` of a problem.
        mixed: :func:`medwsss.solvers.mirror_step.mixed`.
        merged: :func:`medwsss.solvers.cells.merged`.
        interpolated: :func:`medwsss.solvers.cells.interpolated`.
    """

    name: str
    step: Callable[[BoundEnergy], MirrorStep]
    mixed: Callable[[Tensor, BoundEnergy, float], Tensor]
    merged: Callable[[Tensor, Tensor, Sequence[int]], tuple[Tensor, Tensor]]
    interpolated: Callable[[Tensor, Sequence[int], Sequence[int]], Tensor]


def reference(why: str) -> Backend:
    """PyTorch: any device, any precision, any term, any neighbourhood."""
    return Backend(f"PyTorch ({why})", PlainStep, mirror_step.mixed, cells.merged, cells.interpolated)


@functools.cache  # told once
def without(why: str) -> Backend:
    """PyTorch in place of what this machine lacks."""
    logger.warning("Pseudo-labels are solved by PyTorch alone, which takes several times as long: %s", why)
    return reference(why)


def choose(problem: BoundEnergy) -> Backend:
    """A compiled step if one can serve this problem, and so its coarser grids: Numba's or Triton's; else PyTorch's."""
    device, dtype = problem.logits.device.type, problem.logits.dtype
    if device not in ("cpu", "cuda") or dtype != torch.float32:
        return reference(f"{device}, {str(dtype).removeprefix('torch.')}")
    if (lacking := fused.lacking(problem)) is not None:
        return reference(f"the compiled step has no {lacking}")
    return on_cpu(problem) if device == "cpu" else on_cuda(problem)


def on_cpu(problem: BoundEnergy) -> Backend:
    """Numba's loops, where they are to be had."""
    try:
        import medwsss.solvers.compiled.numba_step as compiled  # late: it takes a second to import
    except (ImportError, RuntimeError) as error:  # no Numba, or nowhere it may keep what it compiles
        return without(f"the compiled step is not to be had: {error}")
    mixed = compiled.mixed if problem.frozen is None else mirror_step.mixed  # Numba's knows the scribble alone
    return Backend("Numba", compiled.NumbaStep, mixed, compiled.merged, compiled.interpolated)


def on_cuda(problem: BoundEnergy) -> Backend:
    """Triton's step, where it is to be had; the rest is PyTorch's."""
    try:
        import medwsss.solvers.compiled.triton_step as compiled  # late: it is on few machines without a GPU
    except ImportError as error:
        return without(f"the compiled step is not to be had: {error}")
    if (why := compiled.unusable(problem.logits.device)) is not None:
        return without(f"the compiled step does not run: {why}")
    return Backend("Triton", compiled.TritonStep, mirror_step.mixed, cells.merged, cells.interpolated)
