# SPDX-License-Identifier: Apache-2.0
"""Whether a network that is sure of 80 % of its voxels is right in 80 % of them (Guo et al., ICML 2017)."""

from __future__ import annotations

from typing import Any

import torch
from monai.metrics import CumulativeIterationMetric
from torch import Tensor

from medwsss.terms.simplex import seed_mask

__all__ = ["CalibrationMetric", "calibration_error"]


class CalibrationMetric(CumulativeIterationMetric):
    """Expected calibration error of the predicted class, ``ECE = Σ_b n_b / n |accuracy_b − confidence_b|``.

    Confidence of a voxel is the largest of its probabilities; bin ``b`` of ``M`` holds confidences in
    ``((b − 1) / M, b / M]``. Sums are over the voxels of all cases and processes, in float64: MONAI's
    ``CalibrationErrorMetric`` is another figure, each channel against the rest, and its float32 counts end at 2²⁴.

    Args:
        num_bins: ``M``.
        include_background: with ``False`` only voxels count whose predicted or true class is foreground. Most of a
            volume is background that a network is sure of and right about, which makes the whole look calibrated.

    Shape:
        - y_pred: list of ``K *S`` probabilities, or ``B K *S``.
        - y: list of ``1 *S`` class maps, or ``B 1 *S``; ``UNLABELED`` and ``VOID`` voxels don't count.
        - buffer: ``cases × 3 × M``: number of voxels, sum of confidences, number of right voxels.

    Example:
        >>> metric = CalibrationMetric(num_bins=2)
        >>> _ = metric(torch.tensor([[[0.9, 0.7, 0.4], [0.1, 0.3, 0.6]]]), torch.tensor([[[0, 1, 1]]]))
        >>> round(metric.aggregate().item(), 4)  # two of three are right, confidence is 2.2 / 3
        0.0667
    """

    def __init__(self, num_bins: int = 15, include_background: bool = True) -> None:
        super().__init__()
        if num_bins < 1:
            raise ValueError(f"expected at least one bin, got {num_bins}")
        self.num_bins, self.include_background = num_bins, include_background

    def _compute_tensor(self, y_pred: Tensor, y: Tensor, **kwargs: Any) -> Tensor:  # type: ignore[override]
        return torch.stack([self._sums(*case) for case in zip(y_pred, y)])

    def _sums(self, probabilities: Tensor, truth: Tensor) -> Tensor:
        confidence, predicted = probabilities.max(0)
        truth = truth[0]
        counts = seed_mask(truth)
        if not self.include_background:
            counts = counts & ((truth > 0) | (predicted > 0))
        confidence = torch.as_tensor(confidence[counts]).double()
        right = (predicted[counts] == truth[counts]).double()
        bins = ((confidence * self.num_bins).ceil().long() - 1).clamp(0, self.num_bins - 1)
        sums = (torch.ones_like(right), confidence, right)
        return torch.stack([torch.bincount(bins, weights, self.num_bins) for weights in sums])

    def aggregate(self) -> Tensor:
        """ECE; NaN where no voxel counts."""
        return calibration_error(self.get_buffer().sum(0))


def calibration_error(sums: Tensor) -> Tensor:
    """ECE of ``… × 3 × M`` sums."""
    voxels, confidence, right = sums.unbind(-2)
    return (right - confidence).abs().sum(-1) / voxels.sum(-1)
