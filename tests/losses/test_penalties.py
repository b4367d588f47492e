# SPDX-License-Identifier: Apache-2.0
"""Penalties on predictions against their definitions, voxel by voxel and pair by pair."""

from __future__ import annotations

import itertools
import math

import networkx as nx
import pytest
import torch

from medwsss.keys import GUIDE, SCRIBBLE, UNLABELED, VOID
from medwsss.losses import (
    MumfordShahLoss,
    NormalizedCutLoss,
    PartialCrossEntropyLoss,
    RegularizedLoss,
    TotalVariationLoss,
    TreeEnergyLoss,
)
from medwsss.losses.total_variation import FLAT
from medwsss.losses.tree_energy import spanning_tree
from medwsss.terms import DenseNeighborhood, GridNeighborhood, SparseNonlocalNeighborhood, WindowNeighborhood
from medwsss.terms.relaxations import bilinear
from tests.terms.problems import batch_of

SPACING = (1.5, 1.0, 2.0)
K = 3


def problem(shape):
    logits, guide, scribble = batch_of(2, K, shape)
    return logits, {SCRIBBLE: scribble, GUIDE: guide}


def penalty(loss, logits, target):
    """What the loss is above the seed term."""
    return loss(logits, target) - PartialCrossEntropyLoss()(logits, target)


def voxels(target, sample):
    """Indices of the sample's voxels that exist."""
    exists = target[SCRIBBLE][sample, 0] != VOID
    return [v for v in itertools.product(*map(range, exists.shape)) if exists[v]]


def steps(there, spacing):
    """Pairs of neighbours, with their axis' voxel size."""
    for v in there:
        for axis, size in enumerate(spacing):
            w = tuple(x + (a == axis) for a, x in enumerate(v))
            if w in there:
                yield v, w, axis, size / min(spacing)


def total_variation(sigma, target, spacing):
    """Mean over all voxels that exist."""
    total = 0.0
    for b, of in enumerate(sigma):
        there = voxels(target, b)
        squares = {(v, k): FLAT for v in there for k in range(K)}
        for v, w, _, size in steps(there, spacing):
            for k in range(K):
                squares[v, k] += ((of[(k, *w)] - of[(k, *v)]).item() / size) ** 2
        total += sum(math.sqrt(x) - math.sqrt(FLAT) for x in squares.values())
    return total / sum(len(voxels(target, b)) for b in range(len(sigma)))


def test_total_variation_voxel_by_voxel(shape):
    logits, target = problem(shape)
    spacing = SPACING[: len(shape)]
    found = penalty(TotalVariationLoss(0.7, spacing), logits, target)
    assert found.item() == pytest.approx(0.7 * total_variation(logits.softmax(1), target, spacing))


def test_mumford_shah_voxel_by_voxel(shape):
    logits, target = problem(shape)
    sigma, spacing = logits.softmax(1), SPACING[: len(shape)]
    within, count = 0.0, 0
    for b, of in enumerate(sigma):
        there = voxels(target, b)
        image = {v: target[GUIDE][(b, slice(None), *v)] / 2 for v in there}
        for k in range(K):
            center = sum(of[(k, *v)] * image[v] for v in there) / sum(of[(k, *v)] for v in there)
            within += sum(of[(k, *v)].item() * (image[v] - center).square().sum().item() for v in there)
        count += len(there)
    expected = 0.7 * (within / count + 0.4 * total_variation(sigma, target, spacing))
    found = penalty(MumfordShahLoss(0.7, mu=0.4, spacing=spacing, scale=2.0), logits, target)
    assert found.item() == pytest.approx(expected)


@pytest.mark.parametrize("kind", ["grid", "window", "sparse", "dense"])
def test_normalized_and_kernel_cut_from_the_matrix_of_weights(kind, shape):
    """``W`` is read off the neighbourhood row by row: the bilinear term's derivative is ``−Wy``."""
    spacing = SPACING[: len(shape)]
    neighborhood = {
        "grid": GridNeighborhood(bandwidth=0.5, spacing=spacing),
        "window": WindowNeighborhood(2, bandwidth=0.5, spacing=spacing),
        "sparse": SparseNonlocalNeighborhood(3, 0.5, spacing=spacing),
        "dense": DenseNeighborhood(2.0, 0.5, spacing),
    }[kind]
    logits, target = problem(shape)
    exists = target[SCRIBBLE] != VOID
    term = neighborhood.bind(bilinear, target[GUIDE], exists)
    count = logits[0, 0].numel()
    matrix = []
    for i in range(count):
        y = torch.zeros(2, 1, count, dtype=torch.float64)
        y[..., i] = 1
        matrix.append(-term.model(y.reshape(2, 1, *shape))[1].flatten(1))
    w = torch.stack(matrix, 1)
    torch.testing.assert_close(w, w.mT)
    sigma, d = logits.softmax(1).flatten(2), w.sum(2)
    cuts = torch.einsum("bkn,bnm,bkm->bk", sigma, w, 1 - sigma)
    ratios = cuts / torch.einsum("bkn,bn->bk", sigma, d)
    potts = torch.stack(
        [w[:, i, j] * (1 - (sigma[..., i] * sigma[..., j]).sum(1)) for i, j in itertools.combinations(range(count), 2)]
    )
    expected = 0.7 * (ratios.sum(1).mean() + 0.4 * potts.sum() / exists.sum())
    found = penalty(NormalizedCutLoss(0.7, neighborhood, lam=0.4), logits, target)
    torch.testing.assert_close(found, expected)
    assert 0 <= ratios.sum(1).min() and ratios.sum(1).max() <= K


