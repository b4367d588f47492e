# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from monai.metrics import calibration_binning

from medwsss.keys import UNLABELED, VOID
from medwsss.metrics import CalibrationMetric, calibration_error


def case(shape, seed, classes=3):
    generator = torch.Generator().manual_seed(seed)
    probabilities = (3 * torch.randn(classes, *shape, generator=generator)).softmax(0)
    truth = torch.randint(classes, (1, *shape), generator=generator)
    truth[0, 0] = UNLABELED
    truth[0, 1] = VOID
    return probabilities, truth


@pytest.mark.parametrize("background", [True, False])
@pytest.mark.parametrize("shape", [(9, 7), (5, 4, 6)])
def test_against_a_loop_over_voxels_of_all_cases(shape, background):
    metric = CalibrationMetric(num_bins=10, include_background=background)
    bins = [[] for _ in range(10)]
    for seed in range(3):
        probabilities, truth = case(shape, seed)
        metric([probabilities], [truth])
        for place in np.ndindex(*shape):
            label = int(truth[(0, *place)])
            values = [float(p) for p in probabilities[(slice(None), *place)]]
            guess = max(range(3), key=values.__getitem__)
            if label < VOID and (background or label or guess):
                bins[math.ceil(values[guess] * 10) - 1].append((values[guess], guess == label))
    total = sum(map(len, bins))
    error = sum(abs(sum(ok - p for p, ok in b)) for b in bins) / total
    assert metric.aggregate().item() == pytest.approx(error, rel=1e-6)
    assert metric.get_buffer()[:, 0].sum(0).tolist() == [len(b) for b in bins]


def test_bins_are_those_of_monai():
    probabilities, truth = case((8, 8), 0)
    metric = CalibrationMetric(num_bins=5)
    metric([probabilities], [truth])
    voxels, confidence, right = metric.get_buffer()[0]
    counts = truth[0] < VOID
    top, guess = probabilities.max(0)
    expected = calibration_binning(top[counts][None, None], (guess == truth[0])[counts][None, None].float(), num_bins=5)
    for found, of_monai in zip((confidence / voxels, right / voxels, voxels), expected):
        torch.testing.assert_close(found.float(), of_monai[0, 0], equal_nan=True)


def test_the_ends_of_the_scale():
    """Certain and right: no error. Certain and wrong: 1. Nothing to measure: NaN."""
    sure = torch.tensor([[1.0, 1.0], [0.0, 0.0]])
    for truth, expected in (([[0, 0]], 0.0), ([[1, 1]], 1.0)):
        metric = CalibrationMetric()
        metric([sure], [torch.tensor(truth)])
        assert metric.aggregate().item() == expected
    metric.reset()
    metric([sure], [torch.tensor([[UNLABELED, VOID]])])
    assert metric.aggregate().isnan()
    assert calibration_error(torch.zeros(2, 3, 4)).isnan().all()


def test_no_bins():
    with pytest.raises(ValueError, match="at least one bin, got 0"):
        CalibrationMetric(0)
