# SPDX-License-Identifier: Apache-2.0
"""Losses with MONAI's contract: logits and a target in, a scalar out."""

from __future__ import annotations

from medwsss.losses.normalized_cut import NormalizedCutLoss
from medwsss.losses.partial_cross_entropy import PartialCrossEntropyLoss
from medwsss.losses.regularized import RegularizedLoss
from medwsss.losses.self_labeling import SelfLabelingLoss
from medwsss.losses.total_variation import MumfordShahLoss, TotalVariationLoss
from medwsss.losses.tree_energy import TreeEnergyLoss

__all__ = [
    "MumfordShahLoss",
    "NormalizedCutLoss",
    "PartialCrossEntropyLoss",
    "RegularizedLoss",
    "SelfLabelingLoss",
    "TotalVariationLoss",
    "TreeEnergyLoss",
]
