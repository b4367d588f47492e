# SPDX-License-Identifier: Apache-2.0
"""NaturalGradient against brute force, direct solves, closed forms and the paper's own solver."""

from __future__ import annotations

import itertools

import pytest
import torch
from scipy import sparse
from scipy.sparse.linalg import spsolve
from torch import Tensor

from medwsss.keys import UNLABELED, VOID
from medwsss.solvers import GradientDescent, NaturalGradient, Solution, Status
from medwsss.terms import GridNeighborhood, SelfLabelingEnergy
from medwsss.terms.cross_entropies import CROSS_ENTROPIES
from medwsss.terms.neighborhoods import pairs
from medwsss.terms.relaxations import RELAXATIONS

COMBINATIONS = list(itertools.product(CROSS_ENTROPIES, RELAXATIONS))
PAPERS = ("cross_entropy", "reverse_cross_entropy", "collision_cross_entropy", "quadratic")
Inputs = tuple[Tensor, Tensor, Tensor]


def smooth_inputs(
    batch: int = 1, num_classes: int = 4, size: tuple[int, ...] = (16, 16), seed: int = 0, scale: float = 3.0
) -> Inputs:
    """Blobs: a guide with a step a class, logits that agree with it roughly, 3 % seeds; float64."""
    generator = torch.Generator().manual_seed(seed)
    fields = torch.randn(batch, num_classes, *size, generator=generator, dtype=torch.float64)
    for axis, _ in itertools.product(range(2, 2 + len(size)), range(12)):  # crude blur
        fields = (fields + fields.roll(1, axis) + fields.roll(-1, axis)) / 3
    fields = fields / fields.std()
    label = fields.argmax(1, keepdim=True)
    noise = torch.randn(fields.shape, generator=generator, dtype=torch.float64)
    guide = 60.0 * label + 5 * torch.randn(label.shape, generator=generator, dtype=torch.float64)
    seeds = torch.rand(label.shape, generator=generator) < 0.03
    return scale * fields + 0.3 * noise, guide, torch.where(seeds, label, UNLABELED)


def is_monotone(solution: Solution) -> bool:
    return bool((solution.energy.diff(dim=0) <= 0).all())


@pytest.mark.parametrize("cross_entropy, relaxation", COMBINATIONS)
def test_ends_below_two_hundred_plain_steps(cross_entropy: str, relaxation: str) -> None:
    logits, guide, scribble = smooth_inputs(batch=2)
    energy = SelfLabelingEnergy(cross_entropy, relaxation, GridNeighborhood(bandwidth=9.0))
    plain = GradientDescent(energy)(logits, guide, scribble).energy[-1]
    for dtype in (torch.float32, torch.float64):  # the compiled and the plain step
        inputs = logits.to(dtype), guide, scribble
        solution = NaturalGradient(energy)(*inputs)
        assert is_monotone(solution)
        assert (solution.energy[-1] <= plain).all()
        own = energy.bind(*inputs).value(solution.labels)  # what it says is what it returns
        torch.testing.assert_close(own, solution.energy[-1], rtol=1e-5, atol=0)


@pytest.mark.parametrize("cross_entropy, relaxation", COMBINATIONS)
def test_two_voxels_by_brute_force(cross_entropy: str, relaxation: str) -> None:
    # Two free voxels of two classes that lean the same way, so that also the non-convex energies have one basin.
    logits = torch.tensor([[[1.5, 0.2], [0.0, 0.0]]], dtype=torch.float64)
    energy = SelfLabelingEnergy(cross_entropy, relaxation, GridNeighborhood(bandwidth=1.0), eta=0.3, lam=0.5)
    inputs = logits, torch.tensor([[[0.0, 1.0]]]), torch.full((1, 1, 2), UNLABELED)
    x = torch.linspace(0, 1, 401, dtype=torch.float64)
    a, b = torch.meshgrid(x, x, indexing="ij")
    grid = torch.stack([torch.stack([a, b], -1), torch.stack([1 - a, 1 - b], -1)], -2).flatten(0, 1)
    many = energy.bind(*(t.expand(len(grid), *t.shape[1:]) for t in inputs))
    lowest = many.value(grid).min()
    found = NaturalGradient(energy, max_steps=400, tolerance=0)(*inputs).energy[-1, 0]
    assert lowest - 1e-4 < found < lowest + 1e-5


