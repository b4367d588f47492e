# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import itertools

import pytest
import torch

from medwsss.keys import UNLABELED, VOID
from medwsss.terms import GridNeighborhood, SelfLabelingEnergy
from medwsss.terms.cross_entropies import CROSS_ENTROPIES
from medwsss.terms.neighborhoods import pairs
from medwsss.terms.relaxations import RELAXATIONS
from tests.terms.problems import batch_of, distributions, vertices

every_energy = pytest.mark.parametrize(
    ("cross_entropy", "relaxation"), list(itertools.product(CROSS_ENTROPIES, RELAXATIONS))
)


def energy_of(cross_entropy: str = "quadratic", relaxation: str = "quadratic", **kwargs) -> SelfLabelingEnergy:
    neighborhood = GridNeighborhood(connectivity=kwargs.pop("connectivity", 1), bandwidth=0.5)
    return SelfLabelingEnergy(cross_entropy, relaxation, neighborhood, **kwargs)


@every_energy
def test_value_is_eq_8_summed_voxel_by_voxel(cross_entropy: str, relaxation: str, shape: tuple[int, ...]) -> None:
    """Brute force: unary over unlabelled voxels, pairs once each, but for pairs of seeds and pairs with void."""
    logits, guide, scribble = batch_of(2, 3, shape)
    y = distributions(2, 3, shape)
    energy = energy_of(cross_entropy, relaxation, eta=0.7, lam=2.5, connectivity=2)
    h, p, n = CROSS_ENTROPIES[cross_entropy], RELAXATIONS[relaxation], energy.neighborhood
    for b, expected in enumerate(energy.bind(logits, guide, scribble).value(y)):
        total = 0.0
        for i in itertools.product(*map(range, shape)):
            if scribble[(b, 0, *i)] == UNLABELED:
                total += (
                    0.7 * h(y[(b, ..., *i)].reshape(1, 3, 1), logits[(b, ..., *i)].softmax(0).reshape(1, 3, 1)).item()
                )
        for offset, w in zip(n.offsets(len(shape)), n.weights(guide)):
            kinds, labels = pairs(scribble[b : b + 1], offset), pairs(y[b : b + 1], offset)
            for at in itertools.product(*map(range, w.shape[2:])):
                i, j = (kind[(0, 0, *at)] for kind in kinds)
                if VOID not in (i, j) and UNLABELED in (i, j):
                    ends = (label[(0, ..., *at)].reshape(1, 3, 1) for label in labels)
                    total += 2.5 * w[(b, 0, *at)].item() * p(*ends).item()
        assert expected.item() == pytest.approx(total)


@every_energy
def test_closed_form_gradient(cross_entropy: str, relaxation: str, shape: tuple[int, ...]) -> None:
    problem = energy_of(cross_entropy, relaxation, connectivity=3).bind(*batch_of(2, 3, shape))
    y = distributions(2, 3, shape).requires_grad_()
    assert torch.autograd.gradcheck(problem.value, y, fast_mode=True)  # along random directions
    torch.testing.assert_close(problem.gradient(y.detach()), torch.autograd.grad(problem.value(y).sum(), y)[0])
    torch.testing.assert_close(problem.value_and_gradient(y.detach())[0], problem.value(y).detach())


@pytest.mark.parametrize("relaxation", ["bilinear", "quadratic", "normalized_quadratic"])
def test_one_hot_labels_cost_the_weight_of_cut_pairs(relaxation: str, shape: tuple[int, ...]) -> None:
    logits, guide, _ = batch_of(2, 3, shape)
    y = vertices(2, 3, shape)
    energy = energy_of(relaxation=relaxation, eta=0, lam=1)
    expected = torch.zeros(2, dtype=torch.float64)
    for offset, w in zip(energy.neighborhood.offsets(len(shape)), energy.neighborhood.weights(guide)):
        a, b = pairs(y.argmax(1, keepdim=True), offset)
        expected += (w * (a != b)).flatten(1).sum(1)
    nothing = torch.full((2, 1, *shape), UNLABELED)
    torch.testing.assert_close(energy.bind(logits, guide, nothing).value(y), expected)


