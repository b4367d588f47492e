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
from medwsss.keys import IMAGE, OUTPUT, VOID, VOID_MASK
from medwsss.study.images import NARROW
from medwsss.study.intensities import existing, void_of
from medwsss.study.outputs import encode_prediction

__all__ = ["CheckImageD", "CheckImageDict", "CheckImaged", "SavePredictionD", "SavePredictionDict", "SavePredictiond"]


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


class SavePredictiond(MapTransform):
    """Write class numbers to the file that the case names, whole or not at all, ``VOID`` where the image has no voxels.

    Args:
        keys: of the class numbers, ``1 *S``; axes of one voxel at the end, which the file of the image has not got, are
            left out.
        image_key: of the image, whose metadata names its file.
        output_key: of the path to write.
        mask_key: of what :py:class:`CheckImaged` noted.

    Raises:
        ValueError: for class numbers that do not fit beside ``VOID``.
    """

    def __init__(
        self, keys: KeysCollection, image_key: str = IMAGE, output_key: str = OUTPUT, mask_key: str = VOID_MASK
    ) -> None:
        super().__init__(keys)
        self.image_key, self.output_key, self.mask_key = image_key, output_key, mask_key

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """The same case."""
        d = dict(data)
        meta = d[self.image_key].meta
        mask = np.asarray(d[self.mask_key].cpu())[0]
        for key in self.key_iterator(d):
            labels = d[key].detach().cpu().numpy().reshape(mask.shape)
            if (highest := int(labels.max())) >= VOID:
                raise ValueError(f"expected classes below {VOID}, got {highest}")
            labels = np.where(mask, VOID, labels).astype(np.uint8)
            coded = encode_prediction(labels, meta["filename_or_obj"], meta.get("original_affine"))
            write_atomically(memoryview(coded), Path(d[self.output_key]))
        return d


CheckImageD = CheckImageDict = CheckImaged
SavePredictionD = SavePredictionDict = SavePredictiond
