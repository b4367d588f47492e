# SPDX-License-Identifier: Apache-2.0
"""Coarse grids against the energy of labels that are constant on cells."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from medwsss.keys import UNLABELED, VOID
from medwsss.solvers import NaturalGradient
from medwsss.solvers.cells import interpolated, merged
from medwsss.solvers.coarse import can_coarsen, cell, coarsened
from medwsss.solvers.compiled import numba_step as fused
from medwsss.solvers.mirror_step import mixed
from medwsss.terms import GridNeighborhood, SelfLabelingEnergy
from medwsss.terms.relaxations import RELAXATIONS

Size = tuple[int, ...]


def inputs(size: Size, num_classes: int = 3) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(2, num_classes, *size, generator=generator, dtype=torch.float64)
    guide = torch.rand(2, 2, *size, generator=generator, dtype=torch.float64)
    scribble = torch.full((2, 1, *size), UNLABELED)
    scribble.view(2, -1)[0, 5:6], scribble.view(2, -1)[1, 6:7] = 1, 2
    return logits, guide, scribble


def repeated(y: Tensor) -> Tensor:
    """A cell's labels at each of its voxels."""
    for axis in range(2, y.ndim):
        y = y.repeat_interleave(2, axis)
    return y


@pytest.mark.parametrize("size", [(12,), (8, 6), (4, 6, 8)])
@pytest.mark.parametrize("connectivity", [1, 2, 3])
def test_cells_cost_what_their_voxels_cost(size: Size, connectivity: int) -> None:
    energy = SelfLabelingEnergy("cross_entropy", "quadratic", GridNeighborhood(connectivity), eta=0.3, lam=6.0)
    problem = energy.bind(*inputs(size))
    coarse = coarsened(problem)
    assert coarse.logits.shape[2:] == tuple(s // 2 for s in size)
    drawn = torch.randn(3, *coarse.logits.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    cells = [coarse.reset(x.softmax(1)) for x in drawn]
    # Equal but for what no label changes: the entropy of σ, and the free voxels in a cell that is a seed.
    fine = [problem.value(repeated(y)) / 2 ** len(size) for y in cells]
    for a, b in ((0, 1), (0, 2)):
        torch.testing.assert_close(coarse.value(cells[a]) - coarse.value(cells[b]), fine[a] - fine[b])


def test_seeds_votes_void_and_odd_sizes() -> None:
    logits, guide, scribble = inputs((5, 7))
    scribble[:] = UNLABELED
    scribble[0, 0, 0, :2], scribble[0, 0, 1, 0] = torch.tensor([2, 1]), 2  # two votes for 2, one for 1
    scribble[0, 0, 4, 6] = 0  # alone in the corner that is left over
    scribble[1, 0, :2, :2] = VOID
    scribble[1, 0, 2, :3] = VOID  # free voxels remain in those cells
    coarse = coarsened(SelfLabelingEnergy().bind(logits, guide, scribble))
    assert coarse.logits.shape == (2, 3, 3, 4)
    start = coarse.reset(torch.full_like(coarse.logits, 0.2))
    assert start[0, :, 0, 0].tolist() == [0, 0, 1] and start[0, :, 2, 3].tolist() == [1, 0, 0]
    assert start[1, :, 0, 0].tolist() == pytest.approx([1 / 3] * 3)
    assert coarse.free.sum() == 2 * 12 - 3


def test_an_axis_that_is_short_stays() -> None:
    problem = SelfLabelingEnergy().bind(*inputs((9, 1, 3)))
    coarse = coarsened(problem)
    assert coarse.logits.shape[2:] == (5, 1, 3)
    assert interpolated(coarse.logits, cell(problem), problem.logits.shape[2:]).shape == problem.logits.shape


def test_thick_slices_are_merged_when_voxels_are_as_long_in_the_plane() -> None:
    problem = SelfLabelingEnergy(neighborhood=GridNeighborhood(spacing=(1.0, 1.0, 2.5))).bind(*inputs((16, 16, 8)))
    shapes = []
    while can_coarsen(problem):
        problem = coarsened(problem)
        shapes.append(tuple(problem.logits.shape[2:]))
    # spacings 2 2 2.5, 4 4 5, 8 8 10 (the plane is 2 wide by then)
    assert shapes == [(8, 8, 8), (4, 4, 4), (2, 2, 2)]


def test_interpolation_keeps_planes_and_the_simplex() -> None:
    problem = SelfLabelingEnergy().bind(*inputs((15,)))
    y = torch.stack([torch.linspace(0.1, 0.8, 8), 1 - torch.linspace(0.1, 0.8, 8), torch.zeros(8)])[None]
    fine = interpolated(y, cell(problem), problem.logits.shape[2:])
    assert fine.shape == (1, 3, 15)
    torch.testing.assert_close(fine.sum(1), torch.ones(1, 15))
    # Centres of voxels lie a quarter of a cell beside those of cells.
    torch.testing.assert_close(fine[0, 0, 1:14], 0.1 + 0.05 * (torch.arange(1, 14) - 0.5))


@pytest.mark.parametrize("relaxation", RELAXATIONS)
def test_only_where_equal_labels_cost_nothing(relaxation: str) -> None:
    p = torch.tensor([[[0.5], [0.3], [0.2]]])
    free = RELAXATIONS[relaxation](p, p).item() == pytest.approx(0, abs=1e-6)
    assert can_coarsen(SelfLabelingEnergy(relaxation=relaxation).bind(*inputs((8, 8)))) == free
    assert not can_coarsen(SelfLabelingEnergy(relaxation=relaxation).bind(*inputs((3, 3))))


def test_a_stroke_reaches_far_in_few_steps() -> None:
    # One seed at each end of a flat row and a network that knows nothing: the middle is the border.
    scribble = torch.full((1, 1, 128), UNLABELED)
    scribble[..., 0], scribble[..., -1] = 0, 1
    energy = SelfLabelingEnergy(neighborhood=GridNeighborhood(bandwidth=1.0), eta=1e-3)
    arguments = torch.zeros(1, 2, 128), torch.zeros(1, 1, 128), scribble
    reached = [
        int((NaturalGradient(energy, max_steps=3, levels=levels)(*arguments).labels[0, 0] > 0.51).sum())
        for levels in (0, 5)
    ]
    assert reached[0] < 16 and reached[1] > 48


@pytest.mark.parametrize("size", [(12,), (13,), (8, 6), (9, 7), (1, 1), (5, 1, 7), (1, 6, 3), (6, 7, 8), (40, 50, 60)])
@pytest.mark.parametrize("share", [0.0, 0.1, 0.9])
def test_compiled_as_plain(size: Size, share: float) -> None:
    logits, guide, scribble = inputs(size)
    draw = torch.rand(scribble.shape, generator=torch.Generator().manual_seed(2))
    kinds = torch.randint(0, 3, scribble.shape, generator=torch.Generator().manual_seed(3))
    scribble = torch.where(draw < share, kinds, UNLABELED).masked_fill(draw > 0.7, VOID)
    problem = SelfLabelingEnergy().bind(logits.float(), guide, scribble)
    expected, of_cells = merged(problem.logits, problem.scribble, cell(problem))
    means, classes = fused.merged(problem.logits, problem.scribble, cell(problem))
    assert torch.equal(classes.to(of_cells.dtype), of_cells)
    torch.testing.assert_close(means, expected, rtol=0, atol=1e-6)
    arguments = expected.softmax(1), cell(problem), logits.shape[2:]
    torch.testing.assert_close(fused.interpolated(*arguments), interpolated(*arguments), rtol=0, atol=1e-6)
    y = logits.float().softmax(1)
    torch.testing.assert_close(fused.mixed(y.clone(), problem, 0.2), mixed(y.clone(), problem, 0.2), rtol=0, atol=1e-6)
