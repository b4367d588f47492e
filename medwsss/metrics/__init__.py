# SPDX-License-Identifier: Apache-2.0
"""Metrics that leave unlabelled voxels out and don't score a miss as perfect."""

from __future__ import annotations

from medwsss.metrics.mean_iou import MeanIoUMetric
from medwsss.metrics.pseudo_labels import decided_by
from medwsss.metrics.seeds import seeds_by_class
from medwsss.metrics.segmentation import ClassDiceMetric, ClassHausdorffMetric

__all__ = ["ClassDiceMetric", "ClassHausdorffMetric", "MeanIoUMetric", "decided_by", "seeds_by_class"]
