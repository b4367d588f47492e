# SPDX-License-Identifier: Apache-2.0
"""A window's pair term against sums over all pairs of voxels, by their coordinates."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable

import pytest
import torch

from medwsss.keys import UNLABELED, VOID
from medwsss.losses import RegularizedLoss
from medwsss.solvers import GradientDescent, GraphCut, NaturalGradient, RandomWalker
from medwsss.solvers.coarse import coarsened
from medwsss.terms import GridNeighborhood, SelfLabelingEnergy, WindowNeighborhood
from medwsss.terms.neighborhoods import Neighborhood, OffsetNeighborhood, PairTerm
from medwsss.terms.neighborhoods.offsets import STORED
from medwsss.terms.relaxations import RELAXATIONS
from tests.terms.problems import batch_of, distributions

SPACING = (1.5, 1.0, 2.0)
BETA, SIGMA = 0.4, 1.7


def brute_force(y, guide, exists, relaxation, radius, dilation, spacing, weight) -> torch.Tensor:
    """``Σ w_ij P(y_i, y_j)`` of one sample, over every pair of voxels that exist, differentiable."""
    total = y.new_zeros(())
    voxels = [v for v in itertools.product(*map(range, y.shape[1:])) if exists[(0, *v)]]
    for i, j in itertools.combinations(voxels, 2):
        step = [b - a for a, b in zip(i, j)]
        distance = math.sqrt(sum((a * s) ** 2 for a, s in zip(step, spacing))) / min(spacing)
        if any(a % dilation for a in step) or distance > radius * dilation:
            continue
        contrast = (guide[(..., *i)] - guide[(..., *j)]).square().sum().item()
        p, q = (y[(..., *v)].reshape(1, -1, 1) for v in (i, j))
        total = total + weight(contrast, distance) * RELAXATIONS[relaxation](p, q).sum()
    return total


# every ball with every fall of the weights, every relaxation with each of them
@pytest.mark.parametrize(
    "radius, dilation, spatial_bandwidth, relaxation",
    [
        (1, 1, None, "bilinear"),
        (1, 1, SIGMA, "log_quadratic"),
        (2, 1, None, "log_quadratic"),
        (2, 1, SIGMA, "collision_divergence"),
        (3.2, 1, None, "collision_divergence"),
        (3.2, 1, SIGMA, "bilinear"),
        (1, 2, None, "log_quadratic"),
        (1, 2, SIGMA, "collision_divergence"),
    ],
)
def test_value_and_gradient_equal_a_sum_over_all_pairs(radius, dilation, spatial_bandwidth, relaxation, shape) -> None:
    spacing = SPACING[: len(shape)]
    _, guide, scribble = batch_of(2, 3, shape)
    exists = scribble != VOID
    window = WindowNeighborhood(radius, dilation, BETA, spatial_bandwidth, spacing)

    def weight(contrast: float, distance: float) -> float:
        by_distance = 1 / distance if spatial_bandwidth is None else math.exp(-(distance**2) / (2 * SIGMA**2))
        return math.exp(-contrast / (2 * BETA**2)) * by_distance

    y = distributions(2, 3, shape).requires_grad_()
    term = window.bind(RELAXATIONS[relaxation], guide, exists)
    expected = torch.stack(
        [brute_force(y[b], guide[b], exists[b], relaxation, radius, dilation, spacing, weight) for b in range(2)]
    )
    (slope,) = torch.autograd.grad(expected.sum(), y, allow_unused=True, materialize_grads=True)
    value, gradient, curvature = term.model(y.detach())
    torch.testing.assert_close(value, expected.detach())
    torch.testing.assert_close(gradient, slope)
    torch.testing.assert_close(term.value(y.detach()), expected.detach())
    assert (curvature >= 0).all()
    (through_a_loss,) = torch.autograd.grad(term.of_predictions(y).sum(), y)
    torch.testing.assert_close(through_a_loss, slope)


def test_half_a_ball() -> None:
    """The numbers of integer points in discs and balls (Gauss' circle problem), halved without the centre."""
    counts = {(5, 2): 81, (10, 2): 317, (15, 2): 709, (2, 3): 33, (3, 3): 123, (5, 3): 515}
    for (radius, ndim), points in counts.items():
        assert len(WindowNeighborhood(radius).offsets(ndim)) == (points - 1) // 2
    both = [o for offset in WindowNeighborhood(2, dilation=3).offsets(2) for o in (offset, tuple(-x for x in offset))]
    assert len(set(both)) == 12 and all(x % 3 == 0 for o in both for x in o)


def test_the_ball_is_round_in_millimetres() -> None:
    offsets = WindowNeighborhood(3, spacing=(1.0, 1.0, 2.5)).offsets(3)
    assert (0, 0, 1) in offsets and (0, 0, 2) not in offsets and (3, 0, 0) in offsets
    assert (2, 0, 1) not in offsets and (1, 0, 1) in offsets  # √(4 + 6.25) > 3 > √(1 + 6.25)


@pytest.mark.parametrize("bandwidth", [0.3, "auto"])
def test_radius_1_is_the_grid(bandwidth, shape) -> None:
    guide = torch.rand(2, 3, *shape)
    for window, grid in zip(
        WindowNeighborhood(1, bandwidth=bandwidth).weights(guide), GridNeighborhood(1, bandwidth).weights(guide)
    ):
        assert torch.equal(window, grid)


def test_weights_made_anew_are_those_that_are_kept(monkeypatch) -> None:
    logits, guide, scribble = batch_of(2, 3, (7, 8))
    energy = SelfLabelingEnergy("quadratic", "log_quadratic", WindowNeighborhood(3, bandwidth=0.5))
    y = distributions(2, 3, (7, 8))
    anew = energy.bind(logits, guide, scribble)
    assert len(anew.pair_term.offsets) > STORED and anew.pair_term.weight_map is None
    monkeypatch.setattr("medwsss.terms.neighborhoods.offsets.STORED", 1000)
    kept = energy.bind(logits, guide, scribble)
    assert kept.pair_term.weight_map is not None
    torch.testing.assert_close(anew.model(y), kept.model(y))


class Signed(WindowNeighborhood):
    """Far pairs repel."""

    def fall(self, w, distance):
        return w if distance < 1.2 else -0.3 * w


def test_signed_weights(shape) -> None:
    """The gradient is the derivative (gradcheck), and the solver's energy falls all the same."""
    logits, guide, scribble = batch_of(2, 3, shape)
    energy = SelfLabelingEnergy("quadratic", "quadratic", Signed(1.5, bandwidth=0.5), eta=1.0, lam=2.0)
    problem = energy.bind(logits, guide, scribble)
    y = distributions(2, 3, shape).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: problem.pair_term.of_predictions(x), y)
    torch.testing.assert_close(problem.gradient(y.detach()), torch.autograd.grad(problem.value(y).sum(), y)[0])
    assert (problem.model(y.detach())[2] >= 0).all()
    for precision in (torch.float32, torch.float64):
        solution = NaturalGradient(energy, max_steps=50)(logits.to(precision), guide, scribble)
        assert (solution.energy.diff(dim=0) <= 0).all() and (solution.energy[-1] < solution.energy[0]).all()
    if len(shape) > 1:
        assert "negative weights" in NaturalGradient(energy)(logits.float(), guide, scribble).backend
        for solver in (RandomWalker, GraphCut):
            with pytest.raises(ValueError, match="expected weights >= 0"):
                solver(energy)(logits, guide, scribble)


