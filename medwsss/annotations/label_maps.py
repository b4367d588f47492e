# SPDX-License-Identifier: Apache-2.0
"""Voxels that people painted: segmentations of 3D Slicer and MITK, labels of ilastik, and any map of numbers."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from monai.utils import optional_import

from medwsss.annotations.ilastik import HDF5, read_ilastik
from medwsss.study.grid import Grid
from medwsss.study.readers import loader, suffix_of

nrrd, has_nrrd = optional_import("nrrd")

__all__ = ["LABEL_MAPS", "LabelMap", "read_label_map", "read_names"]

#: Endings of files that are read as maps.
LABEL_MAPS = (".nrrd", ".nii", ".nii.gz", ".png", ".tif", ".tiff", *HDF5)

_LARGEST = 2**16  # labels below
_DEFLATED = 1032  # bytes that one of deflate's may stand for
_TO_RAS = {"left-posterior-superior": (-1, -1, 1), "right-anterior-superior": (1, 1, 1)}
_TO_RAS |= {"left-anterior-superior": (-1, 1, 1), "lps": (-1, -1, 1), "ras": (1, 1, 1), "las": (-1, 1, 1)}
_MITK = "org.mitk.multilabel.segmentation.labelgroups"


@dataclass(frozen=True)
class LabelMap:
    """Whole numbers on a grid."""

    layers: Sequence[np.ndarray]  #: ``*S`` each; what overlaps lies in several
    grid: Grid
    names: Mapping[tuple[int, int], str] = field(default_factory=dict)  #: by layer and number, where the file has them

    def segments(self) -> list[tuple[str, int, int]]:
        """Name, layer and number of all that is painted; what has no name is called by its number."""
        return [(self.names.get((i, k), str(k)), i, k) for i, layer in enumerate(self.layers) for k in _numbers(layer)]


def read_label_map(path: Path, image: str, grid: Grid) -> LabelMap:
    """The map that a file has for an image.

    Args:
        path: of the file: NRRD, NIfTI, a picture, or ilastik's project or exported labels.
        image: name of the image's file, by which a project has it.
        grid: of the image.

    Raises:
        ImportError: with the command that installs what is missing.
        ValueError: for a file of another kind, and for what is wrong in it.
    """
    suffix = suffix_of(path).lower()
    if suffix in HDF5:
        labels, names = read_ilastik(path, image, grid.shape)
        return LabelMap([labels], Grid(labels.shape), {(0, k): name for k, name in enumerate(names, 1)})
    if suffix == ".nrrd":
        return _nrrd(path)
    read = loader()(path)
    if len(read) != 1:
        raise ValueError(f"expected one channel of labels, got {len(read)}")
    return LabelMap([np.asarray(read[0])], Grid.of(read))


def _numbers(labels: np.ndarray) -> list[int]:
    if labels.dtype.kind == "f":
        labels = np.nan_to_num(labels)  # nothing is painted where nothing is
    if labels.size and not (0 <= labels.min() and labels.max() < _LARGEST and (labels == labels.astype(int)).all()):
        raise ValueError(f"expected whole numbers from 0 to {_LARGEST - 1}, got {labels.min():g} to {labels.max():g}")
    return np.flatnonzero(np.bincount(labels.ravel().astype(int))).tolist()


def _nrrd(path: Path) -> LabelMap:
    if not has_nrrd:
        raise ImportError('NRRD needs pynrrd: pip install "medwsss[annotations]"')
    with open(path, "rb") as file:
        header = nrrd.read_header(file)
        if "data file" in header or "datafile" in header:
            raise ValueError("expected voxels in the file itself, got the name of another file")
        sizes = [int(size) for size in header["sizes"]]
        packed = path.stat().st_size - file.tell()
        if min(sizes) < 1 or math.prod(sizes) > packed * (1 if header["encoding"] == "raw" else _DEFLATED):
            raise ValueError(f"expected as many voxels as there are bytes for, got sizes {sizes}")
        voxels = nrrd.read_data(header, file)
    if voxels.dtype.kind not in "iu":
        raise ValueError(f"expected whole numbers, got {header['type']}")
    directions = np.asarray(header.get("space directions", np.eye(voxels.ndim)), float)
    outer = np.flatnonzero(~np.isfinite(directions).all(1))
    if len(outer) > 1 or voxels.ndim - len(outer) > 3:
        raise ValueError(f"expected layers of at most three axes, got the shape {voxels.shape}")
    layers = list(np.moveaxis(voxels, outer[0], 0)) if len(outer) else [voxels]
    return LabelMap(layers, Grid(layers[0].shape, _affine(header, np.delete(directions, outer, 0))), _names(header))


def _affine(header: Mapping[str, Any], directions: np.ndarray) -> np.ndarray | None:
    """To right, anterior, superior as NIfTI has it; ``None`` where the header does not say it."""
    signs = _TO_RAS.get(str(header.get("space")).lower())
    if signs is None or "space directions" not in header or "space origin" not in header:
        return None
    affine = np.eye(4)
    affine[:3, : len(directions)] = directions.T
    affine[:3, 3] = header["space origin"]
    return np.array([*signs, 1])[:, None] * affine


def _names(header: Mapping[str, Any]) -> dict[tuple[int, int], str]:
    """Of 3D Slicer's segments or MITK's labels, by layer and number."""
    if _MITK in header:
        groups = enumerate(json.loads(header[_MITK]))
        return {(i, int(each["value"])): str(each["name"]) for i, group in groups for each in group["labels"] or ()}
    names = {}
    for key, name in header.items():
        if found := re.fullmatch(r"(Segment\d+)_Name", key):
            number = int(found[1].removeprefix("Segment"))  # files of old versions have a layer a segment
            layer, value = header.get(f"{found[1]}_Layer", number), header.get(f"{found[1]}_LabelValue", 1)
            names[int(layer), int(value)] = str(name)
    return names


def read_names(path: Path) -> dict[int, str]:
    """Names by number of ITK-SNAP's label descriptions: number, colour, opacity, two switches, and the name quoted."""
    found = re.findall(r'^\s*(\d+)(?:\s+[\d.]+){6}\s+"(.*)"\s*$', path.read_text(encoding="utf-8"), re.MULTILINE)
    if not found:
        raise ValueError("expected label descriptions of ITK-SNAP, got none")
    return {int(number): name for number, name in found}
