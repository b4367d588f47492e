# SPDX-License-Identifier: Apache-2.0
"""Intersection over union as the field computes it: from one confusion matrix of the whole validation set."""

from __future__ import annotations

from typing import Any

import torch
from monai.metrics import CumulativeIterationMetric
from torch import Tensor

from medwsss.terms.simplex import seed_mask

__all__ = ["MeanIoUMetric"]


class MeanIoUMetric(CumulativeIterationMetric):
    """``IoU_k = Σ TP_k / Σ (TP_k + FP_k + FN_k)``, sums over all pixels of all cases and processes; mIoU is their mean.

    Unlike the mean over cases, a class weighs the same in every image, however few of its pixels that one has. Of the
    confusion matrix, its diagonal and the sums of its rows and columns are all that is kept.

    Args:
        num_classes: ``K``; class 0 is one of them.

    Shape:
        - y_pred: list of ``1 *S`` class maps (argmax), or ``B 1 *S``.
        - y: likewise; ``UNLABELED`` and ``VOID`` voxels don't count.
        - buffer: ``1 × K``, NaN for a class that is in neither truth nor prediction, which the mean leaves out.

    Example:
        >>> iou = MeanIoUMetric(num_classes=2)
        >>> for pred, truth in ([1, 1, 1, 1], [1, 1, 1, 1]), ([0, 0, 0, 0], [0, 0, 0, 1]):
        ...     _ = iou(torch.tensor([[pred]]), torch.tensor([[truth]]))
        >>> iou.get_buffer().tolist()  # class 1: 4 of 5 pixels in both, not the mean of 1 and 0
        [[0.75, 0.8]]
    """

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.num_classes = num_classes

    def _compute_tensor(self, y_pred: Tensor, y: Tensor, **kwargs: Any) -> Tensor:  # type: ignore[override]
        """``B × 3 × K``: pixels where both agree, of the truth, and of the prediction."""
        return torch.stack([self._counts(pred, truth) for pred, truth in zip(y_pred, y)])

    def _counts(self, pred: Tensor, truth: Tensor) -> Tensor:
        counts = seed_mask(truth)
        pair = truth[counts].long() * self.num_classes + pred[counts].long()
        confusion = torch.bincount(pair, minlength=self.num_classes**2).view(self.num_classes, self.num_classes)
        return torch.stack([confusion.diagonal(), confusion.sum(1), confusion.sum(0)])

    def get_buffer(self) -> Tensor:
        """The IoU of each class, ``1 × K``."""
        both, truth, pred = super().get_buffer().sum(0).double()
        iou: Tensor = both / (truth + pred - both)  # 0 / 0 is NaN
        return iou[None]

    def aggregate(self) -> Tensor:
        """mIoU."""
        return self.get_buffer().nanmean()