@every_energy
def test_a_plane_is_a_volume_of_depth_one(cross_entropy: str, relaxation: str) -> None:
    logits, guide, scribble = batch_of(2, 3, (5, 4))
    y = distributions(2, 3, (5, 4))
    energy = energy_of(cross_entropy, relaxation, connectivity=2)
    flat = energy.bind(logits, guide, scribble)
    deep = energy.bind(logits[..., None], guide[..., None], scribble[..., None])
    torch.testing.assert_close(deep.value(y[..., None]), flat.value(y))
    torch.testing.assert_close(deep.gradient(y[..., None])[..., 0], flat.gradient(y))


@every_energy
def test_a_batch_is_a_stack_of_its_samples(cross_entropy: str, relaxation: str, shape: tuple[int, ...]) -> None:
    batch, y = batch_of(3, 4, shape), distributions(3, 4, shape)
    energy = SelfLabelingEnergy(cross_entropy, relaxation, GridNeighborhood(bandwidth="auto"))
    value, gradient = energy.bind(*batch).value_and_gradient(y)
    for b in range(3):
        one = energy.bind(*(x[b : b + 1] for x in batch)).value_and_gradient(y[b : b + 1])
        torch.testing.assert_close((value[b : b + 1], gradient[b : b + 1]), one)


@every_energy
@pytest.mark.parametrize("scale", [1.0, 1e4])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16, torch.float16])
def test_finite_for_any_logits(cross_entropy: str, relaxation: str, scale: float, dtype: torch.dtype) -> None:
    logits, guide, scribble = batch_of(2, 5, (6, 7), dtype=torch.float32)
    problem = energy_of(cross_entropy, relaxation).bind((logits * scale).clamp(-1e4, 1e4).to(dtype), guide, scribble)
    assert problem.sigma.dtype == (torch.float64 if dtype == torch.float64 else torch.float32)
    for y in (problem.reset(problem.sigma), vertices(2, 5, (6, 7), problem.sigma.dtype)):
        value, gradient = problem.value_and_gradient(y)
        assert value.isfinite().all() and gradient.isfinite().all()
        slope = y * (gradient - (y * gradient).sum(1, keepdim=True))  # what moves logits stays bounded by the weights
        assert slope.abs().max() < 100


def test_seeds_are_one_hot_and_void_is_uniform_after_reset(shape: tuple[int, ...]) -> None:
    logits, guide, scribble = batch_of(2, 3, shape)
    problem = energy_of().bind(logits, guide, scribble)
    y = problem.reset(problem.sigma).movedim(1, -1)
    kinds = scribble[:, 0]
    assert torch.equal(y[kinds == UNLABELED], problem.sigma.movedim(1, -1)[kinds == UNLABELED])
    assert (y[kinds == VOID] == 1 / 3).all()
    seeds = (kinds != UNLABELED) & (kinds != VOID)
    assert torch.equal(y[seeds], torch.nn.functional.one_hot(kinds[seeds], 3).double())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"scribble": torch.zeros(2, 1, 5, 5, dtype=torch.long)}, "scribble of shape"),
        ({"scribble": torch.zeros(2, 1, 5, 4)}, "integer scribble"),
        ({"guide": torch.zeros(2, 1, 4, 4)}, "guide of shape"),
        ({"logits": torch.zeros(2, 3, 5, 4, dtype=torch.long)}, "floating logits"),
        ({"scribble": torch.full((2, 1, 5, 4), 3)}, r"classes 0 to 2 .*got \[3\]"),
        ({"logits": torch.tensor([0.0, torch.nan]).reshape(2, 1, 1, 1).expand(2, 3, 5, 4)}, r"logits.*sample \[1\]"),
        ({"guide": torch.tensor([torch.inf, 0.0]).reshape(2, 1, 1, 1).expand(2, 1, 5, 4)}, r"guide.*sample \[0\]"),
    ],
    ids=["scribble shape", "float scribble", "guide shape", "integer logits", "class", "NaN logits", "inf guide"],
)
def test_bad_input_is_refused_with_what_was_expected(change: dict, message: str) -> None:
    logits, guide, scribble = batch_of(2, 3, (5, 4))
    arguments = {"logits": logits, "guide": guide, "scribble": scribble, **change}
    with pytest.raises(ValueError, match=message):
        energy_of().bind(**arguments)


@pytest.mark.parametrize(
    "arguments", [{"cross_entropy": "ce"}, {"relaxation": "potts"}, {"eta": -1.0}, {"lam": -1.0}], ids=str
)
def test_bad_arguments_are_refused(arguments: dict) -> None:
    with pytest.raises(ValueError, match="expected"):
        SelfLabelingEnergy(**arguments)
