# SPDX-License-Identifier: Apache-2.0
"""Images of one, two or three axes as volumes, so that one configuration serves them all."""

from __future__ import annotations

from collections.abc import Hashable, Mapping

from monai.config import KeysCollection, NdarrayOrTensor
from monai.data import MetaTensor
from monai.data.utils import to_affine_nd
from monai.transforms import MapTransform, Transform
from monai.utils import TransformBackends, convert_to_tensor
from torch import Tensor

__all__ = ["AsVolume", "AsVolumeD", "AsVolumeDict", "AsVolumed"]

AXES = 3


class AsVolume(Transform):
    """Append axes of length 1 until there are three in space; an affine grows with them.

    Shape:
        - image: ``C *S``, an array or tensor.
        - output: ``C`` and three axes; a ``MetaTensor`` stays one.

    Raises:
        ValueError: for more than three axes in space.

    Example:
        >>> import torch
        >>> AsVolume()(torch.zeros(1, 4, 5)).shape
        torch.Size([1, 4, 5, 1])
    """

    backend = [TransformBackends.TORCH]

    def __call__(self, img: NdarrayOrTensor) -> Tensor:
        """The image as a volume."""
        image: Tensor = convert_to_tensor(img, track_meta=isinstance(img, MetaTensor))
        missing = AXES + 1 - image.ndim
        if missing < 0:
            raise ValueError(f"expected at most {AXES} axes in space, got shape {tuple(image.shape)}")
        if not missing:
            return image
        shape = (*image.shape, *[1] * missing)
        if not isinstance(image, MetaTensor):
            return image.reshape(shape)
        meta = {**image.meta, "affine": to_affine_nd(AXES, image.affine)}
        volume: Tensor = MetaTensor(image.as_tensor().reshape(shape), meta=meta)
        return volume


class AsVolumed(MapTransform):
    """Dictionary-based wrapper of :py:class:`medwsss.transforms.AsVolume`.

    Args:
        keys: keys of the images.
        allow_missing_keys: don't raise an exception if a key is missing.
    """

    backend = AsVolume.backend

    def __init__(self, keys: KeysCollection, allow_missing_keys: bool = False) -> None:
        super().__init__(keys, allow_missing_keys)
        self.as_volume = AsVolume()

    def __call__(self, data: Mapping[Hashable, NdarrayOrTensor]) -> dict[Hashable, NdarrayOrTensor]:
        """Every image under ``keys`` as a volume."""
        d = dict(data)
        for key in self.key_iterator(d):
            d[key] = self.as_volume(d[key])
        return d


AsVolumeD = AsVolumeDict = AsVolumed
