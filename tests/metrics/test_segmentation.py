# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import math

import pytest
import torch
from monai.data import MetaTensor

from medwsss.keys import UNLABELED, VOID
from medwsss.metrics import (
    ClassDiceMetric,
    ClassHausdorffMetric,
    ClassIoUMetric,
    ClassSurfaceDiceMetric,
    ClassSurfaceDistanceMetric,
    ContourFMetric,
    RegionAndContourMetric,
)


def maps(pred: list[int], truth: list[int], spacing: float = 1.0) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
    """A case of one axis, as MONAI's evaluator hands it over: lists of channel-first maps."""
    return [torch.tensor([pred])], [MetaTensor(torch.tensor([truth]), affine=torch.diag(torch.tensor([spacing, 1.0])))]


def values(metric, pred: list[int], truth: list[int], spacing: float = 1.0) -> list[float]:
    metric(*maps(pred, truth, spacing))
    return metric.get_buffer()[0].tolist()


def test_dice_by_hand() -> None:
    # class 1: |P| = 2, |T| = 3, common 2; class 2: |P| = 2, |T| = 1, common 1
    assert values(ClassDiceMetric(3), [1, 1, 2, 2, 0], [1, 1, 1, 2, 0]) == pytest.approx([2 * 2 / 5, 2 * 1 / 3])


def test_dice_is_that_of_sets_on_random_volumes(shape: tuple[int, ...]) -> None:
    pred, truth = (torch.randint(4, (1, 1, *shape)) for _ in range(2))
    metric = ClassDiceMetric(4)
    metric(pred, truth)
    for k, found in enumerate(metric.get_buffer()[0].tolist(), start=1):
        p, t = ({tuple(i) for i in (x[0, 0] == k).nonzero().tolist()} for x in (pred, truth))
        assert found == pytest.approx(2 * len(p & t) / (len(p) + len(t)) if p or t else math.nan, nan_ok=True)


@pytest.mark.parametrize("ignored", [UNLABELED, VOID])
def test_unlabelled_and_void_voxels_do_not_count(ignored: int) -> None:
    assert values(ClassDiceMetric(2), [1, 1, 1, 0], [1, 1, ignored, ignored]) == [1.0]
    assert values(ClassDiceMetric(2), [0, 1, 1, 0], [1, 1, ignored, 0]) == pytest.approx([2 / 3])


EVERY = {
    "Dice": (ClassDiceMetric, 0, 1),
    "IoU": (ClassIoUMetric, 0, 1),
    "surface Dice": (ClassSurfaceDiceMetric, 0, 1),
    "contour F": (ContourFMetric, 0, 1),
    "J&F": (RegionAndContourMetric, 0, 1),
    "HD95": (ClassHausdorffMetric, 12.5, 0),  # the diagonal of 3 x 4 voxels of 2.5 mm
    "ASSD": (ClassSurfaceDistanceMetric, 12.5, 0),
}


@pytest.mark.parametrize("kind, miss, best", EVERY.values(), ids=EVERY)
def test_the_table_of_empty_cases(kind: type, miss: float, best: float) -> None:
    """One policy for all figures, and means that leave NaN out."""
    empty, some = torch.zeros(1, 1, 3, 4, dtype=torch.long), torch.zeros(1, 1, 3, 4, dtype=torch.long)
    some[..., 1, 1:3] = 1
    affine = torch.diag(torch.tensor([2.5, 2.5, 1, 1]))
    table = [((empty, empty), math.nan), ((empty, some), miss), ((some, empty), miss), ((some, some), best)]
    metric = kind(2)
    for (pred, truth), _ in table:
        metric([pred[0]], [MetaTensor(truth[0], affine=affine)])
    assert metric.get_buffer().flatten().tolist() == pytest.approx([value for _, value in table], nan_ok=True)
    assert metric.aggregate().item() == pytest.approx((2 * miss + best) / 3)


def test_hausdorff_is_in_mm_of_the_cases_own_spacing() -> None:
    # one voxel of the prediction lies 3 voxels from the truth's
    assert values(ClassHausdorffMetric(2, percentile=100), [1, 0, 0, 0, 0], [0, 0, 0, 1, 0], 2.0) == pytest.approx([6])


def test_percentile_leaves_outliers_out() -> None:
    truth, pred = torch.zeros(1, 1, 60, 60, dtype=torch.long), torch.zeros(1, 1, 60, 60, dtype=torch.long)
    truth[..., 5:45, 5:45] = pred[..., 5:45, 5:45] = 1
    pred[..., 58, 25] = 1  # 14 voxels off, 1 of about 157 border voxels
    figures = {}
    for percentile in (95, 100):
        metric = ClassHausdorffMetric(2, percentile)
        metric(pred, truth)
        figures[percentile] = metric.aggregate().item()
    assert figures == pytest.approx({95: 0, 100: 14})


def test_aggregate_is_the_mean_over_classes_then_cases_without_nan() -> None:
    metric = ClassDiceMetric(3)
    metric(*maps([1, 1, 0], [1, 1, 0]))  # 1, NaN
    metric(*maps([1, 0, 2], [1, 1, 0]))  # 2/3, 0
    assert metric.aggregate().item() == pytest.approx((1 + (2 / 3 + 0) / 2) / 2)


def test_perfect_masks(shape: tuple[int, ...]) -> None:
    truth = torch.randint(3, (2, 1, *shape))
    for metric, best in ((ClassDiceMetric(3), 1.0), (ClassHausdorffMetric(3), 0.0)):
        metric(truth, truth)
        assert metric.aggregate().item() == best


@pytest.mark.parametrize("metric", [ClassDiceMetric(3), ClassHausdorffMetric(3)], ids=["Dice", "Hausdorff"])
def test_a_mean_over_nothing_is_none(metric: ClassDiceMetric) -> None:
    """Of cases without class 2, and then of cases without a class at all."""
    metric.reset()
    metric(*maps([0, 1], [0, 1]))
    by_class = metric.aggregate("mean_batch").tolist()
    assert by_class[0] in (0.0, 1.0) and math.isnan(by_class[1])
    assert metric.aggregate("none").isnan().tolist() == [[False, True]]
    metric.reset()
    for _ in range(2):
        metric(*maps([0, 0], [0, 255]))
    assert metric.aggregate().isnan() and metric.aggregate("mean_batch").isnan().all()
