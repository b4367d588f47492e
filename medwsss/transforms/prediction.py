# SPDX-License-Identifier: Apache-2.0
"""The two ends of a prediction: an image that may go through a network, and labels that go to a file."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.transforms import MapTransform
from monai.utils import ensure_tuple

from medwsss.files import write_atomically
from medwsss.keys import IMAGE, MAP_OUTPUT, OUTPUT, PRED, VOID, VOID_MASK
from medwsss.study.images import NARROW
from medwsss.study.intensities import existing, void_of
from medwsss.study.outputs import encode_map, encode_prediction

__all__ = [
    "CheckImageD", "CheckImageDict", "CheckImaged", "SaveMapD", "SaveMapDict", "SaveMapd",
    "SavePredictionD", "SavePredictionDict", "SavePredictiond", "SplitMapsD", "SplitMapsDict", "SplitMapsd",
]  # fmt: skip


class CheckImaged(MapTransform):
    """Look at an image as it was read, before a network does, and note where it has no voxels.

    Args:
        keys: of the image.
        in_channels: channels that the network takes.
        axes: numbers of spatial axes that an image may have.
        intensity_range: lower and upper end of what the bundle takes for black and white; default: any.
        mask_key: where ``1 *S`` goes, ``True`` where every channel is what the file declares as nothing.

    Raises:
        ValueError: naming the file, for other channels or axes, palette indices, for NaN or infinity that the file
            does not declare, and for intensities that are clearly of another range.
    """

    def __init__(
        self,
        keys: KeysCollection,
        in_channels: int,
        axes: int | Sequence[int] = (2, 3),
        intensity_range: Sequence[float] | None = None,
        mask_key: str = VOID_MASK,
    ) -> None:
        super().__init__(keys)
        self.in_channels, self.axes, self.mask_key = in_channels, ensure_tuple(axes), mask_key
        self.intensity_range = intensity_range

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """The case with its mask."""
        d = dict(data)
        for key in self.key_iterator(d):
            image: MetaTensor = d[key]
            voxels, name = image.as_tensor(), image.meta["filename_or_obj"]
            if image.meta.get("mode") == "P":
                raise ValueError(f"expected intensities, got palette indices in {name}: save it as grey or RGB")
            if voxels.ndim - 1 not in self.axes:
                raise ValueError(
                    f"expected an image of {' or '.join(map(str, self.axes))} axes, got the shape "
                    f"{tuple(voxels.shape[1:])} in {name}"
                )
            if len(voxels) != self.in_channels:
                raise ValueError(
                    f"expected {self.in_channels} channels (in_channels), as the network was trained with, got "
                    f"{len(voxels)} in {name}"
                )
            exists = existing(image)
            if self.intensity_range is not None:
                _check_range(voxels[exists], self.intensity_range, name)
            d[self.mask_key] = void_of(image)
        return d


def _check_range(values: torch.Tensor, span: Sequence[float], name: str) -> None:
    """Far outside of the range, or fractions in a small part of it; a dark photograph has whole numbers."""
    low, high = span
    least, most = map(float, values.aminmax()) if len(values) else span
    width = high - low
    fractions = most - least < width / NARROW and bool((values != values.round()).any())
    if least < low - width or most > high + width or fractions:
        raise ValueError(
            f"expected intensities of about {low:g} to {high:g} (intensity_range), as the network was trained with, "
            f"got {least:g} to {most:g} in {name}"
        )


class SplitMapsd(MapTransform):
    """Class numbers and the maps that come with them (:py:func:`medwsss.inferers.class_maps`), under a key each.

    Args:
        keys: of class numbers and maps, ``M *S``; class numbers stay there.
        maps: names of the maps, which become keys, in the order of the channels; the last one has all that are left.
    """

    def __init__(self, keys: KeysCollection = PRED, maps: Sequence[str] = ()) -> None:
        super().__init__(keys)
        self.maps = tuple(maps)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """The case with a key more a map."""
        d = dict(data)
        for key in self.key_iterator(d):
            maps = d[key]
            d[key] = maps[:1]
            for index, name in enumerate(self.maps, 1):
                d[name] = maps[index : None if index == len(self.maps) else index + 1]
        return d


class _Save(MapTransform):
    """Write to the file that the case names, whole or not at all, on the grid of the image's file."""

    def __init__(self, keys: KeysCollection, image_key: str = IMAGE, mask_key: str = VOID_MASK) -> None:
        super().__init__(keys)
        self.image_key, self.mask_key = image_key, mask_key

    def target(self, key: Hashable) -> str:
        raise NotImplementedError

    def encode(self, values: np.ndarray, mask: np.ndarray, image: str, affine: Any) -> bytes:
        """The file's bytes of ``C *S``, and ``*S`` where there is nothing."""
        raise NotImplementedError

    def __call__(self, data: Mapping[Hashable, Any]) -> Mapping[Hashable, Any]:
        """The same case."""
        meta = data[self.image_key].meta
        mask = np.asarray(data[self.mask_key].cpu())[0]
        for key in self.key_iterator(data):
            values = data[key].detach().cpu().numpy().reshape(-1, *mask.shape)
            coded = self.encode(values, mask, meta["filename_or_obj"], meta.get("original_affine"))
            write_atomically(memoryview(coded), Path(data[self.target(key)]))
        return data


class SavePredictiond(_Save):
    """Write class numbers to the file that the case names, whole or not at all, ``VOID`` where the image has no voxels.

    Args:
        keys: of the class numbers, ``1 *S``; axes of one voxel at the end, which the file of the image has not got, are
            left out.
        image_key: of the image, whose metadata names its file.
        mask_key: of what :py:class:`CheckImaged` noted.

    Raises:
        ValueError: for class numbers that do not fit beside ``VOID``.
    """

    def target(self, key: Hashable) -> str:
        """The one key of the path to write."""
        return OUTPUT

    def encode(self, values: np.ndarray, mask: np.ndarray, image: str, affine: Any) -> bytes:
        """Eight bits a voxel."""
        if (highest := int(values.max())) >= VOID:
            raise ValueError(f"expected classes below {VOID}, got {highest}")
        labels = values[0].astype(np.uint8)
        labels[mask] = VOID
        return encode_prediction(labels, image, affine)


class SaveMapd(_Save):
    """Write maps beside a prediction, as :py:class:`SavePredictiond` does, NaN where the image has no voxels.

    Args:
        keys: of the maps, ``C *S``, each of which goes to the path under ``output_<key>``.
        image_key: see there.
        mask_key: see there.
    """

    def target(self, key: Hashable) -> str:
        """The key of the path to write."""
        return MAP_OUTPUT.format(key)

    def encode(self, values: np.ndarray, mask: np.ndarray, image: str, affine: Any) -> bytes:
        """Four bytes a voxel and channel."""
        return encode_map(np.where(mask, np.float32(np.nan), values), image, affine)


CheckImageD = CheckImageDict = CheckImaged
SaveMapD = SaveMapDict = SaveMapd
SavePredictionD = SavePredictionDict = SavePredictiond
SplitMapsD = SplitMapsDict = SplitMapsd
