# SPDX-License-Identifier: Apache-2.0
"""The same energy for labels that are constant on cells of 2 voxels an axis: where a solver can start cheaply."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from medwsss.keys import UNLABELED, VOID
from medwsss.solvers.mirror_step import compiled
from medwsss.terms.energy import BoundEnergy, SelfLabelingEnergy
from medwsss.terms.neighborhoods import pairs

__all__ = ["can_coarsen", "coarsened", "refined"]

AVERAGE: dict[int, Callable[..., Tensor]] = {1: F.avg_pool1d, 2: F.avg_pool2d, 3: F.avg_pool3d}
LINEAR = {1: "linear", 2: "bilinear", 3: "trilinear"}
LEAST = 4  # voxels an axis has to have to be halved


def cell(problem: BoundEnergy) -> tuple[int, ...]:
    """Voxels of a cell along each axis: 2, but 1 where the axis is short or voxels are twice as long as elsewhere.

    Thick slices are thus not merged before voxels in the plane are as long, as is usual in multigrid methods.
    """
    shape = problem.logits.shape[2:]
    spacing = problem.neighborhood.spacing or [1.0] * len(shape)
    least = min((s for s, n in zip(spacing, shape) if n >= LEAST), default=0.0)
    return tuple(2 if n >= LEAST and s < 2 * least else 1 for s, n in zip(spacing, shape))


def can_coarsen(problem: BoundEnergy) -> bool:
    """Whether an axis is long enough and equal labels cost nothing: the pairs inside a cell are left out."""
    return max(problem.logits.shape[2:]) >= LEAST and problem.relaxation.zero_on_equals


def coarsened(problem: BoundEnergy) -> BoundEnergy:
    """``E`` of labels that are constant on cells, divided by the voxels of a cell, as an energy of cells.

    The relaxation is the quadratic one whatever that of the voxels: it is convex, and what a coarse grid decides too
    early it would not change its mind about on the finer one. ``w`` of two cells is the sum over the pairs from one to
    the other. The unary term is that of the mean logits, which is exact for ``−y·ln σ``. A cell with seeds is a seed of
    the class that most of them have; one without anything to label is void.
    """
    size = cell(problem)
    fused = compiled(problem)
    logits, scribble = (fused.merged if fused else merged)(problem, size)
    per_voxel = 1 / math.prod(size)  # λ is in the weights already
    spacing = problem.neighborhood.spacing and [s * n for s, n in zip(problem.neighborhood.spacing, size)]
    neighborhood = replace(problem.neighborhood, spacing=spacing)
    energy = SelfLabelingEnergy(problem.cross_entropy.name, "quadratic", neighborhood, problem.eta, lam=per_voxel)
    return BoundEnergy(energy, logits, scribble, coarse_weights(problem, size))


def merged(problem: BoundEnergy, size: Sequence[int]) -> tuple[Tensor, Tensor]:
    """Mean logits of cells and their scribble; where votes are equal the network decides."""
    mean = partial(AVERAGE[len(size)], kernel_size=size, ceil_mode=True, count_include_pad=False)
    logits = mean(problem.logits)
    sample, channel, *voxel = problem.seeds
    votes = torch.zeros_like(logits)
    at = (sample, channel, *(x // n for x, n in zip(voxel, size)))
    votes.index_put_(at, votes.new_ones(()), accumulate=True)
    seeded = votes.sum(1, keepdim=True) > 0
    empty = mean(problem.free.to(logits.dtype)) == 0
    scribble = torch.where(empty, VOID, UNLABELED).to(torch.uint8)
    of_seeded = seeded.squeeze(1)
    draws = logits.movedim(1, -1)[of_seeded].softmax(-1) / 2
    scribble[seeded] = (votes.movedim(1, -1)[of_seeded] + draws).argmax(-1).to(torch.uint8)
    return logits, scribble


def coarse_weights(problem: BoundEnergy, size: Sequence[int]) -> list[Tensor]:
    """``Σ λ w_ij`` over the pairs from one cell to another, for each offset between cells."""
    padding = [x for n, s in zip(reversed(problem.logits.shape), reversed(size)) for x in (0, -n % s)]
    cells = [-(-n // s) for n, s in zip(problem.logits.shape[2:], size)]
    ends = {o: pairs(problem.weight_map.new_zeros(len(problem.logits), 1, *cells), o)[0] for o in problem.offsets}
    for offset, weights in zip(problem.offsets, F.pad(problem.weight_map, padding).split(1, 1)):
        for place in itertools.product(*map(range, size)):  # of a pair's first voxel in its cell
            step = tuple((p + o) // s for p, o, s in zip(place, offset, size))
            every: tuple[Any, ...] = tuple(slice(p, None, s) for p, s in zip(place, size))
            of_cell = weights[(..., *every)]
            if step in ends:
                ends[step] += pairs(of_cell, step)[0]
            elif any(step):  # the other cell comes first in the half neighbourhood
                back = tuple(-s for s in step)
                ends[back] += pairs(of_cell, back)[1]
    return [ends[offset] for offset in problem.offsets]


def refined(y: Tensor, problem: BoundEnergy) -> Tensor:
    """Labels of the cells of ``problem`` as labels of its voxels, interpolated linearly between centres."""
    size = cell(problem)
    fused = compiled(problem)
    return (fused.interpolated if fused else interpolated)(y, size, problem.logits.shape[2:])


def interpolated(y: Tensor, size: Sequence[int], shape: Sequence[int]) -> Tensor:
    """``B K *S`` of cells of ``size`` voxels as ``B K *shape``."""
    full = F.interpolate(y, scale_factor=tuple(map(float, size)), mode=LINEAR[len(size)], align_corners=False)
    for axis, length in enumerate(shape, start=2):
        full = full.narrow(axis, 0, length)
    return full
