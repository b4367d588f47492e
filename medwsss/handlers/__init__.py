# SPDX-License-Identifier: Apache-2.0
"""Ignite handlers for MONAI's trainers and evaluators."""

from __future__ import annotations

from medwsss.files import save_atomically
from medwsss.handlers.best_model import BestModel, LastModel
from medwsss.handlers.cam_seeds import CamSeedHandler
from medwsss.handlers.checkpoint import FullCheckpoint
from medwsss.handlers.diagnostics import PseudoLabelDiagnostics
from medwsss.handlers.evaluation import EvaluationReport
from medwsss.handlers.evaluation_metrics import evaluation_metrics
from medwsss.handlers.label_quality import LabelQualityHandler
from medwsss.handlers.mean_teacher import MeanTeacherHandler
from medwsss.handlers.mixed_labels import MixedLabelHandler
from medwsss.handlers.nan_guard import NonFiniteGuard
from medwsss.handlers.pictures import PictureHandler
from medwsss.handlers.pseudo_label import PseudoLabelHandler
from medwsss.handlers.report import ReportHandler
from medwsss.handlers.seeding import EpochSeeder
from medwsss.handlers.time_budget import TimeBudget
from medwsss.handlers.volume_labels import VolumeLabelHandler

__all__ = [
    "BestModel",
    "CamSeedHandler",
    "EpochSeeder",
    "EvaluationReport",
    "FullCheckpoint",
    "LabelQualityHandler",
    "LastModel",
    "MeanTeacherHandler",
    "MixedLabelHandler",
    "NonFiniteGuard",
    "PictureHandler",
    "PseudoLabelDiagnostics",
    "PseudoLabelHandler",
    "ReportHandler",
    "TimeBudget",
    "VolumeLabelHandler",
    "evaluation_metrics",
    "save_atomically",
]
