# SPDX-License-Identifier: Apache-2.0
"""CHAOS, one of its series (DICOM slices with PNG masks) as a study, in the official layout::

    Train_Sets/MR/1/T1DUAL/DICOM_anon/InPhase/IMG-0004-00002.dcm     and OutPhase/
    Train_Sets/MR/1/T1DUAL/Ground/IMG-0004-00002.png                 63 liver, 126 right kidney, 189 left kidney,
    Train_Sets/MR/1/T2SPIR/DICOM_anon/IMG-0002-00001.dcm             252 spleen
    Train_Sets/MR/1/T2SPIR/Ground/IMG-0002-00001.png
    Train_Sets/CT/1/DICOM_anon/i0000,0000b.dcm                       20 patients, others than those of MR
    Train_Sets/CT/1/Ground/liver_GT_000.png                          liver alone, 255

Names, by the numbers in them, tell which mask belongs to which slice; positions, where a slice lies: in some series
the two orders are opposite. Masks are dense, the test sets have none. Reading DICOM needs pydicom (``pip install
pydicom``).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, cast

import numpy as np
from monai.data import MetaTensor
from monai.utils import optional_import

from data_prep.engine.completeness import PartialOptions, existing
from data_prep.engine.conversion import convert
from data_prep.engine.options import option
from data_prep.engine.sources import Case, Dataset, Files, visible
from data_prep.formats.encoding import encode_volume
from data_prep.formats.pictures import load
from data_prep.formats.volumes import one_channel
from medwsss.keys import IMAGE, LABEL
from medwsss.study.integrity import verify
from medwsss.study.labels import to_classes
from medwsss.transforms import MapWeakLabels

pydicom, has_pydicom = optional_import("pydicom")

SERIES = {
    "T1-in": ("MR", "T1DUAL/DICOM_anon/InPhase", "T1DUAL/Ground"),
    "T1-out": ("MR", "T1DUAL/DICOM_anon/OutPhase", "T1DUAL/Ground"),
    "T2": ("MR", "T2SPIR/DICOM_anon", "T2SPIR/Ground"),
    "CT": ("CT", "DICOM_anon", "Ground"),
}
CLASSES = {"MR": ("background", "liver", "right kidney", "left kidney", "spleen"), "CT": ("background", "liver")}
GREYS = {"MR": (0, 63, 126, 189, 252), "CT": (0, np.iinfo(np.uint8).max)}  # black and white in CT
PATIENTS = 20

_UNEVEN = 0.05  # of the slice distance, by which slices may be out of place


@dataclass(frozen=True, kw_only=True)
class Options(PartialOptions):
    """Of the command."""

    series: str = option("images to use (default: %(default)s)", default="T2", choices=SERIES)


def run(options: Options) -> int:
    """Convert."""
    if not has_pydicom:
        raise ValueError("expected pydicom for DICOM files, got none: pip install pydicom")
    modality, images, masks = SERIES[options.series]
    root = options.source / "Train_Sets"
    root = (root if root.is_dir() else options.source) / modality
    if not root.is_dir():
        raise ValueError(f"expected a folder Train_Sets/{modality} in {options.source}, got none")
    cases = []
    for folder in sorted((path for path in visible(root, "*") if path.is_dir()), key=_numbers):
        slices = tuple(sorted(visible(folder / images, "*.dcm"), key=_numbers)) or (folder / images / "*.dcm",)
        grounds = tuple(sorted(visible(folder / masks, "*.png"), key=_numbers)) or (folder / masks / "*.png",)
        cases.append(Case(f"{modality}_{folder.name}", folder.name, {IMAGE: slices, LABEL: grounds}))
    cases = existing(cases, {None: PATIENTS}, options.partial)
    labels = MapWeakLabels(len(CLASSES[modality]), mapping={grey: k for k, grey in enumerate(GREYS[modality])})
    make = partial(_volume, labels=labels)
    return convert(Dataset(f"CHAOS {options.series}", CLASSES[modality], cases, make, [options.source]), options)


def _numbers(path: Path) -> tuple[list[int], str]:
    return [int(digits) for digits in re.findall(r"\d+", path.stem)], path.name


def _volume(case: Case, labels: MapWeakLabels) -> Files:
    """Slices and masks, paired by the order of their names, then put in the order of their positions."""
    slices, masks = case.files[IMAGE], case.files[LABEL]
    assert isinstance(slices, tuple) and isinstance(masks, tuple)
    if len(slices) != len(masks):
        raise ValueError(f"expected a mask a slice, got {len(masks)} for {len(slices)} in {masks[0].parent}")
    verify(*slices, *masks)
    data, planes = zip(*map(_read, slices))
    across, down = np.reshape(np.asarray(data[0].ImageOrientationPatient, float), (2, 3))
    normal = np.cross(across, down)
    positions = np.array([each.ImagePositionPatient for each in data], float)
    order = np.argsort(positions @ normal)
    steps = np.diff(positions[order], axis=0)
    step = steps.mean(0) if len(steps) else normal * float(data[0].SliceThickness)
    if len(steps) and np.abs(steps - step).max() > _UNEVEN * np.linalg.norm(step):
        raise ValueError(
            f"expected evenly spaced slices, got distances {np.linalg.norm(steps, axis=1)} in {slices[0].parent}"
        )

    row_spacing, column_spacing = map(float, data[0].PixelSpacing)
    affine = np.eye(4)
    affine[:3] = np.stack([across * column_spacing, down * row_spacing, step, positions[order[0]]], axis=1)
    affine = np.diag([-1.0, -1.0, 1.0, 1.0]) @ affine  # DICOM's axes run to the left and back, NIfTI's right and front
    drawn = [_mask(path, labels) for path in masks]
    for path, plane in zip([*slices, *masks], [*planes, *drawn]):
        if plane.shape != planes[0].shape:
            raise ValueError(f"expected the shape {planes[0].shape} of the first slice, got {plane.shape} in {path}")
    return {
        key: encode_volume(np.stack([stack[k] for k in order]).transpose(2, 1, 0), affine)
        for key, stack in ((IMAGE, planes), (LABEL, drawn))
    }


def _read(path: Path) -> tuple[Any, np.ndarray]:
    """Header and intensities, rows first, of one slice: stored values times slope plus intercept.

    They are integers where all values are some.
    """
    try:
        data = pydicom.dcmread(path)
        values = data.pixel_array * float(data.get("RescaleSlope", 1)) + float(data.get("RescaleIntercept", 0))
        place = [*data.ImageOrientationPatient, *data.ImagePositionPatient, *data.PixelSpacing]
    except Exception as error:  # pydicom's are of many types, an AttributeError for a tag that is missing among them
        raise ValueError(f"expected a DICOM slice, got {type(error).__name__} in {path}: {error}") from error
    if values.ndim != 2 or len(place) != 11 or not np.isfinite(np.asarray(place, float)).all():
        raise ValueError(f"expected one grey slice and its place, got shape {values.shape} at {place} in {path}")
    integers: np.ndarray = values.astype(np.int16)
    return data, integers if (values == integers).all() else values.astype(np.float32)


def _mask(path: Path, labels: MapWeakLabels) -> np.ndarray:
    """Classes of one slice, rows first."""
    raw = load(path)
    if raw.meta.get("mode") == "1":  # black and white
        raw = cast(MetaTensor, raw * np.iinfo(np.uint8).max)
    return np.asarray(to_classes(one_channel(raw), labels, path)[0]).T
