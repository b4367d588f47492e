# SPDX-License-Identifier: Apache-2.0
"""HD95, ASSD and surface Dice against loops over the voxels of both surfaces, with anisotropic spacing."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from monai.data import MetaTensor

from medwsss.metrics import ClassHausdorffMetric, ClassSurfaceDiceMetric, ClassSurfaceDistanceMetric
from tests.metrics.test_contour import blobs

SPACING = [0.7, 1.3, 3.1]
TOLERANCE = 1.5


def surface(mask, spacing):
    """Places in mm of voxels with a face neighbour outside of the mask, or at the image's border."""
    found = []
    for place in zip(*np.nonzero(mask)):
        for axis in range(mask.ndim):
            for step in (-1, 1):
                other = list(place)
                other[axis] += step
                if not 0 <= other[axis] < mask.shape[axis] or not mask[tuple(other)]:
                    found.append(place)
    return np.multiply(sorted(set(found)), spacing)


@pytest.mark.parametrize("shape", [(12, 12), (8, 8, 8)], ids=["12²", "8³"])
def test_against_brute_force(shape):
    spacing = SPACING[: len(shape)]
    pred, truth = blobs(shape, 1), blobs(shape, 2)
    metrics = [
        ClassHausdorffMetric(3),
        ClassSurfaceDistanceMetric(3),
        ClassSurfaceDiceMetric(3, tolerance=TOLERANCE),
    ]
    affine = torch.diag(torch.tensor([*spacing, *[1.0] * (4 - len(spacing))]))
    for metric in metrics:
        metric([pred], [MetaTensor(truth, affine=affine)])
    for k in (1, 2):
        surfaces = [surface(x[0].numpy() == k, spacing) for x in (pred, truth)]
        ways = [[min(math.dist(a, b) for b in other) for a in own] for own, other in (surfaces, surfaces[::-1])]
        everything = np.concatenate(ways)
        expected = [max(np.percentile(way, 95) for way in ways), everything.mean(), (everything <= TOLERANCE).mean()]
        assert 0 < expected[2] < 1
        assert [metric.get_buffer()[0, k - 1].item() for metric in metrics] == pytest.approx(expected, rel=1e-5)


def test_a_tolerance_holds_up_to_rounding():
    """Ten voxels of 0.3 mm, which float32 does not hold exactly, are 3 mm."""
    pred, truth = torch.zeros(1, 1, 20, 3, dtype=torch.long), torch.zeros(1, 1, 20, 3, dtype=torch.long)
    pred[0, 0, 2, 1] = truth[0, 0, 12, 1] = 1
    for tolerance, expected in ((3.0, 1.0), (2.9, 0.0)):
        metric = ClassSurfaceDiceMetric(2, tolerance)
        metric([pred[0]], [MetaTensor(truth[0], affine=torch.diag(torch.tensor([0.3, 1, 1, 1])))])
        assert metric.aggregate().item() == expected


def test_a_negative_tolerance_is_refused():
    with pytest.raises(ValueError, match="0 mm or more, got -1"):
        ClassSurfaceDiceMetric(2, tolerance=-1)
