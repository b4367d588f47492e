# SPDX-License-Identifier: Apache-2.0
"""From the label convention of a source to classes, UNLABELED and VOID: dictionary version."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

from monai.config import KeysCollection, NdarrayOrTensor
from monai.transforms import MapTransform

from medwsss.study.mapping import MapWeakLabels
from medwsss.study.schema import Value


class MapWeakLabelsd(MapTransform):
    """Dictionary-based wrapper of :py:class:`medwsss.transforms.MapWeakLabels`.

    Args:
        keys: keys of the label maps to map.
        num_classes, ignore_values, void_values, mapping, colors: see
            :py:class:`medwsss.transforms.MapWeakLabels`.
        allow_missing_keys: don't raise an exception if a key is missing.
    """

    backend = MapWeakLabels.backend

    def __init__(
        self,
        keys: KeysCollection,
        num_classes: int,
        ignore_values: Value | Sequence[Value] = (),
        void_values: Value | Sequence[Value] = (),
        mapping: Mapping[Any, int] | None = None,
        colors: Sequence[Sequence[int]] | None = None,
        allow_missing_keys: bool = False,
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        self.mapper = MapWeakLabels(num_classes, ignore_values, void_values, mapping, colors)

    def __call__(self, data: Mapping[Hashable, NdarrayOrTensor]) -> dict[Hashable, NdarrayOrTensor]:
        """Map every label map under ``keys``."""
        d = dict(data)
        for key in self.key_iterator(d):
            d[key] = self.mapper(d[key])
        return d


MapWeakLabelsD = MapWeakLabelsDict = MapWeakLabelsd
