# SPDX-License-Identifier: Apache-2.0
"""Volumes with the axis across which their slices lie at the end, whatever axis of the file that is."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import torch
from monai.config import KeysCollection, NdarrayOrTensor
from monai.data import MetaTensor, get_track_meta
from monai.transforms import InvertibleTransform, MapTransform
from monai.utils import TraceKeys, TransformBackends, convert_to_tensor

from medwsss.study.axes import axis_order

__all__ = ["ThickAxisLast", "ThickAxisLastD", "ThickAxisLastDict", "ThickAxisLastd"]


class ThickAxisLast(InvertibleTransform):
    """Move the thick axis of a volume to the end, its affine's column with it; see :py:mod:`medwsss.study.axes`.

    What is said of the last axis (slices lie across it, rotation is around it, patches are thin along it) then holds
    for volumes that are stored sagittally or coronally, too. No voxel changes its value or its place in space.

    Shape:
        - img: ``C *S``; what has no thick axis, or other than three axes, comes back as it is.

    Example:
        >>> turn = ThickAxisLast()
        >>> turned = turn(MetaTensor(torch.zeros(1, 12, 24, 20), affine=torch.diag(torch.tensor([5.0, 1, 2, 1]))))
        >>> tuple(turned.shape), turned.pixdim.tolist(), tuple(turn.inverse(turned).shape)
        ((1, 24, 20, 12), [1.0, 2.0, 5.0], (1, 12, 24, 20))
    """

    backend = [TransformBackends.TORCH]

    def __call__(self, img: NdarrayOrTensor, order: Sequence[int] | None = None) -> torch.Tensor:
        """Turn one volume, by its own spacing or in a given order of axes."""
        image: torch.Tensor = convert_to_tensor(img, track_meta=get_track_meta())
        order = order_of(image) if order is None else order
        out = _permuted(image, order)
        if isinstance(out, MetaTensor):
            self.push_transform(out, extra_info={"order": list(order)})
        return out

    def inverse(self, data: torch.Tensor) -> torch.Tensor:
        """Back to the axes of the file, by what :py:meth:`__call__` noted."""
        order = self.pop_transform(data)[TraceKeys.EXTRA_INFO]["order"]
        return _permuted(data, sorted(range(len(order)), key=order.__getitem__))


class ThickAxisLastd(MapTransform, InvertibleTransform):
    """Dictionary-based wrapper of :py:class:`ThickAxisLast`: all maps of a case are turned as its image is.

    Args:
        keys: keys of the image and its label maps.
        ref_key: of the one whose spacing decides; default: the first of ``keys``. A label map may say nothing of space.
        allow_missing_keys: don't raise an exception if a key is missing.
    """

    backend = ThickAxisLast.backend

    def __init__(self, keys: KeysCollection, ref_key: Hashable | None = None, allow_missing_keys: bool = False) -> None:
        super().__init__(keys, allow_missing_keys)
        self.ref_key = self.keys[0] if ref_key is None else ref_key
        self.turn = ThickAxisLast()

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Turn every map under ``keys``."""
        d = dict(data)
        order = order_of(d[self.ref_key])
        for key in self.key_iterator(d):
            d[key] = self.turn(d[key], order)
        return d

    def inverse(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Turn them back."""
        d = dict(data)
        for key in self.key_iterator(d):
            d[key] = self.turn.inverse(d[key])
        return d


def order_of(image: NdarrayOrTensor) -> tuple[int, ...]:
    """The order of an image's axes, ``C *S``, that brings the thick one last."""
    shape = image.shape[1:]
    spacing = image.pixdim.tolist() if isinstance(image, MetaTensor) else [1.0] * len(shape)
    return axis_order(shape, spacing)


def _permuted(image: torch.Tensor, order: Sequence[int]) -> torch.Tensor:
    if list(order) == sorted(order):
        return image
    out = image.permute(0, *(axis + 1 for axis in order))
    if isinstance(out, MetaTensor):
        out.affine = out.affine[:, [*order, -1]]
    return out


ThickAxisLastD = ThickAxisLastDict = ThickAxisLastd
