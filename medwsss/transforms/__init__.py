# SPDX-License-Identifier: Apache-2.0
"""Transforms for weak labels, in MONAI's style."""

from __future__ import annotations

from medwsss.study.mapping import MapWeakLabels
from medwsss.study.schema import SCHEMAS, LabelSchema
from medwsss.transforms.existing import (
    FillVoidd,
    FillVoidD,
    FillVoidDict,
    ScaleExistingd,
    ScaleExistingD,
    ScaleExistingDict,
    VoidLabelsd,
    VoidLabelsD,
    VoidLabelsDict,
)
from medwsss.transforms.held_out import HoldOutSeedsd, HoldOutSeedsD, HoldOutSeedsDict, keep_all_seeds
from medwsss.transforms.prediction import (
    CheckImaged,
    CheckImageD,
    CheckImageDict,
    SaveMapd,
    SaveMapD,
    SaveMapDict,
    SavePredictiond,
    SavePredictionD,
    SavePredictionDict,
    SplitMapsd,
    SplitMapsD,
    SplitMapsDict,
)
from medwsss.transforms.pseudo_labels.array import SoftPseudoLabel
from medwsss.transforms.pseudo_labels.dictionary import SoftPseudoLabeld, SoftPseudoLabelD, SoftPseudoLabelDict
from medwsss.transforms.sampling import SeedWeights
from medwsss.transforms.scribbles.array import ShortenScribble, SimulateScribble
from medwsss.transforms.scribbles.dictionary import (
    ShortenScribbled,
    ShortenScribbleD,
    ShortenScribbleDict,
    SimulateScribbled,
    SimulateScribbleD,
    SimulateScribbleDict,
)
from medwsss.transforms.thick_axis import ThickAxisLast, ThickAxisLastd, ThickAxisLastD, ThickAxisLastDict
from medwsss.transforms.void import VoidFilld, VoidFillD, VoidFillDict
from medwsss.transforms.volume import AsVolume, AsVolumed, AsVolumeD, AsVolumeDict
from medwsss.transforms.volume_labels import (
    AsDistribution,
    AsDistributiond,
    AsDistributionD,
    AsDistributionDict,
    LoadVolumeLabel,
    LoadVolumeLabeld,
    LoadVolumeLabelD,
    LoadVolumeLabelDict,
)
from medwsss.transforms.weak_labels import MapWeakLabelsd, MapWeakLabelsD, MapWeakLabelsDict

__all__ = [
    "AsDistribution",
    "AsDistributionD",
    "AsDistributionDict",
    "AsDistributiond",
    "AsVolume",
    "AsVolumeD",
    "AsVolumeDict",
    "AsVolumed",
    "CheckImageD",
    "CheckImageDict",
    "CheckImaged",
    "FillVoidD",
    "FillVoidDict",
    "FillVoidd",
    "HoldOutSeedsD",
    "HoldOutSeedsDict",
    "HoldOutSeedsd",
    "LabelSchema",
    "LoadVolumeLabel",
    "LoadVolumeLabelD",
    "LoadVolumeLabelDict",
    "LoadVolumeLabeld",
    "MapWeakLabels",
    "MapWeakLabelsD",
    "MapWeakLabelsDict",
    "MapWeakLabelsd",
    "SCHEMAS",
    "SaveMapD",
    "SaveMapDict",
    "SaveMapd",
    "SavePredictionD",
    "SavePredictionDict",
    "SavePredictiond",
    "ScaleExistingD",
    "ScaleExistingDict",
    "ScaleExistingd",
    "SeedWeights",
    "ShortenScribble",
    "ShortenScribbleD",
    "ShortenScribbleDict",
    "ShortenScribbled",
    "SimulateScribble",
    "SimulateScribbleD",
    "SimulateScribbleDict",
    "SimulateScribbled",
    "SoftPseudoLabel",
    "SoftPseudoLabelD",
    "SoftPseudoLabelDict",
    "SoftPseudoLabeld",
    "SplitMapsD",
    "SplitMapsDict",
    "SplitMapsd",
    "ThickAxisLast",
    "ThickAxisLastD",
    "ThickAxisLastDict",
    "ThickAxisLastd",
    "VoidFillD",
    "VoidFillDict",
    "VoidFilld",
    "VoidLabelsD",
    "VoidLabelsDict",
    "VoidLabelsd",
    "keep_all_seeds",
]
