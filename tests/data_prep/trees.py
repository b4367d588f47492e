# SPDX-License-Identifier: Apache-2.0
"""Miniature data sets in official layouts, and ways to look at what a converter made of them."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np

from data_prep.__main__ import main

SHAPE = (6, 5, 4)
AFFINE = np.array([[-1.5, 0, 0, 30], [0, -1.5, 0, 20], [0, 0, 8, -40], [0, 0, 0, 1.0]])


def image(seed: int = 0, shape: tuple[int, ...] = SHAPE) -> np.ndarray:
    return np.random.default_rng(seed).integers(-100, 1000, shape).astype(np.int16)


def dense(num_classes: int, shape: tuple[int, ...] = SHAPE) -> np.ndarray:
    """All classes: 0, 1, …, K−1, 0, 1, …"""
    return (np.arange(np.prod(shape)) % num_classes).reshape(shape).astype(np.uint8)


def scribble(num_classes: int, ignore: int, shape: tuple[int, ...] = SHAPE) -> np.ndarray:
    """The dense values in the first slice, unlabelled elsewhere."""
    labels = dense(num_classes, shape).astype(np.uint16)
    labels[..., 1:] = ignore
    return labels


def save(path: Path, array: np.ndarray, affine: np.ndarray = AFFINE) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(array, affine), path)
    return path


def load(path: Path) -> tuple[np.ndarray, np.ndarray]:
    volume = nib.load(path)
    return np.asanyarray(volume.dataobj), volume.affine


def decathlon(root: Path, cases: int = 4, num_classes: int = 3, **description: Any) -> Path:
    items = []
    for n in range(cases):
        save(root / f"imagesTr/case_{n:02d}.nii.gz", image(n))
        save(root / f"labelsTr/case_{n:02d}.nii.gz", dense(num_classes).astype(np.float32))  # so that it is rewritten
        items.append({"image": f"./imagesTr/case_{n:02d}.nii.gz", "label": f"./labelsTr/case_{n:02d}.nii.gz"})
    content = {
        "name": "Mini",
        "modality": {"0": "MRI"},
        "labels": {str(k): f"class {k}" for k in range(num_classes)},
        "numTraining": cases,
        "training": items,
        "test": ["./imagesTs/case_99.nii.gz"],  # the official lists name them without labels
    }
    (root / "dataset.json").write_text(json.dumps({**content, **description}))
    return root


def run(command: str, source: Path, output: Path, *options: Any) -> int:
    arguments = [command, "--source", source, "--output", output, "--workers", 1, *options]
    return main([str(argument) for argument in arguments])


def convert(command: str, source: Path, output: Path, *options: Any) -> dict[str, Any]:
    """The data list of a conversion that has to succeed."""
    assert run(command, source, output, *options) == 0
    content: dict[str, Any] = json.loads((output / "dataset.json").read_text())
    return content


def digest(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def flip(path, at):
    """One bit of one byte."""
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    path.write_bytes(bytes(data))
