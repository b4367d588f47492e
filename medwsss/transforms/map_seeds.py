# SPDX-License-Identifier: Apache-2.0
"""From activation maps to a study with scribbles: refined maps, seeds and a prior, and their files."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

import numpy as np
import torch
from monai.config import KeysCollection, PathLike
from monai.transforms import MapTransform
from monai.utils import convert_to_dst_type
from torch import Tensor

from medwsss.files import write_atomically
from medwsss.keys import CASE, GUIDE, IMAGE, PRIOR, SCRIBBLE, VOID
from medwsss.study.outputs import encode_map, encode_prediction
from medwsss.study.seeds import seed_files, values_of_classes
from medwsss.terms.activation_maps import max_normalize, prior_map, seed_map
from medwsss.terms.affinity_walk import affinity_walk
from medwsss.terms.neighborhoods.offsets import OffsetNeighborhood
from medwsss.transforms.activation_maps import CAM, PRESENT, plain
from medwsss.transforms.slices import as_images, from_images

__all__ = [
    "AffinityWalkD", "AffinityWalkDict", "AffinityWalkd", "CamToSeedsD", "CamToSeedsDict", "CamToSeedsd",
    "SaveSeedsD", "SaveSeedsDict", "SaveSeedsd",
]  # fmt: skip


class AffinityWalkd(MapTransform):
    """Activation maps after a random walk on the image's affinities, scaled to a maximum of 1 again.

    See :func:`~medwsss.terms.affinity_walk.affinity_walk`.

    Args:
        keys: of activation maps ``C *S``, one of them.
        neighborhood: whose weights the affinities are.
        steps: of the walk; 0 leaves the maps as they are.
        guide_key: of what affinities are looked for in.
        label_key: of a map on whose ``VOID`` voxels there is no image, if the case has it.
        slice_axis: as of :class:`~medwsss.transforms.ScoresToCamd`; a walk then stays in its slice.

    Raises:
        ValueError: for a number of steps below 0.
    """

    def __init__(
        self,
        neighborhood: OffsetNeighborhood,
        keys: KeysCollection = CAM,
        steps: int = 256,
        guide_key: str = GUIDE,
        label_key: str = SCRIBBLE,
        slice_axis: int | None = None,
    ) -> None:
        super().__init__(keys)
        if steps < 0:
            raise ValueError(f"expected steps >= 0, got {steps}")
        self.neighborhood, self.steps, self.guide_key, self.label_key = neighborhood, steps, guide_key, label_key
        self.slice_axis = slice_axis

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """The case with its maps."""
        d = dict(data)
        for key in self.key_iterator(d):
            if not self.steps:
                continue
            cam = self._images(d[key]).float()
            guide = self._images(d[self.guide_key]).to(cam.device)
            exists = None if self.label_key not in d else self._images(d[self.label_key]).to(cam.device) != VOID
            walked = max_normalize(affinity_walk(cam, guide, self.neighborhood, self.steps, exists), exists)
            d[key] = convert_to_dst_type(from_images(walked, self.slice_axis), d[key])[0]
        return d

    def _images(self, x: Tensor) -> Tensor:
        return as_images(plain(x), self.slice_axis)


class CamToSeedsd(MapTransform):
    """Activation maps become a scribble, of what they are sure of, and a prior over classes for the rest.

    ``scribble`` is :func:`~medwsss.terms.activation_maps.seed_map`, with ``VOID`` where the case has it, and ``prior``
    is :func:`~medwsss.terms.activation_maps.prior_map`, ``K *S``.

    Args:
        keys: of activation maps ``C *S``, one of them.
        foreground: activation from which a voxel is a seed of its class.
        low: largest activation up to which a voxel is a seed of the background; ``None``: where no class is there.
        background: whether class 0 is one.
        kind: of the prior's background score.
        alpha: of the prior's background score.
        slice_axis: as of :class:`~medwsss.transforms.ScoresToCamd`.

    Raises:
        ValueError: for thresholds out of order.

    Example:
        >>> case = {"cam": torch.tensor([[0.0, 0.3, 1.0]]), "present": torch.tensor([True])}
        >>> [CamToSeedsd(low=low)(case)["scribble"].tolist() for low in (None, 0.01)]
        [[[255, 255, 1]], [[0, 255, 1]]]
    """

    def __init__(
        self,
        keys: KeysCollection = CAM,
        foreground: float = 0.4,
        low: float | None = None,
        background: bool = True,
        kind: str = "power",
        alpha: float = 4.0,
        slice_axis: int | None = None,
    ) -> None:
        super().__init__(keys)
        if not 0 <= (low or 0) < foreground <= 1:
            raise ValueError(f"expected 0 <= low < foreground <= 1, got {low} and {foreground}")
        self.foreground, self.low, self.background, self.kind, self.alpha = foreground, low, background, kind, alpha
        self.slice_axis = slice_axis

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """The case with scribble and prior."""
        d = dict(data)
        for key in self.key_iterator(d):
            cam = as_images(plain(d[key]).float(), self.slice_axis)
            present = d[PRESENT].to(cam.device).reshape(cam.shape[:2])
            seeds = seed_map(cam, present, self.foreground, self.low, self.background).to(torch.uint8)
            prior = prior_map(cam, present, self.kind, self.alpha, self.background)
            seeds, prior = (from_images(x, self.slice_axis) for x in (seeds, prior))
            if SCRIBBLE in d:
                seeds = torch.where(plain(d[SCRIBBLE]).to(seeds.device) == VOID, VOID, seeds)
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
            prior = plain(data[PRIOR]).cpu().numpy().astype(np.float32)
            scribble, files = seed_files(self.folder, {IMAGE: name, CASE: data[CASE]}, len(prior))
            labels = self.values[plain(data[key]).cpu().numpy().astype(np.uint8)[0]]
            write_atomically(memoryview(encode_prediction(labels, name, affine)), scribble)
            for each, file in zip(prior, files):
                write_atomically(memoryview(encode_map(each[None], name, affine)), file)
        return data


AffinityWalkD = AffinityWalkDict = AffinityWalkd
CamToSeedsD = CamToSeedsDict = CamToSeedsd
SaveSeedsD = SaveSeedsDict = SaveSeedsd
