# SPDX-License-Identifier: Apache-2.0
"""From score maps to what is trained on and measured: activation maps, labels at a background score, seeds, a prior."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

import numpy as np
import torch
from monai.config import KeysCollection, PathLike
from monai.transforms import MapTransform
from monai.utils import convert_to_dst_type, convert_to_tensor
from torch import Tensor

from medwsss.files import write_atomically
from medwsss.keys import CASE, IMAGE, PRED, PRIOR, SCRIBBLE, TAGS, UNLABELED, VOID
from medwsss.study.outputs import encode_map, encode_prediction
from medwsss.study.seeds import seed_files, values_of_classes
from medwsss.terms.activation_maps import label_map, max_normalize, prior_map, seed_map
from medwsss.terms.pooling import POOLINGS

__all__ = [
    "BlankLabelD", "BlankLabelDict", "BlankLabeld", "CamToLabelD", "CamToLabelDict", "CamToLabeld",
    "CamToSeedsD", "CamToSeedsDict", "CamToSeedsd", "SaveSeedsD", "SaveSeedsDict", "SaveSeedsd",
    "ScoresToCamD", "ScoresToCamDict", "ScoresToCamd",
]  # fmt: skip

CAM = "cam"
TAG_SCORES = "tag_scores"
PRESENT = "present"


def _plain(x: Any) -> Tensor:
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
            blank = torch.full_like(_plain(image)[:1], UNLABELED, dtype=torch.uint8)
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
    """

    def __init__(
        self,
        keys: KeysCollection = PRED,
        use_tags: bool = False,
        pooling: str = "average",
        label_key: str = SCRIBBLE,
        background_channel: bool = False,
    ) -> None:
        super().__init__(keys)
        if pooling not in POOLINGS:
            raise ValueError(f"expected pooling in {sorted(POOLINGS)}, got {pooling!r}")
        self.use_tags, self.pooling, self.label_key = use_tags, pooling, label_key
        self.first = int(background_channel)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """The case with its maps."""
        d = dict(data)
        for key in self.key_iterator(d):
            scores = _plain(d[key])[None, self.first :].float()
            exists = None if self.label_key not in d else _plain(d[self.label_key])[None].to(scores.device) != VOID
            pooled = POOLINGS[self.pooling](scores, exists)[0]
            present = pooled > 0
            if self.use_tags:
                tags = _plain(d[TAGS]).to(scores.device)
                present = torch.where(tags.isnan(), present, tags == 1)
            cam = max_normalize(scores, exists)[0] * present.reshape(-1, *[1] * (scores.ndim - 2))
            d |= {CAM: convert_to_dst_type(cam, d[key])[0], TAG_SCORES: pooled, PRESENT: present}
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
            d[PRED] = convert_to_dst_type(label_map(_plain(d[key])[None], *self.arguments)[0], d[key])[0]
        return d


class CamToSeedsd(MapTransform):
    """Activation maps become a scribble, of what they are sure of, and a prior over classes for the rest.

    ``scribble`` is :func:`~medwsss.terms.activation_maps.seed_map`, with ``VOID`` where the case has it, and ``prior``
    is :func:`~medwsss.terms.activation_maps.prior_map`, ``K *S``.

    Args:
        keys: of activation maps ``C *S``, one of them.
        foreground: activation from which a voxel is a seed of its class.
        low: largest activation up to which a voxel is a seed of the background.
        background: whether class 0 is one.
        kind: of the prior's background score.
        alpha: of the prior's background score.

    Raises:
        ValueError: for thresholds out of order.

    Example:
        >>> case = {"cam": torch.tensor([[0.0, 0.3, 1.0]]), "present": torch.tensor([True])}
        >>> CamToSeedsd()(case)["scribble"].tolist()
        [[0, 255, 1]]
    """

    def __init__(
        self,
        keys: KeysCollection = CAM,
        foreground: float = 0.6,
        low: float = 0.01,
        background: bool = True,
        kind: str = "power",
        alpha: float = 1.0,
    ) -> None:
        super().__init__(keys)
        if not 0 <= low < foreground <= 1:
            raise ValueError(f"expected 0 <= low < foreground <= 1, got {low} and {foreground}")
        self.foreground, self.low, self.background, self.kind, self.alpha = foreground, low, background, kind, alpha

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """The case with scribble and prior."""
        d = dict(data)
        for key in self.key_iterator(d):
            cam = _plain(d[key])[None].float()
            seeds = seed_map(cam, self.foreground, self.low, self.background)[0].to(torch.uint8)
            prior = prior_map(cam, d[PRESENT][None].to(cam.device), self.kind, self.alpha, self.background)[0]
            if SCRIBBLE in d:
                seeds = torch.where(_plain(d[SCRIBBLE]).to(seeds.device) == VOID, VOID, seeds)
            d |= {SCRIBBLE: convert_to_dst_type(seeds, d[key], dtype=torch.uint8)[0]}
            d |= {PRIOR: convert_to_dst_type(prior, d[key])[0]}
        return d


class SaveSeedsd(MapTransform):
    """Write a case's scribble and prior where :func:`~medwsss.study.seeds.seed_files` says, each whole or not at all.

    Args:
        keys: of the scribble, ``1 *S``, one of them.
        folder: of the study to be.
        datalist: of the study that is, in whose values scribbles are written.
        image_key: of the image, whose files they lie beside in form and place.
    """

    def __init__(
        self,
        keys: KeysCollection = SCRIBBLE,
        folder: PathLike = "seeds",
        datalist: PathLike = "",
        image_key: str = IMAGE,
    ) -> None:
        super().__init__(keys)
        self.folder, self.image_key = folder, image_key
        self.values = np.arange(256, dtype=np.uint8)
        for target, value in values_of_classes(datalist).items():
            self.values[target] = value

    def __call__(self, data: Mapping[Hashable, Any]) -> Mapping[Hashable, Any]:
        """The same case."""
        meta = data[self.image_key].meta
        name, affine = meta["filename_or_obj"], meta.get("original_affine")
        for key in self.key_iterator(data):
            prior = _plain(data[PRIOR]).cpu().numpy().astype(np.float32)
            scribble, files = seed_files(self.folder, {IMAGE: name, CASE: data[CASE]}, len(prior))
            labels = self.values[_plain(data[key]).cpu().numpy().astype(np.uint8)[0]]
            write_atomically(memoryview(encode_prediction(labels, name, affine)), scribble)
            for each, file in zip(prior, files):
                write_atomically(memoryview(encode_map(each[None], name, affine)), file)
        return data


BlankLabelD = BlankLabelDict = BlankLabeld
CamToLabelD = CamToLabelDict = CamToLabeld
CamToSeedsD = CamToSeedsDict = CamToSeedsd
SaveSeedsD = SaveSeedsDict = SaveSeedsd
ScoresToCamD = ScoresToCamDict = ScoresToCamd
