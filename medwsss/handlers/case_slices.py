# SPDX-License-Identifier: Apache-2.0
"""Slices of a case for a page, turned as one looks at a patient, and as files until the page is written."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import torch
from monai.data import MetaTensor
from monai.transforms import Orientation
from monai.utils import convert_to_numpy, convert_to_tensor
from torch import Tensor

from medwsss.reports.scale import scale_of
from medwsss.reports.slices import CaseSlices, wrong_slices

__all__ = ["load_slices", "save_slices", "slices_of"]


def slices_of(image: Tensor, **classes: Tensor) -> CaseSlices:
    """Of maps ``1 *S`` on the image's grid, turned where its file says how the patient lies.

    Args:
        image: ``C *S``; of a ``MetaTensor`` the affine and what the readers say of the file count.
        classes: maps by the names that :func:`~medwsss.reports.slices.wrong_slices` gives them.
    """
    meta = image.meta if isinstance(image, MetaTensor) else {}
    affine = convert_to_numpy(image.affine) if isinstance(image, MetaTensor) else np.eye(4)
    plain = {
        name: convert_to_tensor(each, track_meta=False).detach().cpu()
        for name, each in {"image": image, **classes}.items()
    }
    maps: dict[str, Any] = {name: MetaTensor(each, affine=torch.as_tensor(affine)) for name, each in plain.items()}
    # where all is at right angles about the origin, it is a header's default and not a scanner's word
    lies = meta.get("placed", False) and image.ndim == 4 and np.abs(affine[:3, 3]).max() > 0
    if lies:
        maps = {name: Orientation("LPI", labels=None)(each) for name, each in maps.items()}
    spacing, unit = scale_of(maps["image"])[0], scale_of(image)[1]
    grey, *rest = (convert_to_numpy(each) for each in maps.values())
    named = {name: each[0] for name, each in zip(classes, rest)}
    return wrong_slices(grey, spacing=spacing, unit=unit, axcodes="LPI" if lies else "", **named)


def save_slices(slices: CaseSlices, path: Path) -> None:
    """Write them as ``.npz``."""
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(path, **dataclasses.asdict(slices))


def load_slices(path: Path) -> CaseSlices:
    """What :func:`save_slices` wrote."""
    with np.load(path) as stored:
        fields = {name: value if value.ndim > 1 else value.tolist() for name, value in stored.items()}
    return CaseSlices(**{**fields, "numbers": np.asarray(fields["numbers"])})
