# SPDX-License-Identifier: Apache-2.0
"""Distances between the surfaces of prediction and truth in mm, by the spacing of each case's own affine.

A surface are the voxels of a class with a face neighbour outside of it; each counts once, whatever its size.
"""

from __future__ import annotations

import warnings
from abc import abstractmethod

import torch
from monai.metrics import compute_average_surface_distance, compute_hausdorff_distance, compute_surface_dice
from torch import Tensor

from medwsss.metrics.segmentation import CaseMetric, Masks

__all__ = ["ClassHausdorffMetric", "ClassSurfaceDiceMetric", "ClassSurfaceDistanceMetric"]

ROUNDING = 1e-5  # relative: ten voxels of 0.3 mm in float32 are within 3 mm


class SurfaceMetric(CaseMetric):
    """A figure of two surfaces."""

    def figure(self, masks: Masks) -> Tensor:
        """That of each class which both have."""
        both = (masks.pred.flatten(2).any(-1) & masks.truth.flatten(2).any(-1))[:, 1:]
        figures = torch.full(both.shape, torch.nan, device=both.device)
        for b, c in both.nonzero().tolist():  # MONAI warns of each empty class; those are settled by the base class
            one = (slice(b, b + 1), slice(c + 1, c + 2))
            with warnings.catch_warnings():  # MONAI 1.6 calls a function of its own in a way it has deprecated
                warnings.simplefilter("ignore", FutureWarning)
                figures[b, c] = self.between(masks.pred[one], masks.truth[one], masks.spacing).item()
        return figures

    @abstractmethod
    def between(self, pred: Tensor, truth: Tensor, spacing: list[float]) -> Tensor:
        """The figure of two masks ``1 1 *S``, neither of them empty."""


class DistanceMetric(SurfaceMetric):
    """A distance in mm; the diagonal of the volume for a miss."""

    def miss(self, masks: Masks) -> float:
        """The volume's diagonal."""
        return float(torch.tensor([n * s for n, s in zip(masks.truth.shape[2:], masks.spacing)]).norm())


class ClassHausdorffMetric(DistanceMetric):
    """Hausdorff distance of each class: the larger of both directions' percentiles of surface distances.

    Args:
        num_classes: ``K``.
        percentile: 95 for HD95.
    """

    def __init__(self, num_classes: int, percentile: float = 95) -> None:
        super().__init__(num_classes)
        self.percentile = percentile

    def between(self, pred: Tensor, truth: Tensor, spacing: list[float]) -> Tensor:
        """MONAI's."""
        return compute_hausdorff_distance(
            pred, truth, include_background=True, percentile=self.percentile, spacing=spacing
        )


class ClassSurfaceDistanceMetric(DistanceMetric):
    """Average symmetric surface distance (ASSD): the mean of the distances of all voxels of both surfaces."""

    def between(self, pred: Tensor, truth: Tensor, spacing: list[float]) -> Tensor:
        """MONAI's."""
        return compute_average_surface_distance(pred, truth, include_background=True, symmetric=True, spacing=spacing)


class ClassSurfaceDiceMetric(SurfaceMetric):
    """Surface Dice, also normalised surface distance (NSD): the share of both surfaces within a tolerance of the other.

    Args:
        num_classes: ``K``.
        tolerance: in mm; what two annotators differ by.

    Raises:
        ValueError: for a negative tolerance.
    """

    def __init__(self, num_classes: int, tolerance: float = 2.0) -> None:
        super().__init__(num_classes)
        if not tolerance >= 0:
            raise ValueError(f"expected a tolerance of 0 mm or more, got {tolerance}")
        self.tolerance = tolerance

    def between(self, pred: Tensor, truth: Tensor, spacing: list[float]) -> Tensor:
        """MONAI's."""
        thresholds = [self.tolerance * (1 + ROUNDING)]
        return compute_surface_dice(pred, truth, thresholds, include_background=True, spacing=spacing)
