# SPDX-License-Identifier: Apache-2.0
"""Which implementation of a solve's inner loops serves a problem: chosen once, where its energy is bound."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from medwsss.solvers import cells, mirror_step
from medwsss.solvers.mirror_step import MirrorStep, PlainStep
from medwsss.terms.energy import BoundEnergy

__all__ = ["Backend", "choose", "reference"]


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


def choose(problem: BoundEnergy) -> Backend:
    """Numba's loops if they can serve this problem, and so its coarser grids; else PyTorch's."""
    if problem.logits.device.type != "cpu" or problem.logits.dtype != torch.float32:
        return reference(f"{problem.logits.device.type}, {str(problem.logits.dtype).removeprefix('torch.')}")
    if problem.frozen is not None:
        return reference("the compiled step knows no frozen labels")
    try:
        import medwsss.solvers.compiled.step as compiled  # late: it takes a second to import
    except (ImportError, RuntimeError) as error:  # no Numba, or nowhere it may keep what it compiles
        return reference(f"the compiled step is not to be had: {error}")
    if (lacking := compiled.lacking(problem)) is not None:
        return reference(f"the compiled step has no {lacking}")
    return Backend("Numba", compiled.FusedStep, compiled.mixed, compiled.merged, compiled.interpolated)
