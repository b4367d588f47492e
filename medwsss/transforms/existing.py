# SPDX-License-Identifier: Apache-2.0
"""Images with void in them: nothing that is computed of the voxels that exist depends on what stands in the others.

The reader of a study returns NaN where a file declares that there is nothing. A bundle's preprocessing is then, in this
order: labels become ``VOID`` there, intensities are scaled by what exists, and what is left of NaN is filled::

    {"_target_": "medwsss.transforms.VoidLabelsd", "keys": "scribble"},
    {"_target_": "medwsss.transforms.ScaleExistingd", "keys": "image", "lower": 0.5, "upper": 99.5, …},
    {"_target_": "medwsss.transforms.FillVoidd", "keys": "image"},

Whatever is resampled, smoothed or convolved afterwards meets values of the image alone.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping

import numpy as np
import torch
from monai.config import KeysCollection, NdarrayOrTensor
from monai.data import MetaTensor, get_track_meta
from monai.transforms import MapTransform, ScaleIntensityRange
from monai.transforms.utils_pytorch_numpy_unification import percentile
from monai.utils import TransformBackends, convert_to_dst_type, convert_to_numpy, convert_to_tensor
from scipy.ndimage import distance_transform_edt
from torch import Tensor

from medwsss.keys import IMAGE, VOID
from medwsss.study.intensities import existing, void_of

__all__ = [
    "FillVoidD", "FillVoidDict", "FillVoidd", "ScaleExistingD", "ScaleExistingDict", "ScaleExistingd",
    "VoidLabelsD", "VoidLabelsDict", "VoidLabelsd",
]  # fmt: skip


OF_VOID = ("void", "nodata_value")  # the reader's metadata


class VoidLabelsd(MapTransform):
    """``VOID`` in label maps where the image has nothing in any channel.

    Also for what a network predicted, with the image as it was read kept under a key of its own (``CopyItemsd``).

    Args:
        keys: keys of the label maps, ``1 *S``: classes, or what else 254 is none of.
        image_key: of the image ``C *S`` with NaN where there is nothing.
        allow_missing_keys: don't raise an exception if a key is missing.

    Raises:
        ValueError: for NaN or infinity that the image's file did not declare, naming it.

    Example:
        >>> image = MetaTensor(torch.tensor([[1.0, torch.nan], [2.0, torch.nan]]), meta={"void": "nodata 0"})
        >>> VoidLabelsd("label")({"image": image, "label": torch.tensor([[1, 1]])})["label"].tolist()
        [[1, 254]]
    """

    backend = [TransformBackends.TORCH]

    def __init__(self, keys: KeysCollection, image_key: str = IMAGE, allow_missing_keys: bool = False) -> None:
        super().__init__(keys, allow_missing_keys)
        self.image_key = image_key

    def __call__(self, data: Mapping[Hashable, NdarrayOrTensor]) -> dict[Hashable, NdarrayOrTensor]:
        """Mark what is void in every label map under ``keys``."""
        d = dict(data)
        image = d[self.image_key]
        existing(image)
        void = void_of(image)
        for key in self.key_iterator(d):
            labels: Tensor = convert_to_tensor(d[key], track_meta=get_track_meta())
            d[key] = labels.masked_fill(void.to(labels.device), VOID)
        return d


class ScaleExistingd(MapTransform):
    """Scale each channel from percentiles of its existing voxels to ``[b_min, b_max]``; NaN stays.

    Without NaN the numbers are those of MONAI's ``ScaleIntensityRangePercentilesd`` with ``channel_wise``, bit for bit,
    unless both percentiles are one number: MONAI then subtracts it and does not scale, so that the few other voxels
    keep their own range. Here the smallest and the largest intensity take the percentiles' place. A channel of one
    value becomes ``b_min``.

    Args:
        keys: keys of the images, ``C *S``.
        lower: percentile that becomes ``b_min``.
        upper: percentile that becomes ``b_max``.
        b_min: see above.
        b_max: see above.
        clip: whether to clip to both.
        allow_missing_keys: don't raise an exception if a key is missing.

    Raises:
        ValueError: for NaN or infinity that the image's file did not declare, naming it.

    Example:
        >>> scale = ScaleExistingd("image", lower=0, upper=100, b_min=0, b_max=1)
        >>> image = MetaTensor(torch.tensor([[2.0, torch.nan, 6.0, 3.0]]), meta={"void": "mask"})
        >>> scale({"image": image})["image"].tolist()
        [[0.0, nan, 1.0, 0.25]]
    """

    backend = [TransformBackends.TORCH]

    def __init__(
        self,
        keys: KeysCollection,
        lower: float,
        upper: float,
        b_min: float,
        b_max: float,
        clip: bool = False,
        allow_missing_keys: bool = False,
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        self.percentiles, self.b_min, self.b_max, self.clip = (lower, upper), b_min, b_max, clip

    def __call__(self, data: Mapping[Hashable, NdarrayOrTensor]) -> dict[Hashable, NdarrayOrTensor]:
        """Scale every image under ``keys``."""
        d = dict(data)
        for key in self.key_iterator(d):
            image: Tensor = convert_to_tensor(d[key], dtype=torch.float32, track_meta=get_track_meta())
            exists = existing(image)
            plain: Tensor = convert_to_tensor(image, track_meta=False)
            scaled = torch.stack([self._scaled(*channel) for channel in zip(plain, exists)])
            d[key] = convert_to_dst_type(scaled, image)[0]
        return d

    def _scaled(self, channel: Tensor, exists: Tensor) -> Tensor:
        values = channel[exists]
        if not len(values):
            return channel
        a_min, a_max = (percentile(values, q) for q in self.percentiles)
        if a_min == a_max:
            a_min, a_max = values.aminmax()
        if a_min == a_max:
            return channel.masked_fill(exists, self.b_min)
        scaled = ScaleIntensityRange(a_min, a_max, self.b_min, self.b_max, self.clip)(values)  # type: ignore[arg-type]
        return channel.masked_scatter(exists, convert_to_tensor(scaled, track_meta=False))


class FillVoidd(MapTransform):
    """Each channel's void voxels take the value of the nearest one that exists in it, so that no NaN is left.

    Bilinear interpolation, the guide's contrasts and the network then meet no invented value: no step, no far-off
    number and no hole. Where several are equally near, it is one of them; a channel without a single voxel becomes 0.
    ``meta["void"]`` and ``meta["nodata_value"]`` go, because they hold no longer.

    Args:
        keys: keys of the images, ``C *S``.
        allow_missing_keys: don't raise an exception if a key is missing.

    Raises:
        ValueError: for NaN or infinity that the image's file did not declare, naming it.

    Example:
        >>> image = MetaTensor(torch.tensor([[torch.nan, 5.0, torch.nan, torch.nan, 7.0]]), meta={"void": "mask"})
        >>> FillVoidd("image")({"image": image})["image"].tolist()
        [[5.0, 5.0, 5.0, 7.0, 7.0]]
    """

    backend = [TransformBackends.NUMPY]

    def __call__(self, data: Mapping[Hashable, NdarrayOrTensor]) -> dict[Hashable, NdarrayOrTensor]:
        """Fill every image under ``keys``."""
        d = dict(data)
        for key in self.key_iterator(d):
            image: Tensor = convert_to_tensor(d[key], track_meta=get_track_meta())
            exists = existing(image)
            filled = image if exists.all() else convert_to_dst_type(_filled(image, exists), image)[0]
            if isinstance(filled, MetaTensor):
                filled.meta = {name: value for name, value in filled.meta.items() if name not in OF_VOID}
            d[key] = filled
        return d


def _filled(image: Tensor, exists: Tensor) -> np.ndarray:
    voxels, there = (np.array(convert_to_numpy(x)) for x in (image, exists))
    nearest, of = (), None
    for channel, mask in zip(voxels, there):
        if not mask.any():
            channel[...] = 0
        elif not mask.all():
            if of is None or not np.array_equal(of, mask):  # bands of a raster mostly miss the same pixels
                nearest, of = tuple(distance_transform_edt(~mask, return_distances=False, return_indices=True)), mask
            channel[...] = channel[nearest]
    return voxels


FillVoidD = FillVoidDict = FillVoidd
ScaleExistingD = ScaleExistingDict = ScaleExistingd
VoidLabelsD = VoidLabelsDict = VoidLabelsd
