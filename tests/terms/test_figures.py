# SPDX-License-Identifier: Apache-2.0
"""What the paper says that its Figures 1, 2 and 3 show, in the numbers that ``make figures`` draws."""

from __future__ import annotations

import json
import math
from itertools import product
from statistics import mean

import pytest
import torch

from medwsss.terms.cross_entropies import CROSS_ENTROPIES
from medwsss.terms.relaxations import RELAXATIONS
from tests.benchmarks import label_corruption
from tests.benchmarks.figures import TABLE_1, TABLE_2, binary, moves, potential

NETWORK = "two convolutions, no normalisation"


def number(x: float) -> torch.Tensor:
    return torch.tensor(x, dtype=torch.float64)


@pytest.mark.parametrize(
    "panel, expected",
    [  # §2.1: before the move, halfway, after it
        ("a", {"bilinear": [0, 1 / 2, 0], "quadratic": [0, 0, 0], "normalized_quadratic": [0, 0, 0]}),
        ("b", {"bilinear": [1, 1, 1], "quadratic": [1, 3 / 4, 1], "normalized_quadratic": [1, 1, 1]}),
    ],
)
def test_figure_1(panel: str, expected: dict[str, list[float]]) -> None:
    y_i, y_j = moves(torch.tensor([0, 0.5, 1], dtype=torch.float64))[panel]
    drawn = {name: RELAXATIONS[name](y_i, y_j)[0].tolist() for name in TABLE_1}
    assert drawn == {name: pytest.approx(values, abs=1e-15) for name, values in expected.items()}


def test_figure_2_iso_levels() -> None:
    """For K = 2 by hand: ``p·q = x_i x_j + (1 − x_i)(1 − x_j)`` and ``½‖p − q‖² = (x_i − x_j)²``."""
    x_i, x_j = torch.meshgrid(*[torch.linspace(0, 1, 21, dtype=torch.float64)] * 2, indexing="ij")
    # a saddle in the middle whose level ½ is the cross through it
    bilinear = binary(RELAXATIONS["bilinear"], x_i, x_j)
    torch.testing.assert_close(bilinear, 0.5 - 2 * (x_i - 0.5) * (x_j - 0.5))
    # straight valleys along the diagonal
    torch.testing.assert_close(binary(RELAXATIONS["quadratic"], x_i, x_j), (x_i - x_j) ** 2)
    # curved valleys: 1 − cosine of the angle between p and q
    angle = torch.atan2(1 - x_i, x_i) - torch.atan2(1 - x_j, x_j)
    torch.testing.assert_close(binary(RELAXATIONS["normalized_quadratic"], x_i, x_j), 1 - angle.cos())
    # the log forms are the others under −ln(1 − ·), and infinite in the corners
    inside = (x_i - x_j).abs() < 1
    for plain, logarithmic in zip(TABLE_1, TABLE_2):
        drawn = binary(RELAXATIONS[logarithmic], x_i, x_j)
        torch.testing.assert_close(drawn[inside], -torch.log1p(-binary(RELAXATIONS[plain], x_i, x_j)[inside]))
        assert (drawn[~inside] > 10).all()


def test_figure_2_logarithms_cure_vanishing_gradients() -> None:
    """At logits ``(l, −l)``, ``δ = e^{−2l}``, Table 1 has ``1 − P ∝ δ``, ``dP/dl_i → 0``; Table 2 has slope 1."""
    for name in TABLE_1 + TABLE_2:
        logit = number(6).requires_grad_()
        slope = torch.autograd.grad(potential(name, logit, number(-6)), logit)[0].item()
        assert slope == pytest.approx(0 if name in TABLE_1 else 1, abs=1e-4), name


@pytest.mark.parametrize("y", [0.9, 0.7])
def test_figure_3_only_the_standard_form_copies_the_uncertainty_of_labels(y: float) -> None:
    x = torch.linspace(0, 1, 1001, dtype=torch.float64)
    minima = {name: x[binary(term, torch.full_like(x, y), x).argmin()].item() for name, term in CROSS_ENTROPIES.items()}
    assert minima["cross_entropy"] == pytest.approx(y)
    assert minima["reverse_cross_entropy"] == minima["collision_cross_entropy"] == 1


@pytest.mark.parametrize("y", [0.9, 0.7, 0.5])
def test_figure_3_only_the_standard_form_is_infinite_for_soft_labels(y: float) -> None:
    """At ``σ = (0, 1)`` the others are ``−ln(1 − y)``; the blue line, ``y = ½``, is flat at ``ln 2``."""
    assert all(binary(CROSS_ENTROPIES["cross_entropy"], number(y), number(end)) > 5 for end in (0, 1))
    for name in ("reverse_cross_entropy", "collision_cross_entropy"):
        at_ends = [binary(CROSS_ENTROPIES[name], number(y), number(end)).item() for end in (0, 1)]
        assert at_ends == pytest.approx([-math.log(1 - y), -math.log(y)])


def test_figure_3d_corruption() -> None:
    labels = torch.zeros(10_000, dtype=torch.long)
    assert torch.equal(label_corruption.corrupt(labels, 0.0, 4), labels)
    counts = label_corruption.corrupt(labels, 0.6, 4).bincount()
    # 6000 drawn from 4 classes: 1500 each, standard deviation √(6000 · ¼ · ¾) = 34
    assert (counts - torch.tensor([5500, 1500, 1500, 1500])).abs().max() < 5 * 34


def test_figure_3d_targets() -> None:
    # 0.6 · ¼ = 0.15 for every class and 0.4 more for the observed one
    torch.testing.assert_close(
        label_corruption.soft_targets(torch.tensor([2, 0]), 0.6, 4),
        torch.tensor([[0.15, 0.15, 0.55, 0.15], [0.55, 0.15, 0.15, 0.15]]),
    )


def test_figure_3d_learns_and_one_hot_labels_make_collision_the_standard_form() -> None:
    losses = ("cross_entropy", "collision_cross_entropy")
    standard, collision = (label_corruption.accuracy(NETWORK, loss, eta=0, seed=0) for loss in losses)
    assert standard > 90  # of ten classes
    assert collision == pytest.approx(standard, abs=1)  # the same loss; roundings differ


def test_figure_3d_record_holds_every_run_and_what_the_page_says_of_it() -> None:
    runs = json.loads(label_corruption.RECORD.read_text())["runs"]
    grid = product(label_corruption.NETWORKS, label_corruption.ETAS, label_corruption.LOSSES, range(5))
    assert [(run["network"], run["eta"], run["loss"], run["seed"]) for run in runs] == list(grid)

    def means(network: str, eta: float) -> list[float]:
        of = [run for run in runs if (run["network"], run["eta"]) == (network, eta)]
        return [mean(run["accuracy"] for run in of if run["loss"] == loss) for loss in label_corruption.LOSSES]

    for network, eta in product(label_corruption.NETWORKS, (0.6, 0.8, 0.9)):
        standard, _, collision = means(network, eta)
        assert collision > standard + 1
    for eta in (0.2, 0.4, 0.6, 0.8):
        standard, reverse, collision = means("ResNet-18, width ⅛", eta)
        assert reverse > max(standard, collision) + 5
    for eta in label_corruption.ETAS:
        standard, reverse, collision = means(NETWORK, eta)
        assert reverse < min(standard, collision) - 5
