# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F

from medwsss.terms import cross_entropies
from medwsss.terms.cross_entropies import CROSS_ENTROPIES
from tests.terms.problems import distributions, vertices

every_term = pytest.mark.parametrize(
    "name", ["cross_entropy", "reverse_cross_entropy", "collision_cross_entropy", "quadratic", "robust_cross_entropy"]
)


def test_worked_numbers() -> None:
    # y = (1/4, 3/4), σ = (1/2, 1/2): y·σ = 1/2, ‖y − σ‖² = 2/16
    y = torch.tensor([0.25, 0.75], dtype=torch.float64).reshape(1, 2, 1)
    sigma = torch.full((1, 2, 1), 0.5, dtype=torch.float64)
    expected = {
        "cross_entropy": math.log(2),  # Eq. (9)
        "reverse_cross_entropy": -0.5 * math.log(0.25 * 0.75),  # Eq. (10)
        "collision_cross_entropy": math.log(2),  # Eq. (11)
        "quadratic": 0.125,  # §3.1
        "robust_cross_entropy": math.log(2),  # 0.9 · ½ + 0.05 = ½
    }
    assert {name: CROSS_ENTROPIES[name](y, sigma).item() for name in expected} == pytest.approx(expected)


def test_against_torch(shape: tuple[int, ...]) -> None:
    y, logits = distributions(2, 4, shape), torch.randn(2, 4, *shape, dtype=torch.float64)
    sigma = logits.softmax(1)
    torch.testing.assert_close(cross_entropies.cross_entropy(y, sigma), F.cross_entropy(logits, y, reduction="none"))
    torch.testing.assert_close(
        cross_entropies.reverse_cross_entropy(y, sigma), F.cross_entropy(y.log(), sigma, reduction="none")
    )
    torch.testing.assert_close(cross_entropies.quadratic(y, sigma), F.mse_loss(y, sigma, reduction="none").sum(1))


def test_one_hot_labels_make_collision_the_negative_log_likelihood(shape: tuple[int, ...]) -> None:
    y, sigma = vertices(2, 4, shape), distributions(2, 4, shape)
    nll = F.nll_loss(sigma.log(), y.argmax(1), reduction="none")
    torch.testing.assert_close(cross_entropies.collision_cross_entropy(y, sigma), nll)
    torch.testing.assert_close(cross_entropies.cross_entropy(y, sigma), nll)


def test_uniform_labels_teach_nothing_but_under_the_standard_cross_entropy() -> None:
    """Figure 3: at y = (1/2, 1/2) the gradient in σ along the simplex is 0 for Eq. (10) and (11), not for Eq. (9)."""
    y = torch.full((1, 2, 1), 0.5, dtype=torch.float64)
    slopes = {}
    for name, term in CROSS_ENTROPIES.items():
        x = torch.tensor(0.8, dtype=torch.float64, requires_grad=True)
        term(y, torch.stack([x, 1 - x]).reshape(1, 2, 1)).sum().backward()
        slopes[name] = x.grad.item()
    assert slopes["reverse_cross_entropy"] == pytest.approx(0, abs=1e-12)
    assert slopes["collision_cross_entropy"] == pytest.approx(0, abs=1e-12)
    assert slopes["cross_entropy"] == pytest.approx(-0.5 / 0.8 + 0.5 / 0.2)


@every_term
def test_closed_form_gradient(name: str, shape: tuple[int, ...]) -> None:
    term = CROSS_ENTROPIES[name]
    y, sigma = distributions(2, 3, shape).requires_grad_(), distributions(2, 3, shape)
    assert torch.autograd.gradcheck(lambda labels: term(labels, sigma), y)
    torch.testing.assert_close(term.gradient(y, sigma), torch.autograd.grad(term(y, sigma).sum(), y)[0])


@every_term
def test_closed_form_in_the_logits(name: str, shape: tuple[int, ...]) -> None:
    term = CROSS_ENTROPIES[name]
    y, logits = distributions(2, 3, shape), torch.randn(2, 3, *shape, dtype=torch.float64, requires_grad=True)
    expected = term(y, logits.softmax(1))
    value, gradient = term.in_logits(y, logits.detach().softmax(1))
    torch.testing.assert_close(value, expected.detach())
    torch.testing.assert_close(gradient, torch.autograd.grad(expected.sum(), logits)[0])


@every_term
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("scale", [1.0, 30.0, 1e4])
def test_finite_at_extreme_logits(name: str, dtype: torch.dtype, scale: float) -> None:
    y, sigma = (torch.randn(2, 5, 50, dtype=dtype).mul(scale).softmax(1) for _ in range(2))
    assert CROSS_ENTROPIES[name](y, sigma).isfinite().all()
    assert CROSS_ENTROPIES[name].gradient(y, sigma).isfinite().all()
    assert CROSS_ENTROPIES[name].in_logits(y, sigma)[1].isfinite().all()
