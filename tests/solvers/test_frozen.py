# SPDX-License-Identifier: Apache-2.0
"""Labels that are known outside of a block: the rest has the labels of the whole, and by brute force the best ones."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from medwsss.keys import UNLABELED, VOID
from medwsss.solvers import GradientDescent, GraphCut, HardLabels, NaturalGradient, RandomWalker, StridedSolver
from medwsss.terms import GridNeighborhood, SelfLabelingEnergy

U = UNLABELED
ETA, LAM = 0.3, 2.0
LOGITS = torch.tensor([[[0.9, -0.4, 0.2, 1.1]], [[0.0, 0.3, 0.0, -0.2]]]).movedim(1, 0)  # 1 × 2 classes × 4 voxels
GUIDE = torch.tensor([0.0, 0.3, 1.0, 1.2]).reshape(1, 1, 4)
WEIGHTS = np.exp(-np.diff([0.0, 0.3, 1.0, 1.2]) ** 2 / 2)


def energy(cross_entropy="quadratic", relaxation="quadratic", bandwidth=1.0):
    return SelfLabelingEnergy(cross_entropy, relaxation, GridNeighborhood(bandwidth=bandwidth), ETA, LAM)


def frozen_at(**voxels):
    """``1 × 2 × 4`` with ``(p, 1 − p)`` at some voxels."""
    frozen = torch.zeros(1, 2, 4)
    for voxel, p in voxels.items():
        frozen[0, :, int(voxel[1:])] = torch.tensor([p, 1 - p])
    return frozen


# of two-class labels (p, 1 − p) and (q, 1 − q), by the formulas of the paper's Table 1 and §3.1
RELAXATIONS = {
    "quadratic": lambda p, q: (p - q) ** 2,
    "log_quadratic": lambda p, q: -np.log(1 - (p - q) ** 2),
    "collision_divergence": lambda p, q: -np.log(
        (p * q + (1 - p) * (1 - q)) / np.sqrt((p**2 + (1 - p) ** 2) * (q**2 + (1 - q) ** 2))
    ),
}
CROSS_ENTROPIES = {
    "quadratic": lambda p, s: 2 * (p - s) ** 2,
    "collision_cross_entropy": lambda p, s: -np.log(p * s + (1 - p) * (1 - s)),
}


@pytest.mark.parametrize("relaxation", RELAXATIONS)
@pytest.mark.parametrize("cross_entropy", CROSS_ENTROPIES)
def test_two_voxels_between_two_that_are_known(cross_entropy, relaxation):
    """The least of all 1001² labels of the two in the middle; nothing is paid for those that are known."""
    sigma = LOGITS.softmax(1)[0, 0].numpy()
    grid = np.linspace(0, 1, 1001)
    p, q = np.meshgrid(grid, grid, indexing="ij")
    with np.errstate(divide="ignore"):
        pair, unary = RELAXATIONS[relaxation], CROSS_ENTROPIES[cross_entropy]
        total = ETA * (unary(p, sigma[1]) + unary(q, sigma[2]))
        total += LAM * (WEIGHTS[0] * pair(0.7, p) + WEIGHTS[1] * pair(p, q) + WEIGHTS[2] * pair(q, 0.2))
    best = np.unravel_index(total.argmin(), total.shape)
    solver = NaturalGradient(energy(cross_entropy, relaxation), max_steps=500, tolerance=0)
    scribble = torch.full((1, 1, 4), U)
    solution = solver(LOGITS, GUIDE, scribble, frozen=frozen_at(_0=0.7, _3=0.2))
    y = solution.labels[0, 0].numpy()
    assert y[[0, 3]] == pytest.approx([0.7, 0.2], abs=1e-7)
    assert y[[1, 2]] == pytest.approx(grid[list(best)], abs=2e-3)
    assert solution.energy[-1].item() == pytest.approx(total.min(), abs=1e-4)
    assert solution.backend == "Numba"


def whole():
    """8 × 9 with three classes, seeds and a void corner."""
    rng = torch.Generator().manual_seed(0)
    scribble = torch.full((1, 1, 8, 9), U)
    scribble[0, 0, 1, 1], scribble[0, 0, 6, 7], scribble[0, 0, 3, 4], scribble[0, 0, :2, 7:] = 0, 1, 2, VOID
    return torch.randn(1, 3, 8, 9, generator=rng), torch.rand(1, 2, 8, 9, generator=rng), scribble


def solvers():
    return {
        "random_walker": RandomWalker(energy(), tolerance=1e-8),
        "natural_gradient": NaturalGradient(energy(), max_steps=500, tolerance=0),
        "gradient_descent": GradientDescent(energy(), steps=150, learning_rate=0.5),
    }


@pytest.mark.parametrize("name", solvers())
def test_a_block_with_the_border_of_the_whole_has_the_labels_of_the_whole(name):
    """A unique minimiser: one ring around the block, as far as pairs go, says all that the rest would."""
    inputs = whole()
    expected = RandomWalker(energy(), tolerance=1e-8)(*inputs).labels
    seen = (..., slice(1, 7), slice(2, 8))
    border = expected[seen].clone()
    border[..., 1:-1, 1:-1] = 0
    inputs = [x[seen] for x in inputs]
    start = (expected[seen] + 0.1) / 1.3
    y = solvers()[name](*inputs, initial=start, frozen=border).labels
    assert (y - expected[seen]).abs().max() < 1e-3
    assert (RandomWalker(energy())(*inputs).labels - expected[seen]).abs().max() > 1e-2  # what a cut without it has


def test_seeds_and_void_stay_what_they_are():
    scribble = torch.tensor([0, U, U, VOID]).reshape(1, 1, 4)
    y = NaturalGradient(energy())(LOGITS, GUIDE, scribble, frozen=frozen_at(_0=0.3, _1=0.6, _3=0.9)).labels
    assert y[0, 0, [0, 1, 3]].tolist() == pytest.approx([1, 0.6, 0.5])


def test_hard_labels_and_cuts():
    """The second voxel follows the frozen one beside it, whose largest class is 1, against the network."""
    scribble, frozen = torch.full((1, 1, 4), U), frozen_at(_0=0.2)
    strong = SelfLabelingEnergy("quadratic", "bilinear", GridNeighborhood(bandwidth=9.0), 0.01, 6.0)
    cut = GraphCut(strong)(LOGITS, GUIDE, scribble, frozen=frozen).labels
    assert cut[0, 0].tolist() == pytest.approx([0.2, 0, 0, 0])
    hard = HardLabels(NaturalGradient(energy()))(LOGITS, GUIDE, scribble, frozen=frozen).labels
    assert hard[0, 0, 0] == 0 and set(hard.unique().tolist()) == {0, 1}


def test_what_is_refused():
    solver, scribble = NaturalGradient(energy()), torch.full((1, 1, 4), U)
    for wrong in (torch.zeros(1, 3, 4), frozen_at(_0=1.2), frozen_at(_0=0.5) * 0.9):
        with pytest.raises(ValueError, match="expected frozen labels"):
            solver(LOGITS, GUIDE, scribble, frozen=wrong)
    with pytest.raises(ValueError, match="expected no frozen labels with a stride, got some with 2"):
        StridedSolver(solver, 2)(LOGITS, GUIDE, scribble, frozen=frozen_at(_0=0.5))