@pytest.mark.parametrize("radius", [1, 1.5, 3])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_every_solver_takes_a_window(radius, dtype) -> None:
    logits, guide, scribble = (x.to(dtype) if x.is_floating_point() else x for x in batch_of(2, 3, (12, 14)))
    energy = SelfLabelingEnergy("quadratic", "quadratic", WindowNeighborhood(radius, bandwidth=0.5), eta=1.0, lam=1.0)
    exact = RandomWalker(energy, tolerance=1e-7)(logits, guide, scribble)
    natural = NaturalGradient(energy, max_steps=500, tolerance=1e-7)(logits, guide, scribble)
    torch.testing.assert_close(natural.labels, exact.labels, rtol=0, atol=5e-3)
    if dtype == torch.float64:
        assert natural.backend == "PyTorch (cpu, float64)"
    elif radius < 3:
        assert natural.backend == "Numba"
    else:
        assert "neighbourhood of 14 offsets, more than 13" in natural.backend
    for solver in (GradientDescent(energy, steps=5), GraphCut(energy, max_steps=2)):
        assert solver(logits, guide, scribble).labels.shape == logits.shape


def test_coarse_grids_keep_the_energy_of_a_dilated_window() -> None:
    """Labels that are constant on cells cost the same on both grids, whatever the offsets between cells are."""
    logits, guide, _ = batch_of(1, 3, (8, 12))
    scribble = torch.full((1, 1, 8, 12), UNLABELED)
    energy = SelfLabelingEnergy("cross_entropy", "quadratic", WindowNeighborhood(1, dilation=3), eta=0.0, lam=6.0)
    problem = energy.bind(logits, guide, scribble)
    coarse = coarsened(problem)
    y = distributions(1, 3, (4, 6))
    fine = y.repeat_interleave(2, 2).repeat_interleave(2, 3)
    torch.testing.assert_close(coarse.value(y), problem.value(fine) / 4)


