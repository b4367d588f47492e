# SPDX-License-Identifier: Apache-2.0
"""Metrics that leave unlabelled voxels out and don't score a miss as perfect."""

from __future__ import annotations

from medwsss.metrics.calibration import CalibrationMetric, calibration_error
from medwsss.metrics.contour import ContourFMetric, RegionAndContourMetric
from medwsss.metrics.label_quality import LabelQuality, LabelQualityMetric, border_distance
from medwsss.metrics.mean_iou import MeanIoUMetric
from medwsss.metrics.pseudo_labels import decided_by
from medwsss.metrics.seeds import seeds_by_class
from medwsss.metrics.segmentation import ClassDiceMetric, ClassIoUMetric
from medwsss.metrics.surfaces import ClassHausdorffMetric, ClassSurfaceDiceMetric, ClassSurfaceDistanceMetric

__all__ = [
    "CalibrationMetric",
    "ClassDiceMetric",
    "ClassHausdorffMetric",
    "ClassIoUMetric",
    "ClassSurfaceDiceMetric",
    "ClassSurfaceDistanceMetric",
    "ContourFMetric",
    "LabelQuality",
    "LabelQualityMetric",
    "MeanIoUMetric",
    "RegionAndContourMetric",
    "border_distance",
    "calibration_error",
    "decided_by",
    "seeds_by_class",
]
