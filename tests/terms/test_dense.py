# SPDX-License-Identifier: Apache-2.0
"""Dense and sparse neighbourhoods against sums over all pairs of voxels, by their coordinates."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from torch import Tensor

from medwsss.keys import UNLABELED, VOID
from medwsss.losses import RegularizedLoss
from medwsss.solvers import GraphCut, NaturalGradient, RandomWalker
from medwsss.terms import DenseNeighborhood, SelfLabelingEnergy, SparseNonlocalNeighborhood, bilateral_grid
from medwsss.terms.bilateral_grid import BilateralGrid
from medwsss.terms.relaxations import RELAXATIONS, Relaxation
from tests.terms.problems import batch_of, distributions

SPACING = (1.5, 1.0, 2.0)
SECOND_ORDER = ["bilinear", "quadratic", "normalized_quadratic"]


def kernel(guide: Tensor, spatial_bandwidth: float, bandwidth: float, spacing=None, rows=...) -> Tensor:
    """``exp(−d²/2s² − ‖ΔI‖²/2β²)`` of pairs of voxels of one guide ``C *S``, by their coordinates; 0 with itself."""
    shape = guide.shape[1:]
    spacing = [1.0] * len(shape) if spacing is None else [s / min(spacing) for s in spacing]
    place = torch.tensor(list(itertools.product(*map(range, shape))), dtype=torch.float64) * torch.tensor(spacing)
    color = guide.double().flatten(1).T
    apart = [((x[rows].unsqueeze(1) - x[None]) ** 2).sum(-1) for x in (place, color)]
    w = torch.exp(-apart[0] / (2 * spatial_bandwidth**2) - apart[1] / (2 * bandwidth**2))
    return w * (torch.arange(len(place))[rows].unsqueeze(1) != torch.arange(len(place)))


def brute_force(y: Tensor, w: Tensor, exists: Tensor, free: Tensor, relaxation: Relaxation) -> Tensor:
    """``Σ_{i<j} w_ij P(y_i, y_j)`` of one sample over pairs that exist and of which one end at least is free."""
    i, j = torch.combinations(torch.arange(exists[0].numel())).T
    there, loose = exists.flatten(), free.flatten()
    p, q = y.flatten(1)[:, i].unsqueeze(0), y.flatten(1)[:, j].unsqueeze(0)
    return (w[i, j] * there[i] * there[j] * (loose[i] | loose[j]) * relaxation(p, q)[0]).sum()


def picture(shape, channels: int, scale: float = 255.0) -> Tensor:
    """A guide like images are: blobs, a border and noise, ``1 C *S``."""
    axes = torch.meshgrid(*[torch.linspace(0, 1, n, dtype=torch.float64) for n in shape], indexing="ij")
    waves = [sum(torch.sin((3 + c + a) * x + c) for a, x in enumerate(axes)) for c in range(channels)]
    smooth = torch.stack(waves) / (2 * len(shape)) + 0.5 + 0.3 * (axes[0] > 0.55)
    return (smooth + 0.02 * torch.randn(smooth.shape, dtype=torch.float64)).clamp(0, 1)[None] * scale


@pytest.mark.parametrize(
    ("shape", "channels", "bandwidth", "spacing"),
    [
        ((300,), 1, 9.0, None),
        ((64, 64), 1, 9.0, None),
        ((64, 64), 1, 15.0, (2.0, 1.0)),
        ((64, 64), 3, 9.0, None),
        ((64, 64), 3, 15.0, None),
        ((24, 24, 24), 1, 9.0, None),
        ((24, 24, 24), 1, 15.0, (1.0, 1.0, 3.0)),
    ],
)
def test_within_two_per_cent_of_the_exact_sum(shape, channels, bandwidth, spacing) -> None:
    """At the paper's bandwidths: 100 pixels of about 500, and 9 or 15 grey levels."""
    guide, s = picture(shape, channels), 0.2 * max(shape)
    values = distributions(1, 3, shape)
    neighborhood = DenseNeighborhood(s, bandwidth, spacing)
    rows = torch.randperm(values[0, 0].numel())[:200]  # at 200 voxels, so that the exact sum is quick
    exact = values[0].flatten(1) @ kernel(guide[0], s, bandwidth, spacing, rows).T
    found = neighborhood.filter(values.float(), guide.float())[0].flatten(1)[:, rows]
    assert ((found - exact).norm() / exact.norm()).item() < 0.02