def test_cells_may_have_more_neighbours_than_voxels() -> None:
    """6 offsets of 3 and 6 voxels are 14 between cells of 2, more than are kept by default: still compiled."""
    logits, guide, scribble = batch_of(1, 3, (24, 24))
    energy = SelfLabelingEnergy("quadratic", "quadratic", WindowNeighborhood(2, dilation=3, bandwidth=0.5))
    single, double = (NaturalGradient(energy)(logits.to(t), guide, scribble) for t in (torch.float32, torch.float64))
    assert len(coarsened(energy.bind(logits, guide, scribble)).pair_term.offsets) == 14 > STORED
    assert single.backend == "Numba"
    torch.testing.assert_close(single.labels.double(), double.labels, rtol=0, atol=1e-3)


def test_memory_is_that_of_one_offset() -> None:
    """Radius 5 at N4 K4 256²: value and gradient within three arrays of the logits' size above the inputs."""
    y, guide = torch.rand(4, 4, 256, 256).softmax(1), torch.rand(4, 3, 256, 256)
    term = WindowNeighborhood(5, bandwidth=0.2).bind(RELAXATIONS["collision_divergence"], guide)
    assert y.nbytes < peak(lambda: term.model(y)) <= 3 * y.nbytes
    sigma = y.clone().requires_grad_()
    assert peak(lambda: term.of_predictions(sigma).sum().backward()) <= 3.5 * y.nbytes  # autograd's own gradient


def peak(work: Callable[[], object]) -> int:
    """Most bytes of memory at once that ``work`` takes from PyTorch's allocator."""
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True) as profile:
        kept = work()
    events = [e for e in profile.profiler.kineto_results.events() if e.name() == "[memory]"]
    sizes = [e.nbytes() for e in sorted(events, key=lambda e: e.start_ns())]
    del kept
    return max(itertools.accumulate(sizes))


class Friends(Neighborhood):
    """No list of offsets: the first and the last voxel in a row."""

    def bind(self, relaxation, guide, exists=None, free=None, scale=1.0, weights=None):
        return Friendship(relaxation, scale)


class Friendship(PairTerm):
    def __init__(self, relaxation, scale):
        self.relaxation, self.scale = relaxation, scale

    def value(self, y):
        flat = y.flatten(2)
        return self.scale * self.relaxation(flat[..., :1], flat[..., -1:]).sum(1)

    def model(self, y):
        with torch.enable_grad():
            at = y.detach().requires_grad_()
            value = self.value(at)
            (gradient,) = torch.autograd.grad(value.sum(), at)
        return value.detach(), gradient, torch.full_like(y[:, :1], self.scale)


def test_a_neighborhood_that_is_no_list_of_offsets(shape) -> None:
    logits, guide, scribble = batch_of(2, 3, shape, void=False)
    scribble.view(2, -1)[:, 0], scribble.view(2, -1)[:, -1] = 1, UNLABELED
    energy = SelfLabelingEnergy("quadratic", "quadratic", Friends(), eta=0.01, lam=10.0)
    for precision in (torch.float32, torch.float64):
        solution = NaturalGradient(energy, max_steps=200)(logits.to(precision), guide, scribble)
        assert (solution.labels.flatten(2)[:, 1, -1] > 0.99).all()  # the seed's label came over
    assert "pair term Friendship" in NaturalGradient(energy)(logits.float(), guide, scribble).backend
    for solver in (RandomWalker, GraphCut):
        with pytest.raises(ValueError, match=f"neighbourhood of offsets .* for {solver.__name__}, got Friends"):
            solver(energy)
    loss = RegularizedLoss("quadratic", Friends(), eta=0.0, lam=1.0)
    target = {"scribble": scribble, "guide": guide}
    assert torch.autograd.gradcheck(lambda x: loss(x, target), logits.requires_grad_())


@pytest.mark.parametrize(
    "arguments",
    [{"radius": 0}, {"radius": math.inf}, {"radius": 2, "dilation": 0}, {"radius": 2, "spatial_bandwidth": 0.0}]
    + [{"radius": 2, "bandwidth": -1}, {"radius": 2, "spacing": (1, 0)}],
    ids=str,
)
def test_bad_arguments_are_refused(arguments) -> None:
    with pytest.raises(ValueError, match="expected"):
        WindowNeighborhood(**arguments)


def test_given_weights_must_be_one_an_offset() -> None:
    logits, guide, scribble = batch_of(1, 3, (5, 6))
    window = WindowNeighborhood(2)
    assert issubclass(WindowNeighborhood, OffsetNeighborhood)
    with pytest.raises(ValueError, match="expected weights of 6 offsets, got 5"):
        SelfLabelingEnergy(neighborhood=window).bind(logits, guide, scribble, window.weights(guide)[:5])


def test_a_radius_beyond_the_image_is_refused() -> None:
    window = WindowNeighborhood(5, spacing=(1.0, 1.0, 4.0))
    window.weights(torch.zeros(1, 1, 6, 2, 2))
    with pytest.raises(ValueError, match=r"a radius within the image, 4 at most for \(5, 2, 2\) voxels, got 5"):
        window.weights(torch.zeros(1, 1, 5, 2, 2))
