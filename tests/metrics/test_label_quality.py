# SPDX-License-Identifier: Apache-2.0
"""Soft labels against masks, by loops over voxels."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
from monai.data import MetaTensor

from medwsss.keys import UNLABELED, VOID
from medwsss.metrics import ClassIoUMetric, LabelQualityMetric, border_distance

K = 3
EDGES = [1.0, 2.0, 3.5]


def case(shape, seed, spacing):
    generator = torch.Generator().manual_seed(seed)
    y = (2 * torch.randn(K, *shape, generator=generator)).softmax(0)
    truth = torch.randint(K - seed % 2, (1, *shape), generator=generator)  # of every other case the last class is none
    truth[0, 0], truth[0, 1, 0] = UNLABELED, VOID
    scribble = torch.full_like(truth, UNLABELED)
    scribble[0, 2], scribble[0, 3, 1] = truth[0, 2], VOID
    return y, MetaTensor(truth, affine=torch.diag(torch.tensor([*spacing, 1.0]))), scribble


def distance(truth, place, spacing):
    """To the next voxel of another class, over all pairs."""
    others = (p for p in np.ndindex(*truth.shape) if truth[p] < VOID and truth[p] != truth[place])
    return min((math.dist(np.multiply(p, spacing), np.multiply(place, spacing)) for p in others), default=math.inf)


@pytest.mark.parametrize("shape, spacing", [((5, 4, 3), (0.5, 1.0, 3.0)), ((6, 5), (1.0, 0.7))])
def test_against_loops_over_voxels(shape, spacing):
    metric = LabelQualityMetric(K, EDGES)
    right, entropy, jaccard = [], [], []
    bins = [[] for _ in range(len(EDGES) + 1)]
    for seed in range(3):
        y, truth, scribble = case(shape, seed, [*spacing, 1.0][:3])
        metric(y[None], truth[None], scribble=scribble[None])
        classes, soft = truth[0].numpy(), y.double().numpy()
        counted = [p for p in np.ndindex(*shape) if classes[p] < VOID and scribble[0][p] >= VOID]
        guess = {p: max(range(K), key=lambda k, p=p: soft[(k, *p)]) for p in counted}
        for p in counted:
            right.append(guess[p] == classes[p])
            entropy.append(-sum(v * math.log(v) for v in soft[(slice(None), *p)]) / math.log(K))
            bins[sum(distance(classes, p, spacing) > edge for edge in EDGES)].append(guess[p] != classes[p])
        of_case = []
        for k in range(1, K):
            if any(classes[p] == k or guess[p] == k for p in counted):
                pairs = [(soft[(k, *p)], float(classes[p] == k)) for p in counted]
                of_case.append(sum(map(min, pairs)) / sum(map(max, pairs)))
        jaccard.append(np.mean(of_case))
    found = metric.aggregate()
    assert found.accuracy == pytest.approx(np.mean(right)) and found.entropy == pytest.approx(np.mean(entropy))
    assert found.soft_jaccard == pytest.approx(np.mean(jaccard))
    assert found.voxels == [len(b) for b in bins] and sum(found.voxels) == len(right)
    assert found.errors == pytest.approx([np.mean(b) if b else math.nan for b in bins], nan_ok=True)


@pytest.mark.parametrize("shape, spacing", [((6, 5), (1.0, 2.5)), ((4, 3, 3), (0.7, 0.7, 5.0))])
def test_border_distance_over_all_pairs(shape, spacing):
    truth = np.random.default_rng(0).choice([0, 0, 0, 1, 2, UNLABELED, VOID], shape)
    expected = np.full(shape, math.inf)
    for p in np.ndindex(*shape):
        if truth[p] < VOID:
            expected[p] = distance(truth, p, spacing)
    np.testing.assert_allclose(border_distance(truth, spacing), expected)
    assert np.isinf(border_distance(np.ones((2, 2), int), (1, 1))).all()


def test_one_hot_labels_have_iou_and_no_entropy():
    y, truth, _ = case((7, 6), 0, [1, 1, 1])
    guess = y.argmax(0, keepdim=True)
    hard, iou = torch.nn.functional.one_hot(guess[0], K).movedim(-1, 0).double(), ClassIoUMetric(K)
    metric = LabelQualityMetric(K)
    metric(hard[None], truth[None])
    iou([guess], [truth])
    found = metric.aggregate()
    assert found.soft_jaccard == pytest.approx(iou.aggregate().item()) and found.entropy == 0


def test_ten_voxels_of_three_tenths_of_a_millimetre_are_within_three():
    truth = torch.zeros(1, 12, dtype=torch.long)
    truth[0, 0] = 1
    mask = MetaTensor(truth, affine=torch.diag(torch.tensor([0.3, 1.0, 1.0, 1.0])))
    metric = LabelQualityMetric(2, [3.0])
    metric(torch.full((1, 2, 12), 0.5), mask[None])
    assert metric.aggregate().voxels == [11, 1]  # the first, and those at 0.3 to 3.0


def test_of_nothing():
    metric = LabelQualityMetric(K, EDGES)
    metric(torch.full((1, K, 4), 1 / K), torch.full((1, 1, 4), UNLABELED))
    found = metric.aggregate()
    numbers = [found.accuracy, found.soft_jaccard, found.entropy, *found.errors]
    assert all(map(math.isnan, numbers)) and not any(found.voxels)


def test_names_of_ranges_and_what_is_refused():
    assert LabelQualityMetric(2, [0.5, 2]).ranges == ["0 to 0.5 mm", "0.5 to 2 mm", "above 2 mm"]
    for edges in itertools.chain([[], [0, 1], [2, 1], [1, 1]]):
        with pytest.raises(ValueError, match="rising distances above 0 mm"):
            LabelQualityMetric(2, edges)
