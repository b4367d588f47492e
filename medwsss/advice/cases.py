# SPDX-License-Identifier: Apache-2.0
"""What a finished run has to say about one case: where it is in doubt, between which classes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from monai.data import MetaTensor
from monai.transforms import Compose, Invertd

from medwsss.advice.finished import FinishedRun
from medwsss.advice.regions import find_regions
from medwsss.advice.scores import doubt, far_from, spread
from medwsss.handlers import VolumeLabelHandler
from medwsss.handlers.opinions import opinions
from medwsss.keys import IMAGE, SCRIBBLE, UNLABELED
from medwsss.study.outputs import output_suffix
from medwsss.terms.simplex import seed_mask, unlabeled_mask
from medwsss.transforms import AsVolume, VoidLabelsd

__all__ = ["CaseAdvice", "advise_case", "load_unannotated"]


@dataclass(frozen=True)
class CaseAdvice:
    """Of one case; arrays have three axes, slices across the last, whatever the file has."""

    case: dict[str, Any]  #: as the run's transforms load it
    image: np.ndarray  #: ``C X Y Z``, what contrasts are of
    scribble: np.ndarray
    prediction: np.ndarray  #: classes
    probabilities: np.ndarray  #: ``K X Y Z``, the mean of the network's and the solver's
    score: np.ndarray  #: doubt in reach of a stroke, 0 where none is wanted
    regions: np.ndarray  #: numbers from 1, the best first
    spacing: list[float]

    @property
    def voxel(self) -> float:
        """Its volume, mm³ where the file says so."""
        return float(np.prod(self.spacing))

    def file_regions(self, transform: Compose) -> np.ndarray:
        """``regions`` on the grid of the image's file, ``*S``."""
        image = self.case[IMAGE]
        numbers = torch.from_numpy(self.regions).reshape(1, *image.shape[1:])
        invert = Invertd("regions", transform, IMAGE, nearest_interp=True)
        turned = np.asarray(invert({IMAGE: image, "regions": MetaTensor(numbers, meta=image.meta)})["regions"])
        return turned.reshape(turned.shape[1 : 1 + len(image.meta["spatial_shape"])])

    @property
    def slice_axis(self) -> int | None:
        """The axis of the file across which slices lie; ``None`` for a picture."""
        image = self.case[IMAGE]
        orders = [o["extra_info"]["order"] for o in image.applied_operations if o["class"] == "ThickAxisLast"]
        axes = len(image.meta["spatial_shape"])
        return None if axes < 3 else orders[0][-1] if orders else axes - 1

    def describe(self, on_file: np.ndarray, number: int, class_names: Sequence[str]) -> dict[str, Any]:
        """Region ``number`` in words of the file: voxels count from 0, a bounding box ends before its second corner."""
        inside = self.regions == number
        points = np.argwhere(on_file == number)
        axis, centre = self.slice_axis, points.mean(0)
        means = self.probabilities[:, inside].mean(1)
        meta = self.case[IMAGE].meta
        nifti = output_suffix(meta["filename_or_obj"]) == ".nii.gz"
        placed = nifti and meta.get("placed") and meta.get("unit", "mm") == "mm"
        affine = np.asarray(meta["original_affine"] if placed else np.eye(4), float)
        return {
            "number": number,
            "slice": None if axis is None else {"axis": axis, "index": int(points[0, axis])},
            "bounding_box": [points.min(0).tolist(), (points.max(0) + 1).tolist()],
            "centroid": centre.round(1).tolist(),
            "centroid_mm": (affine[:3, : len(centre)] @ centre + affine[:3, 3]).round(2).tolist() if placed else None,
            "score": round(float(self.score[inside].sum()) * self.voxel, 3),
            "voxels": len(points),
            "classes": [
                {"class": int(k), "name": class_names[k], "probability": round(float(means[k]), 3)}
                for k in np.argsort(-means, kind="stable")[:2]
            ],
        }

    def slices(self) -> list[dict[str, Any]]:
        """Index and score of the slices that have one, the best first; empty for a picture."""
        sums = self.score.sum((0, 1)) * self.voxel
        order = [] if self.slice_axis is None else np.argsort(-sums, kind="stable").tolist()
        return [{"index": int(k), "score": round(float(sums[k]), 3)} for k in order if sums[k] > 0]


def advise_case(
    case: dict[str, Any], handler: VolumeLabelHandler, device: torch.device, reach: float, number: int
) -> CaseAdvice:
    """Find the regions of a case that are in doubt.

    Args:
        case: see :func:`opinions`.
        handler: see :func:`opinions`.
        device: see :func:`opinions`.
        reach: of a stroke, in units of the smallest spacing.
        number: of regions, at most.
    """
    guide, scribble, sigma, y = map(AsVolume(), opinions(case, handler, device))
    spacing = case[IMAGE].pixdim.tolist()
    spacing += [1.0] * (3 - len(spacing))
    marks = scribble[0]
    open_to = unlabeled_mask(marks).numpy() & far_from(seed_mask(marks).numpy(), spacing, reach)
    score = spread(doubt(y[None], sigma[None])[0].numpy(), open_to, spacing, reach)
    regions = find_regions(score, spacing, reach, number)
    prediction, probabilities = sigma.argmax(0).numpy(), ((sigma + y) / 2).numpy()
    return CaseAdvice(case, guide.numpy(), marks.numpy(), prediction, probabilities, score, regions, spacing)


def load_unannotated(run: FinishedRun) -> Compose:
    """The run's way to load a training case, for one without a scribble: it gets one that has no seed."""

    def blank(case: dict[str, Any]) -> dict[str, Any]:
        return {**case, SCRIBBLE: torch.full_like(case[IMAGE][:1], UNLABELED, dtype=torch.uint8)}

    transforms = list(run["train#cases"].transform.transforms)
    for each in transforms:
        each.allow_missing_keys = True
    first = next(k for k, each in enumerate(transforms) if isinstance(each, VoidLabelsd))
    return Compose([*transforms[:first], blank, *transforms[first:]])
