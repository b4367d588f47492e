# SPDX-License-Identifier: Apache-2.0
"""mIoU from one confusion matrix: by hand, by scikit-learn's definition in NumPy."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from medwsss.keys import UNLABELED, VOID
from medwsss.metrics import MeanIoUMetric


def score(num_classes, *cases):
    metric = MeanIoUMetric(num_classes)
    for pred, truth in cases:
        metric([torch.as_tensor(pred)[None]], [torch.as_tensor(truth)[None]])
    return metric.get_buffer()[0], metric.aggregate()


def test_by_hand():
    """Two images of unlike sizes: sums over both come before the quotient, not a mean of two quotients."""
    first = ([[0, 1, 1]], [[0, 0, 1]])  # class 0: 1 of 2, class 1: 1 of 2
    second = ([[1, 1, 1, 1, 1, 0]], [[1, 1, 1, 1, 1, 1]])  # class 0: 0 of 1, class 1: 5 of 6
    iou, mean = score(2, first, second)
    assert iou.tolist() == pytest.approx([1 / 3, 6 / 8])
    assert mean.item() == pytest.approx((1 / 3 + 6 / 8) / 2)


def test_void_and_unlabelled_pixels_do_not_count():
    iou, _ = score(2, ([[0, 1, 1, 0]], [[0, 1, UNLABELED, VOID]]))
    assert iou.tolist() == [1, 1]
    assert score(2, ([[1, 1, 1]], [[1, UNLABELED, VOID]]))[0].isnan().tolist() == [True, False]


def test_a_class_that_is_nowhere_is_left_out_and_an_invented_one_is_not():
    iou, mean = score(4, ([[0, 0, 2, 1]], [[0, 0, 1, 1]]))
    assert iou[:3].tolist() == [1, 0.5, 0] and iou[3].isnan()
    assert mean.item() == 0.5


@pytest.mark.parametrize("shape", [(40,), (9, 7), (5, 4, 6)])
def test_against_a_loop(shape):
    rng = np.random.default_rng(len(shape))
    cases = [(rng.integers(0, 5, shape), rng.choice([0, 1, 2, 3, 4, VOID, UNLABELED], shape)) for _ in range(3)]
    iou, _ = score(5, *cases)
    pred, truth = (np.concatenate([case[i].ravel() for case in cases]) for i in (0, 1))
    pred, truth = pred[truth < VOID], truth[truth < VOID]
    expected = [((pred == k) & (truth == k)).sum() / ((pred == k) | (truth == k)).sum() for k in range(5)]
    np.testing.assert_allclose(iou, expected, rtol=1e-12)


def test_counts_are_exact_beyond_float32():
    """2²⁴ + 1 pixels in all: a float32 sum would lose the last one."""
    metric = MeanIoUMetric(2)
    many = torch.zeros(1, 2**12, 2**12, dtype=torch.uint8)
    metric([many], [many])
    metric([torch.tensor([[1]])], [torch.tensor([[0]])])
    assert metric.get_buffer()[0, 0].item() == 2**24 / (2**24 + 1)
