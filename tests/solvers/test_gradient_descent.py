# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import itertools

import pytest
import torch

from medwsss.keys import UNLABELED, VOID
from medwsss.solvers import GradientDescent, Status
from medwsss.terms import GridNeighborhood, SelfLabelingEnergy
from medwsss.terms.cross_entropies import CROSS_ENTROPIES
from medwsss.terms.relaxations import RELAXATIONS
from tests.terms.problems import batch_of

every_energy = pytest.mark.parametrize(
    ("cross_entropy", "relaxation"), list(itertools.product(CROSS_ENTROPIES, RELAXATIONS))
)


def appendix_a(energy: SelfLabelingEnergy, logits, guide, scribble, steps: int, rate: float) -> torch.Tensor:
    """Appendix A as one would write it in PyTorch: autograd through the softmax, torch's SGD, seeds reset each step."""
    problem = energy.bind(logits, guide, scribble)
    variable = logits.clone().requires_grad_()
    optimizer = torch.optim.SGD([variable], lr=rate)
    for _ in range(steps):
        optimizer.zero_grad()
        problem.value(problem.reset(variable.softmax(1))).sum().backward()
        optimizer.step()
    return problem.reset(variable.detach().softmax(1))


@every_energy
def test_equals_appendix_a_by_autograd(cross_entropy: str, relaxation: str, shape: tuple[int, ...]) -> None:
    batch = batch_of(2, 3, shape)
    energy = SelfLabelingEnergy(cross_entropy, relaxation, GridNeighborhood(2, 0.5), eta=0.3, lam=2)
    solution = GradientDescent(energy, steps=8)(*batch)
    torch.testing.assert_close(solution.labels, appendix_a(energy, *batch, steps=8, rate=0.075))
    assert solution.steps == 8 and solution.energy.shape == (9, 2)
    problem = energy.bind(*batch)
    torch.testing.assert_close(solution.energy[0], problem.value(problem.reset(batch[0].softmax(1))))
    torch.testing.assert_close(solution.energy[-1], problem.value(solution.labels))


def test_defaults_are_the_papers() -> None:
    solver = GradientDescent(SelfLabelingEnergy())
    assert (solver.max_steps, solver.learning_rate) == (200, 0.075)


@pytest.mark.parametrize("cross_entropy", ["cross_entropy", "collision_cross_entropy"])
def test_without_pairs_it_becomes_as_sure_as_the_unary_makes_it(cross_entropy: str, shape: tuple[int, ...]) -> None:
    """λ = 0: −y·ln σ and −ln σ·y are least at the vertex of σ's largest class."""
    logits, guide, scribble = batch_of(2, 3, shape)
    energy = SelfLabelingEnergy(cross_entropy, "quadratic", eta=1.0, lam=0.0)
    labels = GradientDescent(energy, steps=200, learning_rate=24.0)(logits, guide, scribble).labels
    free = (scribble == UNLABELED).squeeze(1)
    assert torch.equal(labels.argmax(1)[free], logits.argmax(1)[free])
    assert labels.amax(1)[free].min() > 0.9


@pytest.mark.parametrize("cross_entropy", ["reverse_cross_entropy", "quadratic"])
def test_without_pairs_it_returns_the_prediction_where_that_is_the_minimiser(cross_entropy: str) -> None:
    """λ = 0: −σ·ln y and ‖y − σ‖² are least at y = σ."""
    logits, guide, scribble = batch_of(2, 3, (5, 4))
    logits = logits / 3  # near the vertices the softmax makes plain gradient descent slow
    energy = SelfLabelingEnergy(cross_entropy, "quadratic", eta=1.0, lam=0.0)
    problem = energy.bind(logits, guide, scribble)
    start = torch.full_like(logits, 1 / 3)
    labels = GradientDescent(energy, steps=250, learning_rate=4.0)(logits, guide, scribble, initial=start).labels
    torch.testing.assert_close(labels, problem.reset(problem.sigma), atol=1e-4, rtol=0)


