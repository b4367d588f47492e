# SPDX-License-Identifier: Apache-2.0
"""The step on a CUDA device, by Triton, which comes with PyTorch there: compiled on first use and cached on disk."""

from __future__ import annotations

import functools

import torch
import triton
from torch import Tensor

from medwsss.keys import UNLABELED
from medwsss.solvers.compiled.fused import FusedStep
from medwsss.solvers.compiled.triton_kernel import sweep
from medwsss.terms.energy import BoundEnergy, SelfLabelingEnergy

__all__ = ["TritonStep", "unusable"]

WARPS = 4
BLOCK = 32 * WARPS  # voxels of a program: with a thread each, sums over neighbours stay in its registers


class TritonStep(FusedStep):
    """:class:`FusedStep` on a CUDA device.

    Args:
        problem: what to minimise.
    """

    def __init__(self, problem: BoundEnergy) -> None:
        super().__init__(problem)
        self.offsets = torch.tensor(self.shifts, dtype=torch.int32, device=self.unary.device)

    def sweep(self, y: Tensor, previous: Tensor, stride: Tensor, momentum: float, out: Tensor | None) -> Tensor:
        """As :meth:`FusedStep.sweep`; blocks are summed up in double precision."""
        batch, classes, size = self.shape
        partners = len(self.shifts) * (1 if out is None else 2)
        energy = y.new_empty(batch, triton.cdiv(size, BLOCK))
        with torch.cuda.device_of(y):  # Triton launches on the current device, whatever it is given
            sweep[energy.shape[1], batch](
                y,
                previous,
                self.unary,
                self.free,
                self.weights,
                self.offsets,
                stride,
                previous if out is None else out,
                energy,
                size,
                self.eta,
                momentum,
                classes,
                len(self.shifts),
                triton.next_power_of_2(max(partners, 1)),
                *self.kinds,
                out is not None,
                BLOCK,
                num_warps=WARPS,
            )
        return energy.sum(1, dtype=torch.float64).to(y.dtype)


@functools.cache
def unusable(device: torch.device) -> str | None:
    """Why Triton cannot serve on a device, such as for want of a C compiler: found by a look at four voxels."""
    scribble = torch.full((1, 1, 4), UNLABELED, dtype=torch.uint8, device=device)
    problem = SelfLabelingEnergy().bind(
        torch.zeros(1, 2, 4, device=device), torch.zeros(1, 1, 4, device=device), scribble
    )
    try:
        TritonStep(problem).energy(problem.sigma, torch.ones(1, device=device))
    except Exception as error:  # of Triton, of the compiler that it calls, of the driver
        return f"{type(error).__name__}: {error}".splitlines()[0]
    return None
