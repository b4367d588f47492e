# SPDX-License-Identifier: Apache-2.0
"""RandomWalker against a sparse direct solve, scikit-image's random walker, and the solvers that only descend."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
from scipy import sparse
from scipy.sparse.linalg import spsolve
from skimage.segmentation import random_walker
from torch import Tensor

from medwsss.keys import UNLABELED, VOID
from medwsss.solvers import GradientDescent, NaturalGradient, RandomWalker, Status
from medwsss.terms import GridNeighborhood, SelfLabelingEnergy
from tests.terms.problems import batch_of


def quadratic(connectivity: int = 1, eta: float = 0.3, lam: float = 6.0, bandwidth: float = 0.5) -> SelfLabelingEnergy:
    return SelfLabelingEnergy("quadratic", "quadratic", GridNeighborhood(connectivity, bandwidth), eta=eta, lam=lam)


def direct(logits: Tensor, guide: Tensor, scribble: Tensor, energy: SelfLabelingEnergy) -> Tensor:
    """One sample, ``K *S``, by a sparse factorisation of a matrix written out voxel by voxel."""
    num_classes, size, bandwidth = len(logits), logits.shape[1:], float(energy.neighborhood.bandwidth)
    sigma, marks = logits.softmax(0), scribble[0]
    free = [i for i in itertools.product(*(range(s) for s in size)) if marks[i] == UNLABELED]
    row = {i: n for n, i in enumerate(free)}
    matrix, right = sparse.lil_matrix((len(free), len(free))), np.zeros((len(free), num_classes))
    for i, n in row.items():
        matrix[n, n] += 2 * energy.eta
        right[n] += 2 * energy.eta * sigma[(slice(None), *i)].numpy()
        for step in itertools.product((-1, 0, 1), repeat=len(size)):
            j = tuple(x + s for x, s in zip(i, step))
            inside = all(0 <= x < s for x, s in zip(j, size))
            if not 0 < sum(map(abs, step)) <= energy.neighborhood.connectivity or not inside or marks[j] == VOID:
                continue
            contrast = (guide[(slice(None), *i)] - guide[(slice(None), *j)]).square().sum().item()
            w = energy.lam * math.exp(-contrast / (2 * bandwidth**2)) / math.sqrt(sum(map(abs, step)))
            matrix[n, n] += w
            if j in row:
                matrix[n, row[j]] -= w
            else:
                right[n, marks[j]] += w
    expected = torch.full((num_classes, *size), 1 / num_classes, dtype=torch.float64)  # of void
    for k in range(num_classes):
        expected[k][marks != VOID] = (marks[marks != VOID] == k).double()
    for i, values in zip(free, spsolve(matrix.tocsc(), right)):
        expected[(slice(None), *i)] = torch.from_numpy(np.atleast_1d(values))
    return expected


@pytest.mark.parametrize("eta, lam", [(0.3, 6.0), (0.01, 1.0)], ids=str)
@pytest.mark.parametrize(
    "size, connectivity", [((9,), 1), ((6, 7), 1), ((6, 7), 2), ((3, 4, 4), 1), ((3, 4, 4), 3)], ids=str
)
def test_is_the_direct_solution(size: tuple[int, ...], connectivity: int, eta: float, lam: float) -> None:
    batch = batch_of(3, 3, size)
    energy = quadratic(connectivity, eta, lam)
    solution = RandomWalker(energy, tolerance=1e-12)(*batch)
    expected = torch.stack([direct(*sample, energy) for sample in zip(*batch)])
    torch.testing.assert_close(solution.labels, expected, rtol=0, atol=1e-10)
    assert solution.status is Status.CONVERGED and (solution.residual <= 1e-11).all()
    assert (solution.energy.diff(dim=0) <= 0).all()
    torch.testing.assert_close(solution.energy[-1], energy.bind(*batch).value(expected))
    single = RandomWalker(energy)(*(x.float() if x.is_floating_point() else x for x in batch))
    assert single.labels.dtype == torch.float32
    torch.testing.assert_close(single.labels.double(), expected, rtol=0, atol=1e-4)
    seeds = (batch[2] != UNLABELED) & (batch[2] != VOID)
    for y in (solution.labels, single.labels):
        assert (y >= 0).all() and torch.equal(y.amax(1, keepdim=True)[seeds], torch.ones_like(y[:, :1][seeds]))
        torch.testing.assert_close(y.sum(1), torch.ones_like(y[:, 0]))


@pytest.mark.parametrize("size", [(14, 15), (6, 7, 5)], ids=str)
def test_without_a_unary_it_is_scikit_images(size: tuple[int, ...]) -> None:
    """skimage: ``w = exp(−beta ‖ΔI‖² / (10 std(I))) + 1e-10`` for one channel, so that ``2 β² = 10 std(I) / beta``."""
    image = torch.rand(1, 1, *size, dtype=torch.float64)
    scribble = torch.full(image.shape, UNLABELED)
    at = torch.randperm(scribble.numel())
    scribble.view(-1)[at[:12]] = torch.arange(3).repeat(4)
    beta = 20.0  # of skimage's 130 the 1e-10 would show: weights of white noise fall to 1e-19 there
    bandwidth = math.sqrt(5 * image.numpy().std() / beta)
    logits = torch.randn(1, 3, *size, dtype=torch.float64)  # say nothing with η = 0, but where to start
    solution = RandomWalker(quadratic(eta=0.0, bandwidth=bandwidth), tolerance=1e-10)(logits, image, scribble)
    marks = torch.where(scribble == UNLABELED, 0, scribble + 1)[0, 0].numpy()
    theirs = random_walker(image[0, 0].numpy(), marks, beta=beta, mode="bf", return_full_prob=True)
    torch.testing.assert_close(solution.labels[0], torch.from_numpy(theirs), rtol=0, atol=1e-7)
    assert solution.labels.amax(1).lt(0.99).any()  # not seeds alone


def test_nothing_that_descends_gets_below() -> None:
    batch = batch_of(4, 4, (8, 9))
    energy = quadratic(2)
    least = RandomWalker(energy)(*batch).energy[-1]
    natural = NaturalGradient(energy, max_steps=300, tolerance=0)(*batch).energy[-1]
    assert (natural >= least * (1 - 1e-9)).all() and (natural <= least * 1.01).all()
    assert (GradientDescent(energy)(*batch).energy >= least).all()


def test_a_batch_gives_what_its_samples_give_and_stops_them_one_by_one() -> None:
    logits, guide, scribble = batch_of(2, 3, (10, 11), void=False)
    scribble[1] = UNLABELED
    scribble[1, 0, 0, :3] = torch.arange(3)  # far fewer seeds: many more steps
    solver = RandomWalker(quadratic(eta=0.001))
    both = solver(logits, guide, scribble)
    alone = [solver(logits[i : i + 1], guide[i : i + 1], scribble[i : i + 1]) for i in range(2)]
    assert alone[0].steps < alone[1].steps == both.steps
    for i in range(2):
        torch.testing.assert_close(both.labels[i], alone[i].labels[0], rtol=0, atol=1e-12)
        assert both.energy[-1, i] == both.energy[alone[i].steps, i]


def test_a_warm_start_is_done_at_once_and_too_few_steps_are_reported() -> None:
    batch = batch_of(2, 3, (8, 8))
    solver = RandomWalker(quadratic())
    first = solver(*batch)
    again = solver(*batch, initial=first.labels)
    assert again.steps == 1 and again.status is Status.CONVERGED
    torch.testing.assert_close(again.labels, first.labels, rtol=0, atol=1e-6)
    short = RandomWalker(quadratic(), max_steps=2)(*batch)
    assert short.status is Status.MAX_STEPS and short.steps == 2
    assert (short.labels >= 0).all()  # after two steps it has overshot to −2e-4 somewhere
    assert (short.residual > 1e-3).all() and (first.residual <= 1.1e-5).all()
    # The residual is that of A y = b: ‖∇E(y)‖ / ‖∇E(0)‖ over free voxels.
    problem = solver.energy.bind(*batch)
    slopes = (problem.gradient(problem.reset(y)) * problem.free for y in (short.labels, 0 * batch[0]))
    ours, full = (slope.flatten(1).norm(dim=1) for slope in slopes)
    torch.testing.assert_close(short.residual, ours / full)


def test_what_no_seed_reaches_without_a_unary_keeps_the_mean_of_its_start() -> None:
    """A line with two void voxels: a chain of three (Σ_j w_ij is 1, 2, 1), a single voxel, and a chain with a seed."""
    scribble = torch.full((1, 1, 9), UNLABELED)
    scribble[..., 3] = scribble[..., 5] = VOID
    scribble[..., 6] = 1
    logits = torch.randn(1, 2, 9, dtype=torch.float64)
    sigma = logits.softmax(1)[0]
    solution = RandomWalker(quadratic(eta=0.0))(logits, torch.zeros(1, 1, 9), scribble)
    assert solution.status is Status.CONVERGED
    y = solution.labels[0]
    mean = (sigma[:, 0] + 2 * sigma[:, 1] + sigma[:, 2]) / 4
    torch.testing.assert_close(y[:, :3], mean[:, None].expand(2, 3), rtol=0, atol=1e-4)
    torch.testing.assert_close(y[:, 4], sigma[:, 4])
    torch.testing.assert_close(
        y[:, 6:], torch.tensor([[0.0], [1.0]], dtype=torch.float64).expand(2, 3), rtol=0, atol=1e-4
    )
    nothing = RandomWalker(quadratic(eta=0.0, lam=0.0))(logits, torch.zeros(1, 1, 9), scribble)
    torch.testing.assert_close(nothing.labels[0][:, :3], sigma[:, :3])
    unseeded = RandomWalker(quadratic(eta=0.0))(logits, torch.zeros(1, 1, 9), torch.full_like(scribble, UNLABELED))
    assert unseeded.status is Status.CONVERGED and unseeded.energy[-1] < 1e-8
    unary = RandomWalker(quadratic(lam=0.0))(logits, torch.zeros(1, 1, 9), scribble, initial=logits.flip(1).softmax(1))
    torch.testing.assert_close(unary.labels[0][:, :3], sigma[:, :3])


@pytest.mark.parametrize("terms", [("quadratic", "bilinear"), ("collision_cross_entropy", "quadratic")], ids=str)
def test_other_energies_are_refused(terms: tuple[str, str]) -> None:
    with pytest.raises(ValueError, match="got {!r} and {!r}".format(*terms)):
        RandomWalker(SelfLabelingEnergy(*terms))
    with pytest.raises(ValueError, match="expected tolerance >= 0"):
        RandomWalker(quadratic(), tolerance=-1.0)
