# SPDX-License-Identifier: Apache-2.0
"""DAVIS's contour accuracy F, and the mean of region similarity J and F (Perazzi et al., CVPR 2016)."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor

from medwsss.metrics.segmentation import ClassMetric, settle

__all__ = ["ContourFMetric", "RegionAndContourMetric"]


class ContourFMetric(ClassMetric):
    """``F = 2 P R / (P + R)``: ``P`` is the share of the prediction's contour near the truth's, ``R`` the other way.

    A voxel is of the contour where its mask differs from that of a neighbour one step on along any set of axes, as in
    DAVIS's code, which holds here for any number of axes. Near is within ``tolerance``, by Euclidean distance. A mask
    that fills its image has no contour: F is 1 where that is so of both, and 0 where of one. Unlabelled and void voxels
    are background to both masks, DAVIS's rule.

    Args:
        num_classes: ``K``, background (class 0) included.
        tolerance: in ``unit``.
        unit: "diagonal" of the image in voxels (times ``tolerance``, rounded up, as DAVIS does), "voxel" or "mm".
        accumulate: "case" is DAVIS's, F for each case and class; "global" one F a class of the counts of all cases.

    Raises:
        ValueError: for another unit or way to accumulate, and a negative tolerance.

    Example:
        >>> truth = torch.tensor([[[[0, 1, 1, 0, 0, 0, 0]]]])  # contour at 0 and 2
        >>> pred = torch.tensor([[[[0, 1, 1, 1, 1, 0, 0]]]])  # contour at 0 and 4
        >>> metric = ContourFMetric(num_classes=2, tolerance=1, unit="voxel")
        >>> _ = metric(pred, truth)
        >>> metric.aggregate().item()
        0.5
    """

    def __init__(
        self, num_classes: int, tolerance: float = 0.008, unit: str = "diagonal", accumulate: str = "case"
    ) -> None:
        super().__init__(num_classes)
        for value, choices in ((unit, ("diagonal", "voxel", "mm")), (accumulate, ("case", "global"))):
            if value not in choices:
                raise ValueError(f"expected one of {choices}, got {value!r}")
        if not tolerance >= 0:
            raise ValueError(f"expected a tolerance of 0 or more, got {tolerance}")
        self.tolerance, self.unit, self.accumulate = tolerance, unit, accumulate

    def _compute_tensor(self, y_pred: Tensor, y: Tensor, **kwargs: Any) -> Tensor:  # type: ignore[override]
        """``B × 7 × (K − 1)``: matched and all contour of prediction, of truth, then ``|P ∩ T|``, ``|P|``, ``|T|``."""
        masks = self.masks(y_pred, y)
        shape = masks.truth.shape[2:]
        step = masks.spacing if self.unit == "mm" else [1.0] * len(shape)
        reach = math.ceil(self.tolerance * math.hypot(*shape)) if self.unit == "diagonal" else self.tolerance
        pairs = zip(*(hot[:, 1:].bool().numpy(force=True) for hot in (masks.pred, masks.truth)))
        counts = [[_counts(p, t, step, reach) for p, t in zip(*pair)] for pair in pairs]
        return torch.tensor(counts, device=masks.truth.device).mT

    def get_buffer(self) -> Tensor:
        """F, ``cases × (K − 1)``, or ``1 × (K − 1)``."""
        counts = self._counted()
        near_pred, contour_pred, near_truth, contour_truth, _, pred, truth = counts.unbind(1)
        precision, recall = near_pred / contour_pred, near_truth / contour_truth
        f = (2 * precision * recall / (precision + recall)).nan_to_num(0)  # 0 / 0 where no contour is near another
        f = torch.where((contour_pred == 0) & (contour_truth == 0), 1, f)
        return settle(f, pred > 0, truth > 0, 0.0)

    def _counted(self) -> Tensor:
        counts: Tensor = super().get_buffer().double()
        return counts.sum(0, keepdim=True) if self.accumulate == "global" else counts


class RegionAndContourMetric(ContourFMetric):
    """J&F, the mean of J (intersection over union) and contour F; arguments are those of :class:`ContourFMetric`."""

    def get_buffer(self) -> Tensor:
        """J&F, ``cases × (K − 1)``, or ``1 × (K − 1)``."""
        both, pred, truth = self._counted()[:, 4:].unbind(1)
        j = both / (pred + truth - both)
        return (j + super().get_buffer()) / 2  # 0 / 0 and NaN for a class in neither


def _counts(pred: np.ndarray, truth: np.ndarray, step: list[float], reach: float) -> list[int]:
    areas = [int(each.sum()) for each in (pred & truth, pred, truth)]
    if not areas[1] and not areas[2]:
        return [0] * 7
    (box,) = ndimage.find_objects((pred | truth).astype(np.uint8))  # all contours lie in it and one voxel around
    box = tuple(slice(max(axis.start - 1, 0), axis.stop + 1) for axis in box)
    contours = [_contour(mask[box]) for mask in (pred, truth)]
    counts = []
    for own, other in (contours, contours[::-1]):
        near = ndimage.distance_transform_edt(~other, sampling=step) <= reach * (1 + 1e-9) if other.any() else other
        counts += [int((own & near).sum()), int(own.sum())]
    return counts + areas


def _contour(mask: np.ndarray) -> np.ndarray:
    """Where a voxel differs from one of those a step on, within the image."""
    ahead = {"size": 2, "origin": -1, "mode": "nearest"}
    return np.asarray(ndimage.maximum_filter(mask, **ahead) != ndimage.minimum_filter(mask, **ahead))
