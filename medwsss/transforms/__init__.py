# SPDX-License-Identifier: Apache-2.0
"""Transforms for weak labels, in MONAI's style."""

from __future__ import annotations

from medwsss.transforms.void import VoidFilld, VoidFillD, VoidFillDict
from medwsss.transforms.weak_labels.array import MapWeakLabels
from medwsss.transforms.weak_labels.dictionary import MapWeakLabelsd, MapWeakLabelsD, MapWeakLabelsDict

__all__ = [
    "MapWeakLabels",
    "MapWeakLabelsD",
    "MapWeakLabelsDict",
    "MapWeakLabelsd",
    "VoidFillD",
    "VoidFillDict",
    "VoidFilld",
]
