# SPDX-License-Identifier: Apache-2.0
"""Slices of volumes as images of their own."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

from monai.config import KeysCollection
from monai.transforms import MapTransform, SqueezeDim
from torch import Tensor

from medwsss.keys import SLICE, SLICE_AXIS
from medwsss.study.readers import loader

__all__ = ["LoadSliceD", "LoadSliceDict", "LoadSliced", "as_images", "from_images"]


def as_images(x: Tensor, axis: int | None) -> Tensor:
    """``C *S`` as a batch: of itself alone, or of a volume's slices across ``axis``."""
    return x[None] if axis is None else x.movedim(axis + 1, 0)


def from_images(x: Tensor, axis: int | None) -> Tensor:
    """The inverse of :func:`as_images`."""
    return x[0] if axis is None else x.movedim(0, axis + 1)


class LoadSliced(MapTransform):
    """Read files of a study; of a case with a ``slice``, only that one of the volume, across its ``slice_axis``.

    The volume that was read last is kept, so that cases in the order of their slices read each file once.

    Args:
        keys: of the files.
        allow_missing_keys: don't raise an exception if a key is missing.

    Raises:
        ValueError: naming the file, for what is no volume, and for a slice that it has not got.
    """

    def __init__(self, keys: KeysCollection, allow_missing_keys: bool = False) -> None:
        super().__init__(keys, allow_missing_keys)
        self._last: dict[Hashable, tuple[Any, Tensor]] = {}

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """The case with its arrays, ``C *S``."""
        d = dict(data)
        for key in self.key_iterator(d):
            d[key] = self._slice(key, d[key], d[SLICE], d[SLICE_AXIS]) if SLICE in d else loader()(d[key])
        return d

    def _slice(self, key: Hashable, path: Any, number: int, axis: int) -> Any:
        before, volume = self._last.get(key, (None, None))
        if volume is None or before != path:
            volume = loader()(path)
            self._last[key] = path, volume
        if volume.ndim != 4 or not 0 <= number < volume.shape[axis + 1]:
            shape = tuple(volume.shape[1:])
            raise ValueError(
                f"expected a volume with a slice {number} across axis {axis}, got the shape {shape}: {path}"
            )
        return SqueezeDim(axis + 1)(volume.narrow(axis + 1, number, 1).clone())


LoadSliceD = LoadSliceDict = LoadSliced
