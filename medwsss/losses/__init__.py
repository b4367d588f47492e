# SPDX-License-Identifier: Apache-2.0
"""Losses with MONAI's contract: logits and a target in, a scalar out."""

from __future__ import annotations

from medwsss.losses.equivariance import EquivariantLoss
from medwsss.losses.expansion import ExpansionLoss
from medwsss.losses.feature_similarity import FeatureSimilarityLoss
from medwsss.losses.importance_sampling import ImportanceSamplingLoss
from medwsss.losses.mixed_label import MixedLabelLoss
from medwsss.losses.normalized_cut import NormalizedCutLoss
from medwsss.losses.partial_cross_entropy import PartialCrossEntropyLoss
from medwsss.losses.regularized import RegularizedLoss
from medwsss.losses.scores import ScoresLoss
from medwsss.losses.self_labeling import SelfLabelingLoss
from medwsss.losses.spatial_bce import SpatialBCELoss
from medwsss.losses.sum import SumLoss
from medwsss.losses.tags import TagLoss
from medwsss.losses.total_variation import MumfordShahLoss, TotalVariationLoss
from medwsss.losses.tree_energy import TreeEnergyLoss

__all__ = [
    "EquivariantLoss",
    "ExpansionLoss",
    "FeatureSimilarityLoss",
    "ImportanceSamplingLoss",
    "MixedLabelLoss",
    "MumfordShahLoss",
    "NormalizedCutLoss",
    "PartialCrossEntropyLoss",
    "RegularizedLoss",
    "ScoresLoss",
    "SelfLabelingLoss",
    "SpatialBCELoss",
    "SumLoss",
    "TagLoss",
    "TotalVariationLoss",
    "TreeEnergyLoss",
]