def test_predictions_that_say_nothing_have_the_highest_normalized_cut():
    _, target = problem((6, 5))
    found = penalty(NormalizedCutLoss(1.0, GridNeighborhood(bandwidth=0.5)), torch.zeros(2, K, 6, 5).double(), target)
    assert found.item() == pytest.approx(K - 1)


def test_tree_energy_by_paths_in_networkx(shape):
    logits, target = problem(shape)
    sigma = logits.softmax(1)
    total, unlabeled = 0.0, 0
    for b, of in enumerate(sigma):
        there = voxels(target, b)
        graph = nx.Graph()
        graph.add_nodes_from(there)
        for v, w, *_ in steps(there, [1.0] * len(shape)):
            apart = target[GUIDE][(b, slice(None), *v)] - target[GUIDE][(b, slice(None), *w)]
            graph.add_edge(v, w, weight=apart.square().sum().item())
        tree = nx.minimum_spanning_tree(graph)
        for v in there:
            if target[SCRIBBLE][(b, 0, *v)] != UNLABELED:
                continue
            away = nx.single_source_dijkstra_path_length(tree, v)
            affinity = {w: math.exp(-d / 0.3) for w, d in away.items()}
            mean = sum(a * of[(slice(None), *w)] for w, a in affinity.items()) / sum(affinity.values())
            total += (of[(slice(None), *v)] - mean).abs().sum().item()
            unlabeled += 1
    found = penalty(TreeEnergyLoss(0.7, scale=0.3), logits, target)
    assert found.item() == pytest.approx(0.7 * total / unlabeled)


def test_equal_grey_levels_are_joined_too():
    tree = spanning_tree(torch.zeros(1, 4, 4, dtype=torch.float64), torch.ones(4, 4, dtype=torch.bool), 0.1)
    assert tree.filter(torch.ones(1, 16, dtype=torch.float64)).tolist() == [[16.0] * 16]


LOSSES = {
    "entropy": RegularizedLoss(eta=0.5, lam=0),
    "dense CRF": RegularizedLoss("bilinear", DenseNeighborhood(2.0, 0.5), eta=0),
    "gated CRF": RegularizedLoss("bilinear", WindowNeighborhood(2, bandwidth=0.5, spatial_bandwidth=6), eta=0),
    "total variation": TotalVariationLoss(0.5),
    "Mumford-Shah": MumfordShahLoss(0.5, 0.3),
    "kernel cut": NormalizedCutLoss(0.5, DenseNeighborhood(2.0, 0.5), lam=0.3),
    "tree energy": TreeEnergyLoss(0.5, 0.3),
}
every_loss = pytest.mark.parametrize("loss", LOSSES.values(), ids=LOSSES)


@every_loss
def test_derivatives_are_those_of_the_values(loss, shape):
    logits, target = problem(shape)
    assert torch.autograd.gradcheck(lambda z: loss(z, target), logits.requires_grad_(), fast_mode=True)


@every_loss
def test_void_voxels_have_no_say(loss, shape):
    logits, target = problem(shape)
    logits.requires_grad_()
    (slope,) = torch.autograd.grad(loss(logits, target), logits)
    void = (target[SCRIBBLE] == VOID).expand_as(logits)
    assert slope[void].abs().max() == 0 and slope.isfinite().all()
    other = torch.where(void, torch.randn_like(logits), logits)
    torch.testing.assert_close(loss(other, target), loss(logits, target))


@every_loss
def test_without_a_voxel_it_is_worth_nothing(loss):
    target = {SCRIBBLE: torch.full((1, 1, 4, 4), VOID), GUIDE: torch.rand(1, 1, 4, 4)}
    logits = torch.randn(1, K, 4, 4, requires_grad=True)
    value = loss(logits, target)
    value.backward()
    assert value.item() == 0 and logits.grad.abs().max() == 0


def test_entropy_is_that_of_unlabelled_voxels():
    logits, target = problem((5, 4))
    of = torch.distributions.Categorical(logits=logits.movedim(1, -1)).entropy()
    expected = 0.5 * of[target[SCRIBBLE][:, 0] == UNLABELED].mean()
    torch.testing.assert_close(penalty(LOSSES["entropy"], logits, target), expected)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: TotalVariationLoss(-1), "weight >= 0, got -1"),
        (lambda: NormalizedCutLoss(lam=-1), "lam >= 0, got -1"),
        (lambda: MumfordShahLoss(scale=0), "a positive scale, got 0.01 and 0"),
        (lambda: TreeEnergyLoss(scale=0), "a positive scale, got 0"),
        (
            lambda: TotalVariationLoss(spacing=(1, 1))(
                torch.zeros(1, 2, 3), {SCRIBBLE: torch.zeros(1, 1, 3).long(), GUIDE: torch.zeros(1, 1, 3)}
            ),
            "a spacing for each of 1 axes",
        ),
    ],
)
def test_bad_values_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()
