# SPDX-License-Identifier: Apache-2.0
"""MONAI's Dice and Hausdorff distance on class maps, with unlabelled voxels left out and every empty case spelt out.

For each case and foreground class:

=====================================  =======  ==================================
case                                   Dice     Hausdorff distance
=====================================  =======  ==================================
class in neither truth nor prediction  NaN      NaN (both are left out of means)
class in one of them only              0        diagonal of the volume in mm
=====================================  =======  ==================================

A mean over nothing is NaN as well, and never the 0 that would be the worst Dice and the best distance.
"""

from __future__ import annotations

import warnings
from abc import abstractmethod
from typing import Any

import torch
from monai.metrics import CumulativeIterationMetric, compute_dice, compute_hausdorff_distance, do_metric_reduction
from monai.utils import convert_to_tensor
from torch import Tensor

from medwsss.terms.simplex import one_hot, seed_mask

__all__ = ["ClassDiceMetric", "ClassHausdorffMetric"]


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

    def _compute_tensor(self, y_pred: Tensor, y: Tensor, **kwargs: Any) -> Tensor:  # type: ignore[override]
        spacing = getattr(y, "pixdim", None)
        space = y.ndim - 2
        spacing = [1.0] * space if spacing is None else torch.as_tensor(spacing).flatten()[:space].tolist()
        pred, truth = (convert_to_tensor(x, track_meta=False).long() for x in (y_pred, y))
        counts = seed_mask(truth)
        pred_hot = one_hot(torch.where(counts, pred, 0), self.num_classes) * counts
        truth_hot = one_hot(truth, self.num_classes)
        predicted, present = (hot[:, 1:].flatten(2).any(-1) for hot in (pred_hot, truth_hot))
        values = self.figure(pred_hot, truth_hot, spacing)
        values = torch.where(predicted ^ present, self.miss(truth, spacing), values)
        return torch.where(predicted | present, values, torch.nan)

    @abstractmethod
    def figure(self, pred: Tensor, truth: Tensor, spacing: list[float]) -> Tensor:
        """The figure of one-hot maps ``B K *S``, ``B × (K − 1)``."""

    @abstractmethod
    def miss(self, truth: Tensor, spacing: list[float]) -> float:
        """What a class is worth that only one of truth and prediction has."""

    def aggregate(self, reduction: str = "mean") -> Tensor:
        """Mean over classes of each case, then over cases, NaN left out; NaN where nothing is left."""
        result, counts = do_metric_reduction(self.get_buffer(), reduction)
        figures: Tensor = result if reduction == "none" else torch.where(torch.as_tensor(counts) > 0, result, torch.nan)
        return figures


class ClassDiceMetric(ClassMetric):
    """Dice of each class, 0 for a missed or invented one.

    Example:
        >>> dice = ClassDiceMetric(num_classes=3)
        >>> dice(torch.tensor([[[0, 1, 1, 2]]]), torch.tensor([[[0, 1, 255, 0]]])).tolist()
        [[1.0, 0.0]]
        >>> dice.aggregate().item()  # unlabelled voxels don't count, an invented class does
        0.5
    """

    def figure(self, pred: Tensor, truth: Tensor, spacing: list[float]) -> Tensor:
        """``2 |P ∩ T| / (|P| + |T|)``."""
        return compute_dice(pred, truth, include_background=False, ignore_empty=False)

    def miss(self, truth: Tensor, spacing: list[float]) -> float:
        """0."""
        return 0.0


class ClassHausdorffMetric(ClassMetric):
    """Hausdorff distance of each class in mm, by the spacing of each case's own affine; the diagonal for a miss.

    Args:
        num_classes: ``K``.
        percentile: 95 for HD95.
    """

    def __init__(self, num_classes: int, percentile: float = 95) -> None:
        super().__init__(num_classes)
        self.percentile = percentile

    def figure(self, pred: Tensor, truth: Tensor, spacing: list[float]) -> Tensor:
        """The larger of both directions' percentiles of surface distances."""
        both = (pred.flatten(2).any(-1) & truth.flatten(2).any(-1))[:, 1:]
        distances = torch.full(both.shape, torch.nan, device=pred.device)
        for b, c in both.nonzero().tolist():  # MONAI warns of each empty class; those are settled above
            one = (slice(b, b + 1), slice(c + 1, c + 2))
            with warnings.catch_warnings():  # MONAI 1.6 calls a function of its own in a way it has deprecated
                warnings.simplefilter("ignore", FutureWarning)
                distances[b, c] = compute_hausdorff_distance(
                    pred[one], truth[one], include_background=True, percentile=self.percentile, spacing=spacing
                ).item()
        return distances

    def miss(self, truth: Tensor, spacing: list[float]) -> float:
        """The volume's diagonal."""
        return float(torch.tensor([n * s for n, s in zip(truth.shape[2:], spacing)]).norm())
