# SPDX-License-Identifier: Apache-2.0
"""Small studies with strokes, as files."""

from __future__ import annotations

import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from medwsss.keys import UNLABELED
from tests.rasters.scenes import write_scene

pytest.importorskip("zarr", minversion="3", reason="pip install 'medwsss[blocks]'")


def picture(shape: tuple[int, ...], channels: int = 1) -> np.ndarray:
    """``C *S``: two halves with a wavy border, and noise."""
    random = np.random.default_rng(0)
    places = np.indices(shape)
    half = places[0] + 2 * np.sin(places[-1] / 3) > shape[0] / 2
    return (half * 40 + random.normal(0, 6, (channels, *shape)) + 100).astype(np.float32)


def strokes(shape: tuple[int, ...]) -> np.ndarray:
    """``*S``: a stroke in each half, a dot of a third class."""
    scribble = np.full(shape, UNLABELED, np.uint8)
    middle = tuple(size // 2 for size in shape[1:-1])
    scribble[(shape[0] // 6, *middle, slice(2, -2))] = 0
    scribble[(-shape[0] // 6, *middle, slice(2, -2))] = 1
    scribble[(shape[0] // 2, *middle, 3)] = 2
    return scribble


def write_list(folder: Path, *items: dict, **more: object) -> Path:
    labels = {"0": "background", "1": "organ", "2": "vessel"}
    content = {"labels": labels, "ignore_values": [UNLABELED], "training": items, **more}
    (folder / "dataset.json").write_text(json.dumps(content))
    return folder / "dataset.json"


def volume(folder: Path, shape: tuple[int, ...] = (16, 15, 14), sizes: tuple[float, ...] = (1, 1, 1)) -> Path:
    """One case in NIfTI."""
    affine = np.diag([*sizes, 1.0])
    nib.save(nib.Nifti1Image(picture(shape)[0], affine), folder / "a.nii.gz")
    nib.save(nib.Nifti1Image(strokes(shape), affine), folder / "a_scribble.nii.gz")
    return write_list(folder, {"image": "a.nii.gz", "scribble": "a_scribble.nii.gz"})


def scene(folder: Path) -> Path:
    """One case in GeoTIFF, of two bands."""
    write_scene(folder / "a.tif", picture((40, 43), 2))
    write_scene(folder / "s.tif", strokes((40, 43))[None], nodata=UNLABELED)
    return write_list(folder, {"image": "a.tif", "scribble": "s.tif"})
