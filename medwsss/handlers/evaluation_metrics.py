# SPDX-License-Identifier: Apache-2.0
"""What an evaluation measures."""

from __future__ import annotations

from typing import Any

from monai.handlers import IgniteMetricHandler, from_engine
from monai.utils import CommonKeys

from medwsss.metrics import (
    CalibrationMetric,
    ClassDiceMetric,
    ClassHausdorffMetric,
    ClassIoUMetric,
    ClassSurfaceDiceMetric,
    ClassSurfaceDistanceMetric,
    ContourFMetric,
    RegionAndContourMetric,
)

__all__ = ["evaluation_metrics"]

PROBABILITY = "probability"  #: key of the class probabilities in a validator's output


def evaluation_metrics(
    num_classes: int, masks: bool = True, distances: bool = True, surface_tolerance: float = 2.0
) -> dict[str, IgniteMetricHandler]:
    """Metric handlers for a ``SupervisedEvaluator`` whose output has ``pred``, ``label`` and ``probability``.

    Args:
        num_classes: ``K``, background included.
        masks: labels are dense masks; strokes have no contour and no surface.
        distances: of surfaces in mm, and surface Dice; photographs have none.
        surface_tolerance: of surface Dice, in mm.

    Returns:
        name → handler: ``val_dice``, ``val_iou``, ``val_calibration``, ``val_foreground_calibration``, and of masks
        ``val_contour_f``, ``val_j_and_f``, ``val_hd95``, ``val_assd`` and ``val_surface_dice``.
    """
    of_classes: dict[str, Any] = {"val_dice": ClassDiceMetric(num_classes)}
    of_classes["val_iou"] = ClassIoUMetric(num_classes)
    if masks:
        of_classes["val_contour_f"] = ContourFMetric(num_classes)
        of_classes["val_j_and_f"] = RegionAndContourMetric(num_classes)
    if masks and distances:
        of_classes["val_hd95"] = ClassHausdorffMetric(num_classes)
        of_classes["val_assd"] = ClassSurfaceDistanceMetric(num_classes)
        of_classes["val_surface_dice"] = ClassSurfaceDiceMetric(num_classes, surface_tolerance)
    of_probabilities = {
        "val_calibration": CalibrationMetric(),
        "val_foreground_calibration": CalibrationMetric(include_background=False),
    }
    return {
        name: IgniteMetricHandler(metric_fn=metric, output_transform=from_engine([key, CommonKeys.LABEL]))
        for key, found in ((CommonKeys.PRED, of_classes), (PROBABILITY, of_probabilities))
        for name, metric in found.items()
    }
