# SPDX-License-Identifier: Apache-2.0
"""From score maps to activation maps, and to labels at a background score."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

import torch
from monai.config import KeysCollection
from monai.transforms import MapTransform
from monai.utils import convert_to_dst_type, convert_to_tensor
from torch import Tensor

from medwsss.keys import PRED, SCRIBBLE, TAGS, UNLABELED, VOID
from medwsss.terms.activation_maps import label_map, max_normalize, present_classes
from medwsss.terms.pooling import POOLINGS
from medwsss.transforms.slices import as_images, from_images

__all__ = [
    "BlankLabelD", "BlankLabelDict", "BlankLabeld", "CamToLabelD", "CamToLabelDict", "CamToLabeld",
    "ScoresToCamD", "ScoresToCamDict", "ScoresToCamd",
]  # fmt: skip

CAM = "cam"
TAG_SCORES = "tag_scores"
PRESENT = "present"


def plain(x: Any) -> Tensor:
    """Without metadata, whose bookkeeping costs more than the operations here."""
    tensor: Tensor = convert_to_tensor(x, track_meta=False)
    return tensor


class BlankLabeld(MapTransform):
    """A label map of an image that has none: all unlabelled, for padding and void to be marked in.

    Args:
        keys: of the maps to make, ``1 *S`` uint8.
        image_key: of the image, whose grid they have.
    """

    def __init__(self, keys: KeysCollection = SCRIBBLE, image_key: Hashable = "image") -> None:
        super().__init__(keys)
        self.image_key = image_key

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """The case with its maps."""
        d = dict(data)
        image = d[self.image_key]
        for key in self.keys:
            blank = torch.full_like(plain(image)[:1], UNLABELED, dtype=torch.uint8)
            d[key] = convert_to_dst_type(blank, image, dtype=torch.uint8)[0]
        return d


class ScoresToCamd(MapTransform):
    """Score maps ``C *S`` become activation maps in [0, 1] under ``cam``, 0 for a class that is not taken to be there.

    ``tag_scores`` has the image's scores, ``present`` which classes are there: those of a positive score or, if asked
    for, by the tags, where they are known.

    Args:
        keys: of score maps, one of them.
        use_tags: whether the case's tags may be looked at, as for images that train; of others they are what is asked.
        pooling: of the image's scores.
        label_key: of a map on whose ``VOID`` voxels there is no image, if the case has it.
        background_channel: the first map is of the background, and left out.
        slice_axis: of a volume, the axis across which its slices are images of their own, ``N C`` scores and tags.
    """

    def __init__(
        self,
        keys: KeysCollection = PRED,
        use_tags: bool = False,
        pooling: str = "average",
        label_key: str = SCRIBBLE,
        background_channel: bool = False,
        slice_axis: int | None = None,
    ) -> None:
        super().__init__(keys)
        if pooling not in POOLINGS:
            raise ValueError(f"expected pooling in {sorted(POOLINGS)}, got {pooling!r}")
        self.use_tags, self.pooling, self.label_key = use_tags, pooling, label_key
        self.first, self.slice_axis = int(background_channel), slice_axis

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """The case with its maps."""
        d = dict(data)
        for key in self.key_iterator(d):
            axis = self.slice_axis
            scores = as_images(plain(d[key])[self.first :].float(), axis)
            exists = None
            if self.label_key in d:
                exists = as_images(plain(d[self.label_key]).to(scores.device), axis) != VOID
            pooled = POOLINGS[self.pooling](scores, exists)
            tags = plain(d[TAGS]).to(scores.device).reshape(pooled.shape) if self.use_tags else None
            present = present_classes(pooled, tags)
            cam = max_normalize(scores, exists) * present.reshape(*present.shape, *[1] * (scores.ndim - 2))
            d[CAM] = convert_to_dst_type(from_images(cam, axis), d[key])[0]
            d |= {key: x[0] if axis is None else x for key, x in ((TAG_SCORES, pooled), (PRESENT, present))}
        return d


class CamToLabeld(MapTransform):
    """Activation maps become class numbers under ``pred``: a class where it beats the background's score.

    Args:
        keys: of activation maps ``C *S``, one of them.
        kind: of the background score, "constant" or "power".
        alpha: of the background score.
        background: whether class 0 is one.
    """

    def __init__(
        self, keys: KeysCollection = CAM, kind: str = "constant", alpha: float = 0.25, background: bool = True
    ) -> None:
        super().__init__(keys)
        self.arguments = (kind, alpha, background)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """The case with its labels."""
        d = dict(data)
        for key in self.key_iterator(d):
            d[PRED] = convert_to_dst_type(label_map(plain(d[key])[None], *self.arguments)[0], d[key])[0]
        return d


BlankLabelD = BlankLabelDict = BlankLabeld
CamToLabelD = CamToLabelDict = CamToLabeld
ScoresToCamD = ScoresToCamDict = ScoresToCamd