@pytest.mark.parametrize("size", [(30,), (9, 11), (4, 5, 6)])
def test_all_quadratic_against_a_direct_solve(size: tuple[int, ...]) -> None:
    logits, guide, scribble = smooth_inputs(num_classes=3, size=size, seed=3, scale=0.5)
    scribble.view(-1)[0] = 1
    energy = SelfLabelingEnergy("quadratic", "quadratic", GridNeighborhood(2, bandwidth=60.0), eta=0.1, lam=1.0)
    # ∇ = 2η (y_i − σ_i) + Σ_j w_ij (y_i − y_j) = 0 at free voxels: (2η I + L) y = 2η σ, seeds moved to the right.
    index = torch.arange(guide.numel()).reshape(1, 1, *size)
    neighborhood = energy.neighborhood
    laplacian = sparse.lil_matrix((guide.numel(), guide.numel()))
    for offset, w in zip(neighborhood.offsets(len(size)), neighborhood.weights(guide)):
        for i, j, weight in zip(*(x.flatten().tolist() for x in pairs(index, offset)), w.flatten().tolist()):
            laplacian[i, i] += weight
            laplacian[j, j] += weight
            laplacian[i, j] -= weight
            laplacian[j, i] -= weight
    matrix = (laplacian + 0.2 * sparse.eye(guide.numel())).tocsc()
    sigma = logits.softmax(1).reshape(3, -1).T.numpy()
    seeds = (scribble.flatten() != UNLABELED).numpy()
    one_hot = torch.eye(3, dtype=torch.float64)[scribble.flatten()[torch.from_numpy(seeds)]].numpy()
    exact = sigma.copy()
    exact[seeds] = one_hot
    exact[~seeds] = spsolve(matrix[~seeds][:, ~seeds], 0.2 * sigma[~seeds] - matrix[~seeds][:, seeds] @ one_hot)
    solution = NaturalGradient(energy, max_steps=500, tolerance=0)(logits, guide, scribble)
    torch.testing.assert_close(solution.labels.reshape(3, -1).T, torch.from_numpy(exact), atol=1e-3, rtol=0)


# no pair is left to tell relaxations apart, of which each is once there
@pytest.mark.parametrize(
    "cross_entropy, relaxation",
    [(name, "collision_divergence") for name in PAPERS]
    + [("collision_cross_entropy", name) for name in RELAXATIONS if name != "collision_divergence"],
)
def test_without_pairs_each_voxel_minimises_its_unary(cross_entropy: str, relaxation: str) -> None:
    logits, guide, scribble = smooth_inputs(size=(6, 7))
    logits[:, 0] += 1.0
    energy = SelfLabelingEnergy(cross_entropy, relaxation, lam=0.0)
    solution = NaturalGradient(energy, max_steps=1000, tolerance=1e-9)(logits, guide, scribble)
    free = (scribble == UNLABELED).expand_as(logits)
    sigma = logits.softmax(1)
    vertex = torch.zeros_like(sigma).scatter_(1, sigma.argmax(1, keepdim=True), 1)
    expected = sigma if cross_entropy in ("reverse_cross_entropy", "quadratic") else vertex
    torch.testing.assert_close(solution.labels[free], expected[free], atol=2e-3, rtol=0)


@pytest.mark.parametrize("cross_entropy, relaxation", COMBINATIONS)
def test_a_batch_gives_what_its_samples_give(cross_entropy: str, relaxation: str) -> None:
    easy, hard = smooth_inputs(size=(10, 12), scale=8), smooth_inputs(size=(10, 12), seed=5, scale=0.5)
    energy = SelfLabelingEnergy(cross_entropy, relaxation, GridNeighborhood(2))
    solver = NaturalGradient(energy)
    both = solver(*(torch.cat(x) for x in zip(easy, hard)))
    for i, alone in enumerate((solver(*easy), solver(*hard))):
        torch.testing.assert_close(both.labels[i : i + 1], alone.labels)
        torch.testing.assert_close(both.energy[: alone.steps + 1, i : i + 1], alone.energy)
        assert both.energy[-1, i] == both.energy[alone.steps, i]  # it waits for the other without moving


def test_two_axes_are_three_with_one_slice_and_classes_are_only_names() -> None:
    logits, guide, scribble = smooth_inputs(size=(12, 13))
    solver = NaturalGradient(SelfLabelingEnergy(neighborhood=GridNeighborhood(2, spacing=None)))
    flat = solver(logits, guide, scribble)
    deep = solver(*(x.unsqueeze(2) for x in (logits, guide, scribble)))
    torch.testing.assert_close(deep.labels.squeeze(2), flat.labels)
    order = torch.tensor([2, 0, 3, 1])
    renamed = torch.where(scribble == UNLABELED, scribble, order.argsort()[scribble.clamp_max(3)])
    torch.testing.assert_close(solver(logits[:, order], guide, renamed).labels, flat.labels[:, order])


@pytest.mark.parametrize("relaxation", sorted(set(RELAXATIONS) - {"bilinear"}))  # which is stuck there, Figure 1(a)
def test_a_certain_and_wrong_network_can_be_overruled(relaxation: str) -> None:
    logits = torch.zeros(1, 2, 5, 5)
    logits[:, 0], logits[:, 1] = 1e4, -1e4
    scribble = torch.full((1, 1, 5, 5), 1)
    scribble[..., 1:-1, 1:-1] = UNLABELED
    energy = SelfLabelingEnergy("quadratic", relaxation, GridNeighborhood(bandwidth=1.0), eta=0.01)
    labels = NaturalGradient(energy)(logits, torch.zeros(1, 1, 5, 5), scribble).labels
    assert (labels[:, 1] > 0.9).all()  # class 0 costs 12 cut edges of λ = 6, class 1 costs η‖y − σ‖² = 0.02 a voxel


