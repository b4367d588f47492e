# SPDX-License-Identifier: Apache-2.0
"""Labels of whole volumes on their way into patches: read, cropped and turned with the image, distributions again."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

import torch
from monai.config import KeysCollection, NdarrayOrTensor
from monai.data import MetaTensor
from monai.transforms import MapTransform, RandomizableTrait, Transform
from monai.utils import TransformBackends, convert_to_dst_type, convert_to_tensor
from torch import Tensor

from medwsss.keys import CASE, PSEUDO_LABEL, SCRIBBLE
from medwsss.label_store import LabelStore
from medwsss.terms.simplex import one_hot, void_mask

__all__ = [
    "AsDistribution", "AsDistributionD", "AsDistributionDict", "AsDistributiond",
    "LoadVolumeLabel", "LoadVolumeLabelD", "LoadVolumeLabelDict", "LoadVolumeLabeld",
]  # fmt: skip


class LoadVolumeLabel(Transform, RandomizableTrait):
    """A case's present labels, ``K *S`` float16, memory-mapped: of a large volume only the patch is read.

    Labels change while training runs, so caching data sets have to call it each time, as they call what is random.
    Before there are any labels, they are uniform.

    Args:
        store: where labels are.
        num_classes: ``K``.

    Raises:
        ValueError: for labels of another shape than the case has now.
    """

    backend = [TransformBackends.NUMPY]

    def __init__(self, store: LabelStore, num_classes: int) -> None:
        self.store, self.num_classes = store, num_classes

    def __call__(self, case: str, scribble: NdarrayOrTensor) -> Tensor:  # type: ignore[override]
        """Labels of the case of this name, on its scribble's grid ``1 *S``."""
        shape = (self.num_classes, *scribble.shape[1:])
        found = self.store.labels(case)
        if found is None:
            uniform = torch.full([1] * len(shape), 1 / self.num_classes, dtype=torch.float16)
            y: Tensor = uniform.expand(shape)
        else:
            y = torch.from_numpy(found)
        if y.shape != shape:
            where = self.store.folder
            raise ValueError(f"expected labels of shape {shape} for {case}, got {tuple(y.shape)}: delete {where}")
        return MetaTensor(y, meta=scribble.meta) if isinstance(scribble, MetaTensor) else y


class LoadVolumeLabeld(MapTransform, RandomizableTrait):
    """Dictionary-based wrapper of :py:class:`LoadVolumeLabel`.

    Args:
        keys: where labels go.
        store: where labels are.
        num_classes: ``K``.
        case_key: of the case's name, which :py:func:`medwsss.label_store.name_cases` gives.
        scribble_key: of the scribble, whose grid is the labels'.
    """

    backend = LoadVolumeLabel.backend

    def __init__(
        self,
        keys: KeysCollection = PSEUDO_LABEL,
        *,
        store: LabelStore,
        num_classes: int,
        case_key: Hashable = CASE,
        scribble_key: Hashable = SCRIBBLE,
    ) -> None:
        super().__init__(keys)
        self.load = LoadVolumeLabel(store, num_classes)
        self.case_key, self.scribble_key = case_key, scribble_key

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """The case with its labels."""
        return {**data, **{key: self.load(data[self.case_key], data[self.scribble_key]) for key in self.keys}}


class AsDistribution(Transform):
    """What padding and interpolation have made of labels, as labels: ``y_i / Σ_k y_i^k``, float32.

    They are one-hot on seeds and uniform on void voxels, as those of a solver are.

    Shape:
        - y: ``K *S``, from 0.
        - scribble: ``1 *S`` integer, classes, ``UNLABELED`` and ``VOID``.

    Example:
        >>> y = torch.tensor([[0.25, 0.5, 0.0, 0.5], [0.25, 0.0, 0.0, 0.5]])
        >>> AsDistribution()(y, torch.tensor([[255, 255, 254, 1]]))
        tensor([[0.5000, 1.0000, 0.5000, 0.0000],
                [0.5000, 0.0000, 0.5000, 1.0000]])
    """

    backend = [TransformBackends.TORCH]

    def __call__(self, label: NdarrayOrTensor, scribble: NdarrayOrTensor) -> Tensor:  # type: ignore[override]
        """Labels of a patch."""
        plain: Tensor = convert_to_tensor(label, dtype=torch.float32, track_meta=False)
        marks: Tensor = convert_to_tensor(scribble, track_meta=False)
        y = plain / plain.sum(0, keepdim=True).clamp_min(torch.finfo(plain.dtype).tiny)
        y = torch.where(void_mask(marks), 1 / len(y), y)
        seeds = one_hot(marks[None], len(y))[0]
        y = torch.where(seeds.any(0, keepdim=True), seeds, y)
        return convert_to_dst_type(y, label, dtype=torch.float32)[0] if isinstance(label, MetaTensor) else y


class AsDistributiond(MapTransform):
    """Dictionary-based wrapper of :py:class:`AsDistribution`.

    Args:
        keys: of labels.
        scribble_key: of the scribble on the same grid.
        allow_missing_keys: don't raise an exception if a key is missing.
    """

    backend = AsDistribution.backend

    def __init__(
        self, keys: KeysCollection = PSEUDO_LABEL, scribble_key: Hashable = SCRIBBLE, allow_missing_keys: bool = False
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        self.scribble_key = scribble_key
        self.as_distribution = AsDistribution()

    def __call__(self, data: Mapping[Hashable, NdarrayOrTensor]) -> dict[Hashable, NdarrayOrTensor]:
        """All labels under ``keys``."""
        d = dict(data)
        for key in self.key_iterator(d):
            d[key] = self.as_distribution(d[key], d[self.scribble_key])
        return d


AsDistributionD = AsDistributionDict = AsDistributiond
LoadVolumeLabelD = LoadVolumeLabelDict = LoadVolumeLabeld
