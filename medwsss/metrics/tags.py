# SPDX-License-Identifier: Apache-2.0
"""How well tags are known, before a map is believed, and what maps would be worth at the best threshold."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from monai.metrics import CumulativeIterationMetric, compute_roc_auc
from torch import Tensor

from medwsss.metrics.mean_iou import MeanIoUMetric
from medwsss.terms.activation_maps import label_map

__all__ = ["ActivatedMetric", "BackgroundSweepMetric", "TagAUCMetric"]

SCORES = tuple(0.05 * n for n in range(20))


class TagAUCMetric(CumulativeIterationMetric):
    """Area under the ROC curve of each tag over all images; unknown tags (NaN) of an image are left out.

    Shape:
        - y_pred: scores ``B C``, or a list of ``C``.
        - y: tags likewise, 0, 1 or NaN.
        - buffer: ``1 × C``, NaN for a tag that all images have or none.

    Example:
        >>> auc = TagAUCMetric()
        >>> for score, tag in ([2.0], [1.0]), ([0.5], [0.0]), ([1.0], [1.0]), ([1.5], [0.0]), ([9.0], [torch.nan]):
        ...     _ = auc(torch.tensor([score]), torch.tensor([tag]))
        >>> auc.aggregate().item()  # of the four pairs of an image with and one without, three are in order
        0.75
    """

    def _compute_tensor(self, y_pred: Tensor, y: Tensor, **kwargs: Any) -> Tensor:  # type: ignore[override]
        return torch.stack((y_pred.float(), y.to(y_pred.device).float()), 1)

    def get_buffer(self) -> Tensor:
        """The area of each tag, ``1 × C``."""
        scores, tags = super().get_buffer().unbind(1)
        return torch.tensor([[_auc(s, t) for s, t in zip(scores.unbind(1), tags.unbind(1))]])

    def aggregate(self) -> Tensor:
        """Mean over tags."""
        return self.get_buffer().nanmean()


def _auc(scores: Tensor, tags: Tensor) -> float:
    known = ~tags.isnan()
    scores, tags = scores[known], tags[known]
    if len(tags.unique()) < 2:
        return float("nan")
    area: Any = compute_roc_auc(scores, tags)
    return float(area)


class ActivatedMetric(CumulativeIterationMetric):
    """Share of the images with a tag whose map of it is positive somewhere; a map that is empty has no seed.

    Shape:
        - y_pred: activation maps, ``B C *S`` or a list of ``C *S``.
        - y: tags ``B C``.
        - buffer: ``images × C``, NaN where a tag is not there.
    """

    def _compute_tensor(self, y_pred: Tensor, y: Tensor, **kwargs: Any) -> Tensor:  # type: ignore[override]
        there = (y_pred.flatten(2) > 0).any(2).float()
        return torch.where(y.to(there.device) == 1, there, torch.nan)

    def aggregate(self) -> Tensor:
        """Over all images and tags."""
        shares: Tensor = self.get_buffer()
        return shares.nanmean()


class BackgroundSweepMetric(CumulativeIterationMetric):
    """The best mIoU over background scores: an oracle, because only masks tell which score that is.

    Args:
        num_classes: ``K``, background included.
        scores: constant background scores to try.

    Shape:
        - y_pred: activation maps, ``B C *S`` or a list of ``C *S``.
        - y: class maps, ``1 *S`` each; ``UNLABELED`` and ``VOID`` voxels don't count.
        - buffer: ``1 × K``, IoU at the best score.
    """

    def __init__(self, num_classes: int, scores: Sequence[float] = SCORES) -> None:
        super().__init__()
        self.scores = tuple(scores)
        self.metrics = [MeanIoUMetric(num_classes) for _ in self.scores]

    def _compute_tensor(self, y_pred: Tensor, y: Tensor, **kwargs: Any) -> Tensor:  # type: ignore[override]
        maps = (label_map(y_pred, "constant", alpha) for alpha in self.scores)
        return torch.stack([metric._compute_tensor(x, y) for metric, x in zip(self.metrics, maps)], 1)

    def _best(self) -> tuple[Tensor, float]:
        both, truth, pred = super().get_buffer().sum(0).double().unbind(1)
        iou = both / (truth + pred - both)
        best = int(iou.nanmean(1).nan_to_num(-1).argmax())
        return iou[best][None], self.scores[best]

    def get_buffer(self) -> Tensor:
        """The IoU of each class, ``1 × K``."""
        return self._best()[0]

    def aggregate(self) -> Tensor:
        """mIoU."""
        return self.get_buffer().nanmean()

    @property
    def best_score(self) -> float:
        """The background score of :meth:`aggregate`."""
        return self._best()[1]