def test_extreme_shapes_classes_seeds_weights_and_logits() -> None:
    generator = torch.Generator().manual_seed(0)

    def integer(low: int, high: int) -> int:
        return int(torch.randint(low, high, (), generator=generator))

    for cross_entropy, relaxation in COMBINATIONS * 3:
        size = tuple(integer(1, 6) for _ in range(integer(1, 4)))
        batch, num_classes = integer(1, 4), integer(2, 9) if integer(0, 5) else 150
        logits = torch.randn(batch, num_classes, *size, generator=generator) * 10 ** integer(-1, 5)
        guide = torch.rand(batch, 2, *size, generator=generator)
        scribble = torch.randint(0, num_classes, (batch, 1, *size), generator=generator)
        draw = torch.rand(scribble.shape, generator=generator)
        share = integer(0, 5) / 4
        scribble = scribble.masked_fill(draw < share, UNLABELED).masked_fill(draw < share / 5, VOID)
        neighborhood = GridNeighborhood(integer(1, 4))
        energy = SelfLabelingEnergy(cross_entropy, relaxation, neighborhood, eta=integer(0, 3) / 4, lam=integer(0, 7))
        weights = [w * (torch.rand(w.shape, generator=generator) < 0.8) for w in neighborhood.weights(guide)]
        solution = NaturalGradient(energy)(logits, guide, scribble, weights=weights)
        y = solution.labels
        assert y.isfinite().all() and solution.energy.isfinite().all() and is_monotone(solution)
        assert (y >= 0).all()
        torch.testing.assert_close(y.sum(1), torch.ones_like(y[:, 0]))
        seeds, void = (scribble != UNLABELED) & (scribble != VOID), scribble == VOID
        assert (y.gather(1, torch.where(seeds, scribble, 0))[seeds] == 1).all()
        assert (y.movedim(1, -1)[void.squeeze(1)] == 1 / num_classes).all()
        assert y.movedim(1, -1)[seeds.squeeze(1)].sum() == seeds.sum()


def test_status_says_how_it_ended() -> None:
    inputs = smooth_inputs()
    energy = SelfLabelingEnergy()
    assert NaturalGradient(energy, max_steps=200)(*inputs).status is Status.CONVERGED
    short = NaturalGradient(energy, max_steps=3)(*inputs)
    assert short.status is Status.MAX_STEPS and short.steps == 3 and len(short.energy) == 4


def test_a_warm_start_goes_on_from_there() -> None:
    inputs = smooth_inputs()
    energy = SelfLabelingEnergy()
    first = NaturalGradient(energy, tolerance=1e-5, max_steps=200)(*inputs)
    again = NaturalGradient(energy, tolerance=1e-3)(*inputs, initial=first.labels)
    assert again.steps <= 3
    torch.testing.assert_close(again.energy[0], first.energy[-1], rtol=1e-2, atol=0)


def test_bad_arguments() -> None:
    energy = SelfLabelingEnergy()
    for arguments in ({"tolerance": -1.0}, {"stride": 0.0}, {"momentum": 1.0}, {"max_steps": 0}):
        with pytest.raises(ValueError, match="expected"):
            NaturalGradient(energy, **arguments)


def test_curvature_by_hand() -> None:
    # p = (0.7, 0.3), q = (0.4, 0.6): p·q = 0.46, ‖p‖² = 0.58, ‖q‖² = 0.52, 1 − ½‖p − q‖² = 0.91; λ w = 2.
    pair = {
        "bilinear": 2,
        "quadratic": 2,
        "normalized_quadratic": 2 / (0.58 * 0.52) ** 0.5,
        "collision_cross_entropy": 2 / 0.46,
        "log_quadratic": 2 / 0.91,
        "collision_divergence": 2 / 0.46,
    }
    # η = 0.3 times 1, max σ/y = 0.5 / 0.3, 1 / σ·y = 1 / 0.5 and 2, at p.
    unary = {"cross_entropy": 0.3, "reverse_cross_entropy": 0.5, "collision_cross_entropy": 0.6, "quadratic": 0.6}
    y = torch.tensor([[[0.7, 0.4], [0.3, 0.6]]], dtype=torch.float64)
    inputs = torch.zeros_like(y), torch.zeros(1, 1, 2), torch.full((1, 1, 2), UNLABELED)
    for cross_entropy, relaxation in itertools.product(unary, pair):
        energy = SelfLabelingEnergy(cross_entropy, relaxation, GridNeighborhood(bandwidth=1.0), eta=0.3, lam=2.0)
        curvature = energy.bind(*inputs).model(y)[2]
        assert curvature[0, 0, 0].item() == pytest.approx(pair[relaxation] + unary[cross_entropy])
