# SPDX-License-Identifier: Apache-2.0
"""GraphCut against every labelling of tiny grids."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from torch import Tensor

from medwsss.keys import UNLABELED, VOID
from medwsss.solvers import GraphCut, Solution, Status
from medwsss.terms import GridNeighborhood, SelfLabelingEnergy
from tests.terms.problems import batch_of

pytestmark = pytest.mark.filterwarnings("error::RuntimeWarning")  # divisions by zero among them
Inputs = tuple[Tensor, Tensor, Tensor]
HARD = ["cross_entropy", "collision_cross_entropy", "quadratic"]


def costs_and_pairs(inputs: Inputs, energy: SelfLabelingEnergy) -> tuple[list, list]:
    """One sample's ``η H(e_k, σ_i)`` as a table and its pairs ``(i, j, λ w_ij)``, written out voxel by voxel."""
    logits, guide, scribble = inputs
    assert energy.neighborhood.bandwidth == 0.5  # the weights below
    size = logits.shape[2:]
    voxels = list(itertools.product(*(range(s) for s in size)))
    table, links = [], []
    for i in voxels:
        sigma = logits[(0, slice(None), *i)].softmax(0).tolist()
        free = scribble[(0, 0, *i)].item() == UNLABELED
        if energy.cross_entropy.name == "quadratic":
            costs = [sum((float(k == c) - s) ** 2 for c, s in enumerate(sigma)) for k in range(len(sigma))]
        else:  # −ln σ^k, both of them
            costs = [-math.log(s) for s in sigma]
        table.append([energy.eta * cost * free for cost in costs])
    for (a, i), (b, j) in itertools.combinations(enumerate(voxels), 2):
        steps = [abs(x - y) for x, y in zip(i, j)]
        ends = [scribble[(0, 0, *i)].item(), scribble[(0, 0, *j)].item()]
        if max(steps) > 1 or sum(steps) > energy.neighborhood.connectivity or VOID in ends or UNLABELED not in ends:
            continue
        contrast = sum((guide[(0, slice(None), *i)] - guide[(0, slice(None), *j)]).square().tolist())
        links.append((a, b, energy.lam * math.exp(-contrast / (2 * 0.5**2)) / math.sqrt(sum(steps))))
    return table, links


def energy_of(labels: list[int], table: list, links: list) -> float:
    return sum(t[k] for t, k in zip(table, labels)) + sum(w for i, j, w in links if labels[i] != labels[j])


def lowest(inputs: Inputs, energy: SelfLabelingEnergy) -> float:
    """The least energy of all labellings that agree with the seeds."""
    choices = [
        range(inputs[0].shape[1]) if mark == UNLABELED else [0 if mark == VOID else mark]
        for mark in inputs[2].flatten().tolist()
    ]
    table, links = costs_and_pairs(inputs, energy)
    return min(energy_of(labels, table, links) for labels in itertools.product(*choices))


def check(solution: Solution, inputs: Inputs, energy: SelfLabelingEnergy) -> None:
    """Hard, seeds kept, void uniform, and of the energy it says it is."""
    y, scribble = solution.labels, inputs[2].squeeze(1)
    real = y.movedim(1, -1)[scribble != VOID]
    assert ((real == 0) | (real == 1)).all() and (real.sum(-1) == 1).all()
    seeds = (scribble != UNLABELED) & (scribble != VOID)
    assert torch.equal(y.argmax(1)[seeds], scribble[seeds])
    assert (y.movedim(1, -1)[scribble == VOID] == 1 / y.shape[1]).all()
    assert (solution.energy.diff(dim=0) <= 0).all()
    for sample in range(len(y)):
        table, links = costs_and_pairs(tuple(x[sample : sample + 1] for x in inputs), energy)
        own = energy_of(y[sample].argmax(0).flatten().tolist(), table, links)
        assert solution.energy[-1, sample].item() == pytest.approx(own, rel=1e-12)


