# SPDX-License-Identifier: Apache-2.0
"""Regions of a volume's slices in which a stroke would settle most."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.ndimage import generate_binary_structure, label, sum_labels

from medwsss.advice.scores import far_from

__all__ = ["find_regions"]

HIGH = 0.02  #: share of the voxels with a score whose scores are high; one draws on spots, not on halves of an image


def find_regions(score: np.ndarray, spacing: Sequence[float], reach: float, number: int) -> np.ndarray:
    """The best regions of a volume, one after the other, as if each had got its stroke before the next is sought.

    A region is a connected component of high scores (the highest 2 % of the positive ones) on one slice. The best is
    the one with the largest sum; then, whatever is within ``reach`` of it counts no longer, on other slices either, and
    regions that have lost half of their sum by that, or more, are passed over, as those of fewer than ``reach`` voxels.

    Args:
        score: ``X Y Z`` from 0, slices across the last axis.
        spacing: of the voxels.
        reach: of a stroke, in units of the smallest spacing.
        number: of regions, at most.

    Returns:
        ``X Y Z`` uint8: 1 in the best region, 2 in the next, …, 0 elsewhere.

    Example:
        >>> score = np.zeros((9, 1, 2))
        >>> score[1:3, 0, 0] = score[1:3, 0, 1] = score[6:8, 0, 1] = 0.9  # on two neighbouring slices
        >>> find_regions(score, [1, 1, 1], reach=2, number=9)[:, 0].T.tolist()
        [[0, 1, 1, 0, 0, 0, 0, 0, 0], [0, 0, 0, 0, 0, 0, 2, 2, 0]]
    """
    positive = score[score > 0]
    regions = np.zeros(score.shape, np.uint8)
    if not positive.size:
        return regions
    limit = min(np.quantile(positive, 1 - HIGH), np.nextafter(positive.max(), 0))  # of equal scores all are high
    high = score > limit
    within_slices = generate_binary_structure(3, 3)
    within_slices[..., [0, 2]] = False
    found, count = label(high, within_slices)
    index = np.arange(1, count + 1)
    sums = left = np.asarray(sum_labels(score, found, index))
    roomy = np.asarray(sum_labels(high, found, index)) >= reach
    for k in range(1, min(number, count) + 1):
        best = np.where(roomy & (left > sums / 2), left, 0)
        if not best.any():
            break
        regions[found == index[best.argmax()]] = k
        left = np.asarray(sum_labels(score * far_from(regions > 0, spacing, reach), found, index))
    return regions
