# SPDX-License-Identifier: Apache-2.0
"""nnU-Net's data pipeline, with padding told apart from background and a guide beside the labels.

nnU-Net writes -1 into label maps for two things: in preprocessing, for background outside of the body (voxels that are
0 in every channel); when it cuts patches, for what it pads. Then it makes both of them background: of a study of
scribbles, padding is most of what a batch has of it.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from batchgeneratorsv2.transforms.base.basic_transform import BasicTransform
from batchgeneratorsv2.transforms.spatial.spatial import SpatialTransform
from batchgeneratorsv2.transforms.utils.compose import ComposeTransforms
from batchgeneratorsv2.transforms.utils.pseudo2d import Convert2DTo3DTransform
from batchgeneratorsv2.transforms.utils.remove_label import RemoveLabelTransform

from medwsss.nnunet.loss import PADDING

__all__ = ["StoredLabels", "TellingDataset", "intensity_ranges", "with_guide", "with_padding"]

OUTSIDE = -2  #: background where every channel of the image is 0, while patches are being cut
_CASES = 10  # whose intensities are looked at
_SAMPLES = 100_000  # voxels of each, about
_KEY = "regression_target"  # what of a sample is moved like an image and left alone by changes of intensity


class StoredLabels:
    """A label map on disk, in which what is outside of the body is not called as padding is. Read where it is cut."""

    def __init__(self, stored: Any) -> None:
        self.stored, self.shape = stored, stored.shape

    def __getitem__(self, index: Any) -> np.ndarray:
        cut = np.asarray(self.stored[index])
        return np.where(cut == PADDING, OUTSIDE, cut)


class TellingDataset:
    """A data set of nnU-Net's whose label maps are :class:`StoredLabels`."""

    def __init__(self, dataset: Any) -> None:
        self.dataset, self.identifiers = dataset, dataset.identifiers

    def load_case(self, identifier: str) -> tuple[Any, ...]:
        """Image, label map, label map of the previous stage, properties."""
        image, labels, *rest = self.dataset.load_case(identifier)
        return image, StoredLabels(labels), *rest


class KeepGuide(BasicTransform):
    """From here on, the image as it is now goes along."""

    def apply(self, data_dict: dict[str, Any], **params: Any) -> dict[str, Any]:
        """A copy, as changes of intensity work in place."""
        return {**data_dict, _KEY: data_dict["image"].clone()}


class GuideAsTarget(BasicTransform):
    """The guide, behind the label maps of all resolutions."""

    def apply(self, data_dict: dict[str, Any], **params: Any) -> dict[str, Any]:
        """What a loader of nnU-Net takes: image and segmentation."""
        labels = data_dict["segmentation"]
        labels = list(labels) if isinstance(labels, (list, tuple)) else [labels]
        return {"image": data_dict["image"], "segmentation": [*labels, data_dict[_KEY]]}


def with_guide(pipeline: ComposeTransforms) -> ComposeTransforms:
    """nnU-Net's pipeline of training patches, in which padding stays what it is and the guide is the last target."""
    steps = list(pipeline.transforms)
    moved = [i for i, step in enumerate(steps) if isinstance(step, (SpatialTransform, Convert2DTo3DTransform))]
    (removed,) = _removal(steps)
    steps[removed] = RemoveLabelTransform(OUTSIDE, 0)
    steps.insert(moved[-1] + 1, KeepGuide())
    return ComposeTransforms([*steps, GuideAsTarget()])


def with_padding(pipeline: ComposeTransforms, ignore_label: int) -> ComposeTransforms:
    """nnU-Net's pipeline of validation patches, in which padding is ignored."""
    steps = list(pipeline.transforms)
    (removed,) = _removal(steps)
    steps[removed : removed + 1] = [RemoveLabelTransform(OUTSIDE, 0), RemoveLabelTransform(PADDING, ignore_label)]
    return ComposeTransforms(steps)


def _removal(steps: list[BasicTransform]) -> list[int]:
    """Where nnU-Net makes padding background."""
    return [i for i, step in enumerate(steps) if isinstance(step, RemoveLabelTransform) and step.label_value == PADDING]


def intensity_ranges(dataset: Any) -> list[float]:
    """From the 0.5th to the 99.5th percentile of each channel, in the mean of some cases.

    Raises:
        ValueError: for a channel that is constant in all of them.
    """
    chosen = dataset.identifiers[:: max(1, len(dataset.identifiers) // _CASES)]
    spans = []
    for identifier in chosen:
        image = dataset.load_case(identifier)[0]
        channels = (np.asarray(image[c]).ravel() for c in range(image.shape[0]))
        spans.append([np.subtract(*np.percentile(c[:: max(1, c.size // _SAMPLES)], [99.5, 0.5])) for c in channels])
    ranges = [float(span) for span in np.mean(spans, 0)]
    if not all(span > 0 for span in ranges):
        raise ValueError(f"expected images that are not constant, got ranges {ranges} in {', '.join(chosen)}")
    return ranges
