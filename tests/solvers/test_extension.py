# SPDX-License-Identifier: Apache-2.0
"""Terms that nobody here has heard of: one function each, and every solver runs with them in any precision."""

from __future__ import annotations

import pytest
import torch

from medwsss.keys import UNLABELED
from medwsss.losses import SelfLabelingLoss
from medwsss.solvers import GradientDescent, NaturalGradient
from medwsss.terms import GridNeighborhood, SelfLabelingEnergy
from medwsss.terms.cross_entropies import CROSS_ENTROPIES, CrossEntropy
from medwsss.terms.relaxations import RELAXATIONS, Relaxation, cosine
from tests.terms.problems import batch_of, distributions


def jaccard(pq, pp, qq):
    """Tanimoto's soft Jaccard index, ``p·q / (‖p‖² + ‖q‖² − p·q)``, without derivatives."""
    return pq / (pp + qq - pq)


def kullback_leibler(y, sigma):
    """``Σ_k y^k ln(y^k / σ^k)``."""
    return (y * (y.clamp_min(1e-30) / sigma.clamp_min(1e-30)).log()).sum(1)


@pytest.fixture
def own_terms(monkeypatch):
    monkeypatch.setitem(RELAXATIONS, "jaccard", Relaxation("jaccard", jaccard, logarithmic=False))
    monkeypatch.setitem(CROSS_ENTROPIES, "kullback_leibler", CrossEntropy("kullback_leibler", kullback_leibler))


@pytest.mark.parametrize(
    "cross_entropy, relaxation, lacking",
    [
        ("quadratic", "jaccard", "relaxation 'jaccard'"),
        ("kullback_leibler", "quadratic", "cross-entropy 'kullback_leibler'"),
    ],
)
def test_the_default_solver_runs_and_says_what_ran(own_terms, cross_entropy, relaxation, lacking) -> None:
    logits, guide, scribble = batch_of(2, 3, (10, 12))
    energy = SelfLabelingEnergy(cross_entropy, relaxation, GridNeighborhood(bandwidth=0.5), eta=0.5, lam=2.0)
    # as low as the paper's solver comes, with 2 % for where each of them stops
    slow = GradientDescent(energy, steps=400, learning_rate=0.25)(logits.double(), guide, scribble)
    for dtype, why in ((torch.float32, f"the compiled step has no {lacking}"), (torch.float64, "cpu, float64")):
        solution = NaturalGradient(energy)(logits.to(dtype), guide, scribble)
        assert (solution.energy.diff(dim=0) <= 0).all() and (solution.energy[-1] < solution.energy[0]).all()
        assert solution.backend == f"PyTorch ({why})"
        assert (solution.energy[-1] <= 1.02 * slow.energy[-1]).all()


def test_known_terms_are_compiled() -> None:
    logits, guide, scribble = batch_of(1, 3, (6, 7), dtype=torch.float32)
    assert NaturalGradient(SelfLabelingEnergy())(logits, guide, scribble).backend == "Numba"


def test_derivatives_default_to_autograds(own_terms, shape) -> None:
    """Of known terms they equal the closed forms, and of an own one finite differences (gradcheck)."""
    y, sigma = distributions(2, 3, shape), distributions(2, 3, shape)
    for term in list(CROSS_ENTROPIES.values()):
        bare = CrossEntropy(term.name, term.value)
        torch.testing.assert_close(bare.gradient(y, sigma), term.gradient(y, sigma))
        torch.testing.assert_close(bare.in_logits(y, sigma), term.in_logits(y, sigma))
        assert (bare.curvature(y, sigma) >= 1).all()
    reverse = CROSS_ENTROPIES["reverse_cross_entropy"]  # σ/y² y: the closed form's own
    bare = CrossEntropy("reverse", reverse.value)
    torch.testing.assert_close(bare.curvature(y, sigma), reverse.curvature(y, sigma).clamp_min(1))
    without = Relaxation("cosine", lambda *numbers: cosine(*numbers).r, logarithmic=True)
    torch.testing.assert_close(without.gradient(y, sigma), RELAXATIONS["collision_divergence"].gradient(y, sigma))
    p, q = (x.clone().requires_grad_() for x in (y, sigma))
    assert torch.autograd.gradcheck(RELAXATIONS["jaccard"], (p, q))
    by_autograd = torch.autograd.grad(RELAXATIONS["jaccard"](p, q).sum(), (p, q))
    torch.testing.assert_close(RELAXATIONS["jaccard"].gradient(y, sigma), by_autograd)


def test_the_loss_takes_an_own_cross_entropy(own_terms, shape) -> None:
    logits, _, scribble = batch_of(2, 3, shape)
    loss = SelfLabelingLoss("kullback_leibler", eta=0.7)
    target = {"scribble": scribble, "pseudo_label": distributions(2, 3, shape)}
    assert torch.autograd.gradcheck(lambda x: loss(x, target), logits.requires_grad_())


@pytest.mark.parametrize("name", RELAXATIONS)
def test_what_equal_soft_labels_cost(name) -> None:
    p = torch.tensor([0.2, 0.3, 0.5], dtype=torch.float64).reshape(1, 3, 1)
    assert RELAXATIONS[name].zero_on_equals == (abs(RELAXATIONS[name](p, p).item()) < 1e-9)


def test_where_nothing_pulls_nothing_moves_in_single_precision(own_terms) -> None:
    """η = 0 and a voxel without pairs: the curvature is 0, and so is the gradient."""
    energy = SelfLabelingEnergy("cross_entropy", "jaccard", eta=0.0)
    logits = torch.tensor([2.0, 1.0, -1.0]).reshape(1, 3, 1)
    solution = NaturalGradient(energy)(logits, torch.zeros(1, 1, 1), torch.full((1, 1, 1), UNLABELED))
    assert solution.backend.startswith("PyTorch")
    torch.testing.assert_close(solution.labels, logits.softmax(1), rtol=0, atol=2e-3)
