# SPDX-License-Identifier: Apache-2.0
"""A coarse solve: the same problem where labels are constant on cells, and never an outvoted or lost seed."""

from __future__ import annotations

import pytest
import torch

from medwsss.keys import UNLABELED, VOID
from medwsss.solvers import NaturalGradient, Solver, StridedSolver
from medwsss.solvers.coarse import coarsened
from medwsss.terms import GridNeighborhood, SelfLabelingEnergy

SHAPES = [(13,), (12, 7), (6, 9, 5)]


def problem(shape, num_classes=3):
    generator = torch.Generator().manual_seed(len(shape))
    logits = torch.randn(2, num_classes, *shape, generator=generator)
    guide = 30 * torch.rand(2, 1, *shape, generator=generator)
    scribble = torch.full((2, 1, *shape), UNLABELED)
    scribble.view(2, -1)[:, ::11] = torch.randint(
        0, num_classes, scribble.view(2, -1)[:, ::11].shape, generator=generator
    )
    scribble[..., -1:] = VOID
    return logits, guide, scribble


def natural(lam=6.0, steps=50):
    energy = SelfLabelingEnergy(neighborhood=GridNeighborhood(bandwidth=9.0), eta=0.3, lam=lam)
    return NaturalGradient(energy, max_steps=steps)


@pytest.mark.parametrize("shape", SHAPES)
def test_stride_1_is_the_solver(shape):
    data = problem(shape)
    assert torch.equal(StridedSolver(natural(), 1)(*data).labels, natural()(*data).labels)


@pytest.mark.parametrize("stride", [2, 4])
@pytest.mark.parametrize("shape", SHAPES)
def test_conventions(shape, stride):
    logits, guide, scribble = problem(shape)
    y = StridedSolver(natural(), stride)(logits, guide, scribble).labels
    assert y.shape == logits.shape
    torch.testing.assert_close(y.sum(1), torch.ones_like(y[:, 0]))
    assert (y >= 0).all()
    for k in range(3):
        seeds = (scribble == k).squeeze(1)
        assert (y[:, k][seeds] == 1).all()
    assert (y.movedim(1, -1)[(scribble == VOID).squeeze(1)] == 1 / 3).all()


class Recorder:
    """A solver that says what it was given, and returns certainty of class 0 or what it is told."""

    energy = SelfLabelingEnergy()

    def __call__(self, logits, guide, scribble, initial=None, weights=None):
        self.given = logits, guide, scribble
        return natural(steps=1)(logits, guide, scribble)


def test_pooling_by_hand():
    logits = torch.arange(12.0).view(1, 2, 2, 3)
    guide = torch.tensor([[[[0.0, 2, 7], [4, 6, 9]]]])
    u, v = UNLABELED, VOID
    scribble = torch.tensor([[[[u, 1, v], [u, u, v]]]])
    recorder = Recorder()
    StridedSolver(recorder, 2)(logits, guide, scribble)
    coarse_logits, coarse_guide, coarse_scribble = recorder.given
    assert coarse_logits.tolist() == [[[[2.0, 3.5]], [[8.0, 9.5]]]]  # (0+1+3+4)/4; the last cell is half there
    assert coarse_guide.tolist() == [[[[3.0, 0.0]]]]  # of what exists
    assert coarse_scribble.tolist() == [[[[1, v]]]]  # one seed of four decides; all void is void
    scribble[..., 1] = VOID
    StridedSolver(recorder, 2)(logits, guide, scribble)
    assert recorder.given[1].tolist() == [[[[2.0, 0.0]]]]


def test_most_seeds_of_a_cell_win():
    scribble = torch.tensor([[[[2, 1, UNLABELED, VOID], [1, UNLABELED, UNLABELED, UNLABELED]]]])
    recorder = Recorder()
    StridedSolver(recorder, 2)(torch.zeros(1, 3, 2, 4), torch.zeros(1, 1, 2, 4), scribble)
    assert recorder.given[2].tolist() == [[[[1, UNLABELED]]]]


@pytest.mark.parametrize("shape", [(8,), (8, 6), (4, 6, 4)])
def test_the_coarse_energy_is_that_of_labels_constant_on_cells(shape):
    """``E`` of the fine grid with λ is ``s^d`` times the coarse one's with λ / s; pairs inside cells cost 0."""
    s, cells = 2, tuple(n // 2 for n in shape)
    generator = torch.Generator().manual_seed(0)

    def fine(x):
        for axis in range(2, x.ndim):
            x = x.repeat_interleave(s, axis)
        return x

    y = torch.rand(1, 3, *cells, generator=generator).softmax(1)
    logits = torch.randn(1, 3, *cells, generator=generator)
    guide = 20 * torch.rand(1, 1, *cells, generator=generator)
    unlabeled = torch.full((1, 1, *cells), UNLABELED)
    coarse = natural(lam=6.0 / s).energy.bind(logits, guide, unlabeled).value(y)
    whole = natural(lam=6.0).energy.bind(fine(logits), fine(guide), fine(unlabeled)).value(fine(y))
    torch.testing.assert_close(whole, s ** len(shape) * coarse)


def test_autocast_logits_and_refusal():
    logits, guide, scribble = problem((12, 7))
    labels = StridedSolver(natural(), 4)(logits.bfloat16(), guide, scribble).labels
    assert labels.dtype == torch.float32
    with pytest.raises(ValueError, match="stride of at least 1, got 0"):
        StridedSolver(natural(), 0)


def test_equal_votes_are_the_networks_to_decide_as_on_coarse_grids():
    """A vote each for 1 and 2, and a network for 2; then for 1."""
    scribble = torch.full((1, 1, 4, 4), UNLABELED)
    scribble[0, 0, 0, :2] = torch.tensor([1, 2])
    for favourite in (2, 1):
        logits = torch.zeros(1, 3, 4, 4)
        logits[:, favourite] = 1
        recorder = Recorder()
        StridedSolver(recorder, 2)(logits, torch.zeros(1, 1, 4, 4), scribble)
        assert recorder.given[2][0, 0, 0, 0] == favourite
        coarse = coarsened(SelfLabelingEnergy().bind(logits, torch.zeros(1, 1, 4, 4), scribble))
        assert coarse.scribble[0, 0, 0, 0] == favourite


def test_it_is_a_solver():
    """With initial labels and weights, as every other."""
    logits, guide, scribble = problem((12, 8))
    strided = StridedSolver(natural(lam=3.0, steps=1), 2)
    assert isinstance(strided, Solver) and strided.energy is strided.solver.energy
    certain = torch.zeros_like(logits)
    certain[:, 1] = 1.0
    warm = strided(logits, guide, scribble, initial=certain).labels
    cold = strided(logits, guide, scribble).labels
    assert warm[:, 1].mean() > cold[:, 1].mean() + 0.1
    flat = torch.zeros_like(guide)  # Σ of s^(d−1) equal weights by s^(d−1): those of a flat coarse guide
    given = strided(logits, guide, scribble, weights=strided.energy.neighborhood.weights(flat)).labels
    torch.testing.assert_close(given, strided(logits, flat, scribble).labels)
    assert not torch.allclose(given, cold)
