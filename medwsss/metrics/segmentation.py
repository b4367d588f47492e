# SPDX-License-Identifier: Apache-2.0
"""MONAI's metrics on class maps, with unlabelled voxels left out and every empty case spelt out, the same everywhere.

For each case and foreground class:

=====================================  ======================================  ==================================
case                                   Dice, IoU, surface Dice, contour F, J&F  HD95, ASSD
=====================================  ======================================  ==================================
class in neither truth nor prediction  NaN                                     NaN (both are left out of means)
class in one of them only              0                                       diagonal of the volume in mm
=====================================  ======================================  ==================================

A mean over nothing is NaN as well, and never the 0 that would be the worst Dice and the best distance.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import Any, NamedTuple

import torch
from monai.metrics import CumulativeIterationMetric, compute_dice, compute_iou, do_metric_reduction
from monai.utils import convert_to_tensor
from torch import Tensor

from medwsss.terms.simplex import one_hot, seed_mask

__all__ = ["ClassDiceMetric", "ClassIoUMetric"]


class Masks(NamedTuple):
    """What counts of a batch: one-hot ``B K *S``, empty where the truth says nothing, and mm a voxel and axis."""

    pred: Tensor
    truth: Tensor
    spacing: list[float]


class ClassMetric(CumulativeIterationMetric):
    """A figure for each case and foreground class.

    Args:
        num_classes: ``K``, background (class 0) included.

    Shape:
        - y_pred: list of ``1 *S`` class maps (argmax), or ``B 1 *S``.
        - y: likewise; ``UNLABELED`` and ``VOID`` voxels don't count.
        - buffer: ``cases × (K − 1)``.
    """

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.num_classes = num_classes

    def masks(self, y_pred: Tensor, y: Tensor) -> Masks:
        """Of class maps."""
        spacing = spacing_of(y)
        pred, truth = (convert_to_tensor(x, track_meta=False).long() for x in (y_pred, y))
        counts = seed_mask(truth)
        pred_hot = one_hot(torch.where(counts, pred, 0), self.num_classes) * counts
        return Masks(pred_hot, one_hot(truth, self.num_classes), spacing)

    def aggregate(self, reduction: str = "mean") -> Tensor:
        """Mean over classes of each case, then over cases, NaN left out; NaN where nothing is left."""
        result, counts = do_metric_reduction(self.get_buffer(), reduction)
        figures: Tensor = result if reduction == "none" else torch.where(torch.as_tensor(counts) > 0, result, torch.nan)
        return figures


class CaseMetric(ClassMetric):
    """One that measures each case by itself."""

    def _compute_tensor(self, y_pred: Tensor, y: Tensor, **kwargs: Any) -> Tensor:  # type: ignore[override]
        masks = self.masks(y_pred, y)
        predicted, present = (hot[:, 1:].flatten(2).any(-1) for hot in (masks.pred, masks.truth))
        return settle(self.figure(masks), predicted, present, self.miss(masks))

    @abstractmethod
    def figure(self, masks: Masks) -> Tensor:
        """The figure, ``B × (K − 1)``, of whatever value where a class is missing from prediction or truth."""

    def miss(self, masks: Masks) -> float:
        """What a class is worth that only one of truth and prediction has."""
        return 0.0


def spacing_of(y: Tensor) -> list[float]:
    """Of the voxels of a batch ``B C *S``, by its affine; 1 without one."""
    spacing, space = getattr(y, "pixdim", None), y.ndim - 2
    return [1.0] * space if spacing is None else torch.as_tensor(spacing).flatten()[:space].tolist()


def settle(values: Tensor, predicted: Tensor, present: Tensor, miss: float) -> Tensor:
    """The table above: ``values`` where a class is in both, ``miss`` where in one, NaN where in none."""
    values = torch.where(predicted ^ present, miss, values)
    return torch.where(predicted | present, values, torch.nan)


class ClassDiceMetric(CaseMetric):
    """Dice of each class, ``2 |P ∩ T| / (|P| + |T|)``, 0 for a missed or invented one.

    Example:
        >>> dice = ClassDiceMetric(num_classes=3)
        >>> dice(torch.tensor([[[0, 1, 1, 2]]]), torch.tensor([[[0, 1, 255, 0]]])).tolist()
        [[1.0, 0.0]]
        >>> dice.aggregate().item()  # unlabelled voxels don't count, an invented class does
        0.5
    """

    def figure(self, masks: Masks) -> Tensor:
        """Dice."""
        return compute_dice(masks.pred, masks.truth, include_background=False, ignore_empty=False)


class ClassIoUMetric(CaseMetric):
    """Intersection over union of each case and class, ``|P ∩ T| / |P ∪ T|``, DAVIS's J.

    The field's mIoU of photographs is another thing, :class:`~medwsss.metrics.MeanIoUMetric`: one quotient a class, of
    sums over all images.
    """

    def figure(self, masks: Masks) -> Tensor:
        """IoU."""
        return compute_iou(masks.pred, masks.truth, include_background=False, ignore_empty=False)
