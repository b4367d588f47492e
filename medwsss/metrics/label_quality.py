# SPDX-License-Identifier: Apache-2.0
"""How good soft pseudo-labels are where dense masks lie beside the scribbles, and how near to a border they fail."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from monai.metrics import CumulativeIterationMetric
from monai.utils import convert_to_numpy, convert_to_tensor
from scipy.ndimage import distance_transform_edt
from torch import Tensor

from medwsss.keys import VOID
from medwsss.metrics.segmentation import spacing_of
from medwsss.metrics.surfaces import ROUNDING
from medwsss.terms.simplex import one_hot, seed_mask, uncertainty

__all__ = ["LabelQuality", "LabelQualityMetric", "border_distance"]


class LabelQuality(NamedTuple):
    """Of the voxels that count, in all cases together; NaN where there are none."""

    accuracy: float  #: share with ``argmax_k y^k = t``
    soft_jaccard: float  #: mean over foreground classes of each case, then over cases
    entropy: float  #: mean of ``H(y) / ln K``
    errors: list[float]  #: share with ``argmax_k y^k ≠ t``, by distance to the border
    voxels: list[int]  #: how many of them there are, by distance to the border


class LabelQualityMetric(CumulativeIterationMetric):
    """Accuracy, soft Jaccard, entropy, and error by distance to the border, of soft labels ``y`` against masks ``t``.

    Soft Jaccard of a case and class is ``Σ_i min(y_i^k, t_i^k) / Σ_i max(y_i^k, t_i^k)`` (Ružička's similarity) with
    one-hot ``t``, which is IoU where ``y`` is one-hot, too. A class in neither ``t`` nor ``argmax y`` of a case is left
    out. Distance is that of :func:`border_distance`, by the case's own affine; its last range has no end.

    Args:
        num_classes: ``K``, background (class 0) included.
        edges: where one range of distances ends and the next begins, rising, in mm.

    Shape:
        - y_pred: ``B K *S`` on the simplex.
        - y: ``B 1 *S`` class maps; ``UNLABELED`` and ``VOID`` voxels don't count.
        - scribble: ``B 1 *S``, optional; its seeds don't count, since a pseudo-label is given there.
        - buffer: ``cases × (3 + (K − 1) + 2 (edges + 1))`` sums, the same from any number of processes.

    Raises:
        ValueError: for edges that do not rise from above 0.

    Example:
        >>> metric = LabelQualityMetric(num_classes=2, edges=[1])
        >>> y = torch.tensor([[[0.9, 0.6, 0.4, 0.0], [0.1, 0.4, 0.6, 1.0]]])
        >>> _ = metric(y, torch.tensor([[[0, 0, 0, 1]]]))  # wrong at the third voxel, which is next to the border
        >>> found = metric.aggregate()
        >>> found.accuracy, round(found.soft_jaccard, 3), found.errors, found.voxels
        (0.75, 0.476, [0.5, 0.0], [2, 2])
    """

    def __init__(self, num_classes: int, edges: Sequence[float] = (1, 2, 4, 8)) -> None:
        super().__init__()
        if not edges or edges[0] <= 0 or any(b <= a for a, b in itertools.pairwise(edges)):
            raise ValueError(f"expected rising distances above 0 mm, got {list(edges)}")
        self.num_classes, self.edges = num_classes, list(edges)

    @property
    def ranges(self) -> list[str]:
        """Names of the ranges of distance."""
        bounds = [0, *self.edges]
        names = [f"{low:g} to {high:g} mm" for low, high in itertools.pairwise(bounds)]
        return [*names, f"above {self.edges[-1]:g} mm"]

    def _compute_tensor(  # type: ignore[override]
        self, y_pred: Tensor, y: Tensor, scribble: Tensor | None = None, **kwargs: Any
    ) -> Tensor:
        spacing = spacing_of(y)
        labels, truth = (convert_to_tensor(each, track_meta=False) for each in (y_pred, y))
        counts = seed_mask(truth)
        if scribble is not None:
            counts = counts & ~seed_mask(convert_to_tensor(scribble, track_meta=False).to(truth.device))
        return torch.stack([self._sums(*case, spacing) for case in zip(labels, truth, counts)])

    def _sums(self, y: Tensor, truth: Tensor, counts: Tensor, spacing: Sequence[float]) -> Tensor:
        where = counts[0]
        hot = one_hot(truth[None].long(), self.num_classes, torch.float64)[0, 1:, where]
        soft, guess = y[:, where].double(), y.argmax(0)[where]
        wrong = (guess != truth[0][where]).double()
        foreground = soft[1:]
        shared, either = torch.minimum(foreground, hot).sum(1), torch.maximum(foreground, hot).sum(1)
        present = hot.any(1)
        predicted = torch.stack([(guess == k).any() for k in range(1, self.num_classes)])
        jaccard = torch.where(predicted | present, shared / either, torch.nan)
        distance = border_distance(convert_to_numpy(truth[0]), spacing)[convert_to_numpy(where)]
        # as "within" an edge of 3 mm are ten voxels of 0.3 mm in single precision
        index = np.searchsorted(np.asarray(self.edges) * (1 + ROUNDING), distance)
        ranges = torch.from_numpy(index).to(wrong.device)
        number = len(self.edges) + 1
        inside, failed = (torch.bincount(ranges, each, number) for each in (torch.ones_like(wrong), wrong))
        sums = torch.stack([wrong.new_tensor(wrong.numel()), wrong.sum(), uncertainty(soft[None]).sum()])
        return torch.cat([sums, jaccard, inside, failed]).cpu()

    def aggregate(self) -> LabelQuality:
        """Of all cases so far, on all processes."""
        return self.summary(self.get_buffer())

    def summary(self, buffer: Tensor) -> LabelQuality:
        """Of the cases with these sums, which a call returns, too."""
        number = len(self.edges) + 1
        sums, jaccard, inside, failed = buffer.split([3, self.num_classes - 1, number, number], 1)
        voxels, wrong, entropy = sums.sum(0)
        inside, failed = inside.sum(0), failed.sum(0)
        return LabelQuality(
            accuracy=(1 - wrong / voxels).item(),  # of nothing it is NaN, as everything here
            soft_jaccard=jaccard.nanmean(1).nanmean().item(),
            entropy=(entropy / voxels).item(),
            errors=(failed / inside).tolist(),
            voxels=inside.long().tolist(),
        )


def border_distance(truth: np.ndarray, spacing: Sequence[float]) -> np.ndarray:
    """From each voxel's centre to that of the next voxel of another class, ``*S`` in units of ``spacing``.

    Voxels that are ``UNLABELED`` or ``VOID`` are no border, and infinitely far, as is every voxel of a single class.

    Example:
        >>> border_distance(np.array([[0, 0, 1, 255]]), [1.0, 2.5]).tolist()
        [[5.0, 2.5, 2.5, inf]]
    """
    known = truth < VOID
    distance = np.full(truth.shape, np.inf)
    for k in np.unique(truth[known]):
        own = truth == k
        if (others := known & ~own).any():
            distance[own] = distance_transform_edt(~others, sampling=spacing)[own]
    return distance