def test_two_voxels_against_brute_force() -> None:
    """A seed of class 0 beside one free voxel of two classes: E(x) by a fine grid over y = (x, 1 − x)."""
    logits = torch.tensor([[0.0, -0.4], [0.0, 0.4]], dtype=torch.float64)[None]  # K × 2 voxels
    guide, scribble = torch.zeros(1, 1, 2, dtype=torch.float64), torch.tensor([[[0, UNLABELED]]])
    for cross_entropy, relaxation in itertools.product(CROSS_ENTROPIES, RELAXATIONS):
        energy = SelfLabelingEnergy(cross_entropy, relaxation, GridNeighborhood(bandwidth=1.0), eta=1.0, lam=0.5)
        x = torch.linspace(1e-6, 1 - 1e-6, 20001, dtype=torch.float64)
        y = torch.stack([torch.stack([torch.ones_like(x), x], -1), torch.stack([torch.zeros_like(x), 1 - x], -1)], 1)
        grid = energy.bind(*(t.expand(len(x), *t.shape[1:]) for t in (logits, guide, scribble))).value(y)
        solution = GradientDescent(energy, steps=250, learning_rate=2.0)(logits, guide, scribble)
        # Not every one of these is convex in the logits: it ends in a local minimum of E, which the grid shows too.
        end = solution.labels[0, 0, 1]
        near = (x - end).abs() < 0.02
        assert solution.energy[-1].item() <= grid[near].min().item() + 2e-3, (cross_entropy, relaxation)
        assert solution.energy[-1] < solution.energy[0] + 1e-12


@every_energy
def test_on_the_simplex_with_seeds_one_hot_and_void_uniform(cross_entropy: str, relaxation: str) -> None:
    logits, guide, scribble = batch_of(2, 4, (6, 5), dtype=torch.float32)
    y = GradientDescent(SelfLabelingEnergy(cross_entropy, relaxation), steps=10)(logits, guide, scribble).labels
    assert (y >= 0).all() and (y.sum(1) - 1).abs().max() < 1e-5
    columns, kinds = y.movedim(1, -1), scribble[:, 0]
    seeds = (kinds != UNLABELED) & (kinds != VOID)
    assert torch.equal(columns[seeds], torch.nn.functional.one_hot(kinds[seeds], 4).float())
    assert (columns[kinds == VOID] == 0.25).all()


def test_samples_classes_and_axes_do_not_mix(shape: tuple[int, ...]) -> None:
    logits, guide, scribble = batch_of(2, 4, shape)
    solve = GradientDescent(SelfLabelingEnergy(neighborhood=GridNeighborhood(2, "auto")), steps=15)
    labels = solve(logits, guide, scribble).labels
    alone = [solve(*(x[b : b + 1] for x in (logits, guide, scribble))).labels for b in range(2)]
    torch.testing.assert_close(labels, torch.cat(alone))
    order = torch.tensor([2, 0, 3, 1])
    renamed = torch.where(scribble < 4, order.argsort()[scribble.clamp_max(3)], scribble)
    torch.testing.assert_close(solve(logits[:, order], guide, renamed).labels, labels[:, order])
    turned = solve(*(x.transpose(2, -1) for x in (logits, guide, scribble))).labels.transpose(2, -1)
    torch.testing.assert_close(turned, labels)


def test_runs_without_autograd_in_float32_under_autocast() -> None:
    logits, guide, scribble = batch_of(1, 3, (5, 4), dtype=torch.float32)
    solve = GradientDescent(SelfLabelingEnergy(), steps=5)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        solution = solve(logits.requires_grad_(), guide, scribble)
    assert solution.labels.dtype == torch.float32 and not solution.labels.requires_grad
    torch.testing.assert_close(solution.labels, solve(logits.detach(), guide, scribble).labels, rtol=0, atol=0)


def test_given_weights_are_used_and_a_warm_start_starts_there() -> None:
    logits, guide, scribble = batch_of(1, 3, (5, 4))
    energy = SelfLabelingEnergy()
    solve = GradientDescent(energy, steps=5)
    weights = energy.neighborhood.weights(guide, scribble != VOID)
    plain = solve(logits, guide, scribble)
    torch.testing.assert_close(solve(logits, torch.zeros_like(guide), scribble, weights=weights).labels, plain.labels)
    again = solve(logits, guide, scribble, initial=plain.labels)
    torch.testing.assert_close(again.energy[0], plain.energy[-1])


def test_status_is_advice() -> None:
    batch = batch_of(1, 3, (6, 6))
    energy = SelfLabelingEnergy(relaxation="bilinear")
    assert GradientDescent(energy, steps=20)(*batch).status is Status.STEPS_DONE
    confident = (batch[0] * 100, *batch[1:])
    diverged = GradientDescent(
        SelfLabelingEnergy("reverse_cross_entropy", "bilinear", lam=0), steps=1, learning_rate=1e6
    )
    assert diverged(*batch, initial=torch.full_like(batch[0], 1 / 3)).status is Status.DIVERGED
    assert "lower learning_rate" in str(Status.DIVERGED)
    assert GradientDescent(energy, steps=1)(*confident).energy.isfinite().all()


@pytest.mark.parametrize("arguments", [{"steps": 0}, {"learning_rate": 0.0}], ids=str)
def test_bad_arguments_are_refused(arguments: dict) -> None:
    with pytest.raises(ValueError, match="expected"):
        GradientDescent(SelfLabelingEnergy(), **arguments)
