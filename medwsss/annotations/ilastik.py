# SPDX-License-Identifier: Apache-2.0
"""Labels of ilastik: a project of pixel classification, or the labels that it exports."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from monai.utils import optional_import

from medwsss.annotations.geometry import file_name, only
from medwsss.study.integrity import verify

h5py, has_h5py = optional_import("h5py")

__all__ = ["HDF5", "read_ilastik"]

HDF5 = (".ilp", ".h5", ".hdf5")  #: suffixes


def read_ilastik(path: Path, image: str, shape: Sequence[int]) -> tuple[np.ndarray, list[str]]:
    """The labels of an image, columns first, and the names of those from 1 on, which exported labels have not.

    Args:
        path: of the file.
        image: name of the image's file, by which a project has it.
        shape: of the image, two axes or three.
    """
    if not has_h5py:
        raise ImportError('files of ilastik need h5py: pip install "medwsss[annotations]"')
    verify(path)
    with h5py.File(path) as file:
        if "PixelClassification" in file:
            names = [_text(name) for name in file["PixelClassification/LabelNames"][()]]
            return _of_project(file, image, shape), names
        found = [item for item in file.values() if isinstance(item, h5py.Dataset)]
        if len(found) != 1:
            raise ValueError(f"expected a project of pixel classification or one array, got {len(found)} arrays")
        axes = _axes(found[0].attrs["axistags"]) if "axistags" in found[0].attrs else "zyx"[-len(shape) :]
        labels = _columns_first(found[0], axes)
    if labels.shape != tuple(shape):
        raise ValueError(f"expected labels of the image's shape {tuple(shape)}, got {labels.shape}")
    return labels, []


def _of_project(file: Any, image: str, shape: Sequence[int]) -> np.ndarray:
    lanes = {
        name: lane["Raw Data"] for name, lane in file["Input Data/infos"].items() if "filePath" in lane["Raw Data"]
    }
    names = {name: file_name(_text(raw["filePath"][()])) for name, raw in lanes.items()}
    lane = only([name for name, known in names.items() if known == image], names.values(), image)
    axes = _axes(lanes[lane]["axistags"][()])
    axes += "c" * ("c" not in axes)
    labels = np.zeros(shape, np.uint8)
    for block in file[f"PixelClassification/LabelSets/labels{lane.removeprefix('lane')[-3:]}"].values():
        part = _columns_first(block, axes)
        bounds = re.findall(r"(\d+):(\d+)", _text(block.attrs["blockSlice"]))
        place = [slice(int(start), int(stop)) for start, stop in (bounds[axes.index(a)] for a in _kept(axes))]
        if any(s.stop > size for s, size in zip(place, shape)) or labels[tuple(place)].shape != part.shape:
            raise ValueError(f"expected blocks within the image, got {block.attrs['blockSlice']} of {tuple(shape)}")
        labels[tuple(place)] = np.maximum(labels[tuple(place)], part)
    return labels


def _columns_first(data: Any, axes: str) -> np.ndarray:
    if len(axes) != data.ndim or any(data.shape[axes.index(a)] > 1 for a in axes if a not in "xyz"):
        raise ValueError(f"expected labels along {axes} in one channel and one time, got the shape {data.shape}")
    labels: np.ndarray = data[()].transpose([axes.index(a) for a in _kept(axes)] + _others(axes))
    return labels.reshape(labels.shape[: len(_kept(axes))])


def _kept(axes: str) -> list[str]:
    return [a for a in "xyz" if a in axes]


def _others(axes: str) -> list[int]:
    return [i for i, a in enumerate(axes) if a not in "xyz"]


def _axes(tags: Any) -> str:
    """Letters of the axes, of vigra's description of them."""
    return "".join(str(axis["key"]) for axis in json.loads(_text(tags))["axes"])


def _text(value: Any) -> str:
    return value.decode("utf-8") if isinstance(value, bytes) else str(value)
