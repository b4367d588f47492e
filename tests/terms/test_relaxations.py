# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import math

import pytest
import torch

from medwsss.terms import relaxations
from medwsss.terms.relaxations import RELAXATIONS
from tests.terms.problems import distributions, vertices

# Tables 1 and 2, written from the paper with vectors, not with the three numbers the code uses.
PAPER = {
    "bilinear": lambda p, q: 1 - p @ q,
    "quadratic": lambda p, q: (p - q).norm() ** 2 / 2,
    "normalized_quadratic": lambda p, q: (p / p.norm() - q / q.norm()).norm() ** 2 / 2,
    "collision_cross_entropy": lambda p, q: -torch.log(p @ q),
    "log_quadratic": lambda p, q: -torch.log(1 - (p - q).norm() ** 2 / 2),
    "collision_divergence": lambda p, q: -torch.log(1 - (p / p.norm() - q / q.norm()).norm() ** 2 / 2),
}
every_relaxation = pytest.mark.parametrize("name", PAPER)


def at_one_voxel(*p: float) -> torch.Tensor:
    return torch.tensor(p, dtype=torch.float64).reshape(1, -1, 1)


def test_the_registry_holds_the_six_of_the_paper() -> None:
    six = [name for name in relaxations.__all__ if name in PAPER]
    assert len(six) == 6 and set(PAPER) <= set(RELAXATIONS)
    assert all(getattr(relaxations, name) is RELAXATIONS[name] for name in six)


@every_relaxation
def test_equals_the_papers_formula(name: str, shape: tuple[int, ...]) -> None:
    p, q = distributions(2, 4, shape), distributions(2, 4, shape)
    columns = zip(p.movedim(1, -1).reshape(-1, 4), q.movedim(1, -1).reshape(-1, 4))
    expected = torch.stack([PAPER[name](a, b) for a, b in columns]).reshape(2, *shape)
    assert RELAXATIONS[name](p, q).shape == (2, *shape)
    torch.testing.assert_close(RELAXATIONS[name](p, q), expected)


def test_figure_1a_bilinear_punishes_a_joint_move_and_quadratic_does_not() -> None:
    ends, halfway = at_one_voxel(1, 0, 0), at_one_voxel(0.5, 0.5, 0)
    assert relaxations.bilinear(halfway, halfway).item() == 0.5  # §2.1: 1/2 > 0 = 0
    assert relaxations.bilinear(ends, ends).item() == 0
    for name in ("quadratic", "normalized_quadratic", "log_quadratic", "collision_divergence"):
        assert RELAXATIONS[name](halfway, halfway).item() == pytest.approx(0, abs=1e-15)


def test_figure_1b_quadratic_rewards_an_intermediate_state_and_bilinear_does_not() -> None:
    a, b, c, between = (at_one_voxel(*p) for p in ((1, 0, 0), (0, 1, 0), (0, 0, 1), (0, 0.5, 0.5)))
    assert relaxations.quadratic(a, between).item() == 0.75  # §2.1: 3/4 < 1 = 1
    for other in (b, c):
        assert relaxations.quadratic(a, other).item() == 1
    for name in ("bilinear", "normalized_quadratic"):
        assert [RELAXATIONS[name](a, other).item() for other in (b, between, c)] == [1, 1, 1]


def test_worked_numbers() -> None:
    # p·q = .5·.2 + .5·.8 = 1/2, ‖p‖² = 1/2, ‖q‖² = .04 + .64 = .68
    p, q = at_one_voxel(0.5, 0.5), at_one_voxel(0.2, 0.8)
    expected = {
        "bilinear": 0.5,
        "quadratic": (0.5 + 0.68) / 2 - 0.5,
        "normalized_quadratic": 1 - 0.5 / math.sqrt(0.34),
        "collision_cross_entropy": math.log(2),
        "log_quadratic": -math.log(0.91),
        "collision_divergence": -math.log(0.5 / math.sqrt(0.34)),
    }
    for name, value in expected.items():
        assert RELAXATIONS[name](p, q).item() == pytest.approx(value, rel=1e-12)


@every_relaxation
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_one_hot_labels_count_cut_pairs_and_log_forms_diverge(
    name: str, dtype: torch.dtype, shape: tuple[int, ...]
) -> None:
    p, q = vertices(2, 3, shape, dtype), vertices(2, 3, shape, dtype)
    cut = (p.argmax(1) != q.argmax(1)).to(dtype)
    values = RELAXATIONS[name](p, q)
    assert values.isfinite().all()
    if RELAXATIONS[name].logarithmic:
        torch.testing.assert_close(values[cut == 0], torch.zeros_like(values[cut == 0]))
        assert (values[cut == 1] > 10).all()  # −ln 0, cut off at the smallest number worth telling from 0
    else:
        torch.testing.assert_close(values, cut)


@every_relaxation
def test_closed_form_gradient(name: str, shape: tuple[int, ...]) -> None:
    p, q = (distributions(2, 3, shape).requires_grad_() for _ in range(2))
    assert torch.autograd.gradcheck(RELAXATIONS[name], (p, q))
    by_autograd = torch.autograd.grad(RELAXATIONS[name](p, q).sum(), (p, q))
    torch.testing.assert_close(RELAXATIONS[name].gradient(p, q), by_autograd)


@every_relaxation
def test_symmetric_and_indifferent_to_the_order_of_classes(name: str, shape: tuple[int, ...]) -> None:
    p, q = distributions(2, 4, shape), distributions(2, 4, shape)
    order = torch.tensor([2, 0, 3, 1])
    torch.testing.assert_close(RELAXATIONS[name](p, q), RELAXATIONS[name](q, p))
    torch.testing.assert_close(RELAXATIONS[name](p[:, order], q[:, order]), RELAXATIONS[name](p, q))


@every_relaxation
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("scale", [1.0, 30.0, 1e4])
def test_finite_at_extreme_logits(name: str, dtype: torch.dtype, scale: float) -> None:
    p, q = (torch.randn(2, 5, 50, dtype=dtype).mul(scale).softmax(1) for _ in range(2))
    gradients = RELAXATIONS[name].gradient(p, q)
    assert all(x.isfinite().all() for x in (RELAXATIONS[name](p, q), *gradients))
    # A tenth of the largest float left for λ w and the sum over neighbours.
    assert all(g.abs().max() < torch.finfo(torch.float32).max / 1e3 for g in gradients)