@pytest.mark.parametrize("cross_entropy", HARD)
@pytest.mark.parametrize("size", [(11,), (3, 4), (2, 3, 2)], ids=str)
def test_two_classes_exactly(cross_entropy: str, size: tuple[int, ...]) -> None:
    batch = batch_of(5, 2, size)
    for lam in (0.05, 0.4):
        energy = SelfLabelingEnergy(cross_entropy, "quadratic", GridNeighborhood(2, 0.5), eta=0.3, lam=lam)
        backwards = 1 - batch[0].softmax(1)  # from the other end: where it starts doesn't matter
        for initial in (None, backwards):
            solution = GraphCut(energy)(*batch, initial=initial)
            check(solution, batch, energy)
            assert solution.status is Status.CONVERGED
            for sample in range(5):
                best = lowest(tuple(x[sample : sample + 1] for x in batch), energy)
                assert solution.energy[-1, sample].item() == pytest.approx(best, rel=1e-7)


def test_three_classes_within_the_bound_and_mostly_exactly() -> None:
    energy = SelfLabelingEnergy("collision_cross_entropy", "bilinear", GridNeighborhood(2, 0.5), eta=0.3, lam=0.4)
    batch = batch_of(16, 3, (3, 4))
    solution = GraphCut(energy)(*batch, initial=torch.rand_like(batch[0]))
    check(solution, batch, energy)
    best = torch.tensor([lowest(tuple(x[i : i + 1] for x in batch), energy) for i in range(16)])
    found = solution.energy[-1]
    assert (found >= best - 1e-6).all() and (found <= 2 * best + 1e-6).all()
    assert (found <= best + 1e-6).sum() >= 12


@pytest.mark.parametrize("cross_entropy", HARD)
def test_without_pairs_each_voxel_takes_its_best_class(cross_entropy: str, shape: tuple[int, ...]) -> None:
    logits, guide, scribble = batch_of(2, 4, shape)
    energy = SelfLabelingEnergy(cross_entropy, eta=0.3, lam=0.0)
    scribble[1] = UNLABELED  # also where nothing at all holds a voxel back
    solution = GraphCut(energy)(logits, guide, scribble, initial=torch.rand_like(logits))
    free = (scribble == UNLABELED).squeeze(1)
    assert torch.equal(solution.labels.argmax(1)[free], logits.argmax(1)[free])


def test_without_a_unary_the_cut_follows_the_edge() -> None:
    """Two seeds at the ends of a chain with one strong edge in the guide: nothing is cheaper than to cut there."""
    guide = torch.tensor([0.0] * 4 + [1.0] * 5).reshape(1, 1, 9)
    scribble = torch.full((1, 1, 9), UNLABELED)
    scribble[..., 0], scribble[..., -1] = 2, 1
    energy = SelfLabelingEnergy(neighborhood=GridNeighborhood(bandwidth=0.5), eta=0.0, lam=6.0)
    solution = GraphCut(energy)(torch.randn(1, 3, 9), guide, scribble)
    assert solution.labels.argmax(1).flatten().tolist() == [2] * 4 + [1] * 5
    assert solution.energy[-1].item() == pytest.approx(6 * math.exp(-2))  # λ exp(−1² / 2·0.5²)
    assert solution.labels.dtype == torch.float32


def test_a_warm_start_goes_on_from_there() -> None:
    batch = batch_of(2, 4, (9, 8))
    solver = GraphCut(SelfLabelingEnergy(lam=1.0))
    first = solver(*batch)
    assert first.steps > 1
    again = solver(*batch, initial=first.labels)
    assert again.steps == 1 and again.status is Status.CONVERGED and torch.equal(again.labels, first.labels)
    assert torch.equal(again.energy[0], first.energy[-1])


def test_costs_of_any_size_and_a_sweep_that_is_not_enough() -> None:
    logits, guide, scribble = batch_of(2, 3, (4, 5))
    for eta, lam, scale in ((1e6, 1.0, 1e3), (1e-6, 1e6, 1.0), (1e-12, 1e-12, 1e-3)):
        energy = SelfLabelingEnergy("quadratic", "quadratic", GridNeighborhood(1, 0.5), eta=eta, lam=lam)
        check(GraphCut(energy)(logits * scale, guide, scribble), (logits * scale, guide, scribble), energy)
    energy = SelfLabelingEnergy(neighborhood=GridNeighborhood(1, 0.5))
    once = GraphCut(energy, max_steps=1)(logits, guide, scribble, initial=torch.rand_like(logits))
    assert once.status is Status.MAX_STEPS and once.energy.shape == (2, 2)


def test_the_reverse_cross_entropy_is_refused() -> None:
    with pytest.raises(ValueError, match="finite for hard labels, got 'reverse_cross_entropy'"):
        GraphCut(SelfLabelingEnergy("reverse_cross_entropy"))
