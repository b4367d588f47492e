# SPDX-License-Identifier: Apache-2.0
"""Contour F and J&F against DAVIS's rule as loops over voxels and pairs of them."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
from monai.data import MetaTensor

from medwsss.keys import UNLABELED, VOID
from medwsss.metrics import ContourFMetric, RegionAndContourMetric


def contour(mask):
    """Voxels that differ from an existing neighbour at +1 along any combination of axes."""
    steps = [step for step in itertools.product((0, 1), repeat=mask.ndim) if any(step)]
    found = []
    for place in np.ndindex(mask.shape):
        ahead = [tuple(np.add(place, step)) for step in steps]
        if any(mask[place] != mask[other] for other in ahead if all(np.less(other, mask.shape))):
            found.append(place)
    return found


def by_pairs(pred, truth, reach, spacing):
    """Matched and all contour of each, every voxel against every other."""
    contours = contour(pred), contour(truth)
    counts = []
    for own, other in (contours, contours[::-1]):
        near = [any(math.dist(np.multiply(a, spacing), np.multiply(b, spacing)) <= reach for b in other) for a in own]
        counts += [sum(near), len(own)]
    return counts


def f_of(near_pred, all_pred, near_truth, all_truth):
    if not all_pred and not all_truth:
        return 1.0
    precision, recall = near_pred / max(all_pred, 1), near_truth / max(all_truth, 1)
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


def blobs(shape, seed):
    """Smooth class maps of three classes, so that contours have a length."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand(1, 3, *[n // 4 for n in shape], generator=generator)
    mode = {2: "bilinear", 3: "trilinear"}[len(shape)]
    return torch.nn.functional.interpolate(coarse, shape, mode=mode).argmax(1)  # 1 *S


@pytest.mark.parametrize("shape", [(12, 12), (8, 8, 8)], ids=["12²", "8³"])
@pytest.mark.parametrize("unit, tolerance", [("diagonal", 0.1), ("voxel", 1.0), ("mm", 2.5)])
def test_against_an_independent_count(shape, unit, tolerance):
    spacing = [0.5, 1.5, 2.0][: len(shape)]
    reach = math.ceil(tolerance * math.hypot(*shape)) if unit == "diagonal" else tolerance
    step = spacing if unit == "mm" else [1.0] * len(shape)
    cases = [(blobs(shape, seed), blobs(shape, seed + 10)) for seed in range(2)]
    f, both = (kind(3, tolerance, unit) for kind in (ContourFMetric, RegionAndContourMetric))
    overall = ContourFMetric(3, tolerance, unit, accumulate="global")
    affine = torch.diag(torch.tensor([*spacing, *[1.0] * (4 - len(spacing))]))
    for pred, truth in cases:
        for metric in (f, both, overall):
            metric([pred], [MetaTensor(truth, affine=affine)])
    counts = np.array([[by_pairs(p[0].numpy() == k, t[0].numpy() == k, reach, step) for k in (1, 2)] for p, t in cases])
    expected = np.array([[f_of(*row) for row in case] for case in counts])
    assert 0.05 < expected.mean() < 0.95  # neither all near nor all far
    np.testing.assert_allclose(f.get_buffer(), expected, rtol=1e-12)
    j = [[((p == k) & (t == k)).sum() / ((p == k) | (t == k)).sum() for k in (1, 2)] for p, t in cases]
    np.testing.assert_allclose(both.get_buffer(), (expected + np.array(j)) / 2, rtol=1e-6)
    np.testing.assert_allclose(overall.get_buffer(), [[f_of(*row) for row in counts.sum(0)]], rtol=1e-12)


def test_the_tolerance_is_a_disk_and_rounded_up_as_in_davis():
    """0.008 of the diagonal of 30 x 40 is 0.4: one voxel along an axis is near, one along both is not."""
    pred, truth = torch.zeros(1, 1, 30, 40, dtype=torch.long), torch.zeros(1, 1, 30, 40, dtype=torch.long)
    truth[..., 5:9, 5:9] = 1
    pred[..., 6:10, 5:9] = 1
    metric = ContourFMetric(2)
    metric(pred, truth)
    assert metric.aggregate().item() == 1
    pred = pred.roll(1, -1)
    metric.reset()
    metric(pred, truth)
    assert 0 < metric.aggregate().item() < 1


def test_a_mask_that_fills_its_image_has_no_contour():
    full, half = torch.ones(1, 1, 4, 4, dtype=torch.long), torch.ones(1, 1, 4, 4, dtype=torch.long)
    half[..., :2, :] = 0
    for pred, truth, f, j in ((full, full, 1, 1), (full, half, 0, 0.5), (half, full, 0, 0.5)):
        for metric, expected in ((ContourFMetric(2), f), (RegionAndContourMetric(2), (f + j) / 2)):
            metric(pred, truth)
            assert metric.aggregate().item() == expected


@pytest.mark.parametrize("ignored", [UNLABELED, VOID])
def test_voxels_that_do_not_count_are_background_to_both(ignored):
    truth = torch.tensor([[[0, 1, 1, ignored, ignored, 0, 0, 0]]])
    pred = torch.tensor([[[0, 1, 1, 1, 1, 0, 0, 0]]])
    metric = ContourFMetric(2, tolerance=0, unit="voxel")
    metric(pred, truth)
    assert metric.aggregate().item() == 1


@pytest.mark.parametrize("options", [{"unit": "pixel"}, {"accumulate": "mean"}, {"tolerance": -1}])
def test_arguments_out_of_range(options):
    with pytest.raises(ValueError, match="expected"):
        ContourFMetric(2, **options)