def test_symmetric_and_differentiable_in_the_values(shape) -> None:
    guide, exists = torch.rand(2, 2, *shape, dtype=torch.float64), torch.rand(2, 1, *shape) > 0.2
    neighborhood = DenseNeighborhood(2.0, 0.3, SPACING[: len(shape)])

    def filtered(values: Tensor) -> Tensor:
        return neighborhood.filter(values, guide, exists)

    values = torch.randn(2, 2, *shape, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(filtered, values, fast_mode=True)
    count = values[0, 0].numel()
    identity = torch.eye(count, dtype=torch.float64).reshape(1, count, *shape).expand(2, -1, *shape)
    matrix = filtered(identity).flatten(2)
    torch.testing.assert_close(matrix, matrix.mT)
    assert matrix.diagonal(dim1=1, dim2=2).abs().max() < 1e-12  # no voxel is its own neighbour
    outside = ~exists.flatten(1)
    assert matrix[outside].abs().max() == 0 and matrix.mT[outside].abs().max() == 0


@pytest.mark.parametrize("relaxation", SECOND_ORDER)
@pytest.mark.parametrize("given", [True, False])
def test_dense_value_and_gradient_equal_a_sum_over_all_pairs(relaxation, given, shape) -> None:
    """With the weights that the filter has, which are within its error of the exact ones."""
    spacing = SPACING[: len(shape)]
    _, guide, scribble = batch_of(2, 3, shape)
    exists = scribble != VOID
    free = scribble == UNLABELED if given else exists
    neighborhood = DenseNeighborhood(3.0, 0.4, spacing)
    y = distributions(2, 3, shape).requires_grad_()
    count = y[0, 0].numel()
    identity = torch.eye(count, dtype=torch.float64).reshape(1, count, *shape).expand(2, -1, *shape)
    weights = neighborhood.filter(identity, guide, exists)
    for w, of, there in zip(weights.flatten(2), guide, exists.flatten(1)):
        exact = kernel(of, 3.0, 0.4, spacing) * there * there[:, None]
        assert ((w - exact).norm() / exact.norm()).item() < 0.08  # single pairs differ more than their sums
    expected = torch.stack(
        [2.5 * brute_force(y[b], weights[b].flatten(1), exists[b], free[b], RELAXATIONS[relaxation]) for b in range(2)]
    )
    (slope,) = torch.autograd.grad(expected.sum(), y)
    term = neighborhood.bind(RELAXATIONS[relaxation], guide, exists, free if given else None, 2.5)
    value, gradient, curvature = term.model(y.detach())
    torch.testing.assert_close(value, expected.detach())
    torch.testing.assert_close(gradient, slope)
    torch.testing.assert_close(term.value(y), expected)
    torch.testing.assert_close(torch.autograd.grad(term.value(y).sum(), y)[0], slope)
    assert (curvature >= 0).all()
    norm = (
        y.detach().norm(dim=1) if relaxation == "normalized_quadratic" else torch.ones(2, *shape, dtype=torch.float64)
    )
    counts = (free.flatten(1)[:, :, None] | free.flatten(1)[:, None]) & exists.flatten(1)[:, :, None]
    counts = counts & exists.flatten(1)[:, None]
    by_hand = 2.5 * (weights.flatten(2) * counts / (norm.flatten(1)[:, :, None] * norm.flatten(1)[:, None])).sum(2)
    torch.testing.assert_close(curvature.flatten(1), by_hand)


@pytest.mark.parametrize("relaxation", SECOND_ORDER)
def test_what_is_remembered_of_given_labels_is_of_these(relaxation) -> None:
    """Given labels, which a solve never changes, are filtered once; others are filtered anew."""
    _, guide, scribble = batch_of(2, 3, (6, 7))
    exists, free = scribble != VOID, scribble == UNLABELED
    neighborhood = DenseNeighborhood(3.0, 0.4)
    term = neighborhood.bind(RELAXATIONS[relaxation], guide, exists, free)
    first, other = distributions(2, 3, (6, 7)), distributions(2, 3, (6, 7)).flip(0)
    for y in (first, torch.where(free, other, first), other, first):
        fresh = neighborhood.bind(RELAXATIONS[relaxation], guide, exists, free)
        for found, expected in zip(term.model(y), fresh.model(y)):
            torch.testing.assert_close(found, expected, rtol=0, atol=0)


def test_signs_of_principal_axes_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Which way they point is the linear algebra library's to choose, and another one's on a GPU."""
    guide, values = picture((12, 13), 3, scale=1.0), torch.rand(1, 2, 12, 13, dtype=torch.float64)
    expected = DenseNeighborhood(4.0, 0.2).filter(values, guide)
    eigh = torch.linalg.eigh

    def turned(matrix: Tensor) -> object:
        found = eigh(matrix)
        return type(found)((found.eigenvalues, found.eigenvectors * torch.tensor([-1.0, 1.0, -1.0])))

    monkeypatch.setattr(torch.linalg, "eigh", turned)
    torch.testing.assert_close(DenseNeighborhood(4.0, 0.2).filter(values, guide), expected)


@pytest.mark.parametrize("relaxation", list(RELAXATIONS))
@pytest.mark.parametrize("spatial_bandwidth", [None, 2.0])
def test_sparse_value_and_gradient_equal_a_sum_over_its_pairs(relaxation, spatial_bandwidth, shape) -> None:
    spacing = SPACING[: len(shape)]
    _, guide, scribble = batch_of(2, 3, shape)
    exists, free = scribble != VOID, scribble == UNLABELED
    neighborhood = SparseNonlocalNeighborhood(2, 0.4, spatial_bandwidth, spacing)
    first, second = neighborhood.pairs(shape)
    y = distributions(2, 3, shape).requires_grad_()
    drawn = torch.zeros(y[0, 0].numel(), y[0, 0].numel(), dtype=torch.float64)
    drawn[first, second] = 1
    expected = torch.stack(
        [
            brute_force(
                y[b],
                drawn * kernel(guide[b], spatial_bandwidth or math.inf, 0.4, spacing),
                exists[b],
                free[b],
                RELAXATIONS[relaxation],
            )
            for b in range(2)
        ]
    )
    (slope,) = torch.autograd.grad(expected.sum(), y)
    term = neighborhood.bind(RELAXATIONS[relaxation], guide, exists, free)
    value, gradient, _ = term.model(y.detach())
    torch.testing.assert_close(value, expected.detach())
    torch.testing.assert_close(gradient, slope)
    torch.testing.assert_close(term.value(y.detach()), expected.detach())
    torch.testing.assert_close(torch.autograd.grad(term.of_predictions(y).sum(), y)[0], slope)


def test_sparse_pairs_are_long_range_and_drawn_once() -> None:
    first, second = SparseNonlocalNeighborhood(8, 1.0).pairs((32, 32))
    assert 0.97 * 8 * 1024 < len(first) <= 8 * 1024  # few coincide
    assert len(torch.stack([first, second]).unique(dim=1).T) == len(first) and (first < second).all()
    distance = torch.hypot((first // 32 - second // 32).double(), (first % 32 - second % 32).double())
    assert abs(distance.mean().item() / 32 - 0.5214) < 0.02  # of two random points in a square
    assert not torch.equal(first, SparseNonlocalNeighborhood(8, 1.0, seed=1).pairs((32, 32))[0])


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: DenseNeighborhood(0.0, 9.0), "positive spatial_bandwidth for DenseNeighborhood, got 0.0"),
        (lambda: DenseNeighborhood(9.0, "auto"), "positive bandwidth for DenseNeighborhood, got 'auto'"),
        (lambda: DenseNeighborhood(9.0, 9.0, (1.0, 0.0)), "positive spacing"),
        (lambda: SparseNonlocalNeighborhood(0, 9.0), "pairs_per_voxel from 1, got 0"),
        (
            lambda: SelfLabelingEnergy(relaxation="log_quadratic", neighborhood=DenseNeighborhood(9.0, 9.0)),
            "bilinear, normalized_quadratic, quadratic, got 'log_quadratic'",
        ),
        (
            lambda: RegularizedLoss("collision_divergence", DenseNeighborhood(9.0, 9.0)),
            "bilinear, normalized_quadratic, quadratic, got 'collision_divergence'",
        ),
        (
            lambda: GraphCut(SelfLabelingEnergy(relaxation="bilinear", neighborhood=DenseNeighborhood(9.0, 9.0))),
            r"neighbourhood of offsets \(grid, window\) for GraphCut, got DenseNeighborhood",
        ),
        (
            lambda: RandomWalker(SelfLabelingEnergy("quadratic", "quadratic", SparseNonlocalNeighborhood(2, 9.0))),
            r"neighbourhood of offsets \(grid, window\) for RandomWalker, got SparseNonlocalNeighborhood",
        ),
        (
            lambda: DenseNeighborhood(1.0, 1e-3).filter(torch.ones(1, 1, 64, 64), torch.rand(1, 3, 64, 64)),
            "raise bandwidth",
        ),
        (
            lambda: DenseNeighborhood(1.0, 1.0).filter(torch.ones(1, 1, 4), torch.tensor([[[0, 1, math.nan, 2]]])),
            "finite guide",
        ),
        (lambda: DenseNeighborhood(1.0, 1.0, (1.0, 1.0)).filter(torch.ones(1, 1, 4), torch.ones(1, 1, 4)), "each of 1"),
    ],
)
def test_what_cannot_be_served_is_refused(make, message) -> None:
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize(
    "neighborhood", [DenseNeighborhood(3.0, 0.2), SparseNonlocalNeighborhood(8, 0.2)], ids=["dense", "sparse"]
)
@pytest.mark.parametrize("relaxation", ["bilinear", "quadratic"])
def test_solved_far_away_from_seeds(neighborhood, relaxation) -> None:
    """Two seeds label all of two regions, which look like them but touch nowhere."""
    guide = torch.zeros(1, 1, 12, 12)
    guide[..., ::2, :] = 1
    scribble = torch.full((1, 1, 12, 12), UNLABELED)
    scribble[..., 4, 6], scribble[..., 5, 6] = 1, 0
    energy = SelfLabelingEnergy("quadratic", relaxation, neighborhood, eta=1e-4, lam=1.0)
    logits = 0.1 * torch.randn(1, 2, 12, 12)
    solution = NaturalGradient(energy)(logits, guide, scribble)
    assert (solution.energy.diff(dim=0) <= 0).all()
    assert torch.equal(solution.labels.argmax(1), guide[:, 0].long())


def test_contrast_that_says_nothing_costs_no_axis() -> None:
    flat = torch.full((3, 20), 7.0, dtype=torch.float64)
    grid = BilateralGrid(torch.linspace(0, 4, 20, dtype=torch.float64)[None], flat)
    assert len(grid.sizes) == 1
    grey = torch.linspace(0, 5, 20, dtype=torch.float64).expand(3, -1)  # a grey picture in colours
    assert len(BilateralGrid(torch.zeros(1, 20, dtype=torch.float64), grey).sizes) == 2


@pytest.mark.parametrize("channels", [3, 4])
def test_axes_of_contrast_together_and_one_by_one(monkeypatch, channels):
    """Vertices that no voxel has a share in do not count."""
    generator = torch.Generator().manual_seed(0)
    position = torch.linspace(0, 4, 40, dtype=torch.float64)[None]
    contrasts = 5 * torch.randn(channels, 40, dtype=torch.float64, generator=generator)
    values = torch.rand(2, 40, dtype=torch.float64, generator=generator)
    monkeypatch.setattr(bilateral_grid, "_cost", len)
    together = BilateralGrid(position, contrasts)
    monkeypatch.setattr(bilateral_grid, "_cost", lambda joints: -len(joints))
    apart = BilateralGrid(position, contrasts)
    assert len(together.sizes) == 3 and len(apart.sizes) == 1 + channels
    assert together.sizes[1] < math.prod(apart.sizes[1:channels]) / 2
    torch.testing.assert_close(together.filter(values), apart.filter(values))


def test_corners_a_few_at_a_time(monkeypatch):
    """Those of a large image are read anew in each filter."""
    generator = torch.Generator().manual_seed(0)
    position = torch.linspace(0, 4, 40, dtype=torch.float64)[None]
    grid = BilateralGrid(position, 5 * torch.randn(2, 40, dtype=torch.float64, generator=generator))
    values = torch.rand(2, 40, dtype=torch.float64, generator=generator)
    at_once, again = grid.filter(values), grid.filter(values)
    monkeypatch.setattr(bilateral_grid, "SHARES", 1)
    torch.testing.assert_close(grid.filter(values), at_once)
    assert torch.equal(again, at_once)
