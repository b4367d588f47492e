# SPDX-License-Identifier: Apache-2.0
"""Small studies on disk, to be spoiled."""

from __future__ import annotations

import json
from pathlib import Path

import nibabel as nib
import numpy as np
from PIL import Image

from data_prep.__main__ import main
from medwsss.study import MapWeakLabels, StudyReport, check_study

AFFINE = np.diag([1.5, 1.5, 10.0, 1.0])
LABELS = MapWeakLabels(num_classes=2, ignore_values=4, void_values=9)


class StudyFolder:
    """A folder of files and the content of their data list, ``list.json``."""

    def __init__(self, folder):
        self.folder, self.content = folder, {}

    def write(self, name, array, affine=AFFINE):
        kind = np.float32 if array.dtype.kind == "f" else np.int16
        nib.save(nib.Nifti1Image(array.astype(kind), affine), self.folder / name)

    def picture(self, name, array, mode=None):
        picture = Image.fromarray(array.astype(np.uint8)) if mode is None else Image.new(mode, (6, 6), 1)
        picture.save(self.folder / name)

    def flat(self):
        """Two pictures of six by six instead."""
        seeds = np.full((6, 6), 4)
        seeds[0, 0], seeds[3, 3] = 0, 1
        for name in "image0", "image1":
            self.picture(f"{name}.png", np.random.default_rng(len(name)).integers(0, 255, (6, 6)) + ord(name[-1]) % 2)
        self.picture("seeds.png", seeds)
        self.content = {"num_classes": 2, "ignore_value": 4}
        self.content["training"] = [{"image": f"image{i}.png", "scribble": "seeds.png"} for i in range(2)]

    def listed(self) -> Path:
        path = self.folder / "list.json"
        path.write_text(json.dumps(self.content))
        return path

    def check(self, labels=LABELS, **options) -> StudyReport:
        return check_study(self.listed(), labels, **options).accepted()

    def command(self, *options):
        """Exit code of ``python -m data_prep check``, and what it found."""
        report = self.folder / "report.json"
        report.unlink(missing_ok=True)
        code = main(["check", str(self.listed()), "--json", str(report), *options])
        return code, json.loads(report.read_text()) if report.exists() else None


def scribble(shape=(4, 5, 3), fill=4):
    """Two voxels of each class on a map of ``fill``."""
    label = np.full(shape, fill, np.uint8)
    label.flat[:4] = [0, 0, 1, 1]
    return label


def two_scribbles(folder) -> StudyFolder:
    """Two good cases with scribbles."""
    study = StudyFolder(folder)
    for i in range(2):
        study.write(f"image{i}.nii.gz", np.arange(60.0).reshape(4, 5, 3) + i)
        study.write(f"scribble{i}.nii.gz", scribble())
    study.content["training"] = [{"image": f"image{i}.nii.gz", "scribble": f"scribble{i}.nii.gz"} for i in range(2)]
    return study


def three_patients(folder, shape=(6, 5, 4)) -> StudyFolder:
    """Three good cases with masks, the two for training with scribbles."""
    study = StudyFolder(folder)
    study.content = {"num_classes": 2, "ignore_value": 4, "training": [], "validation": []}
    rng = np.random.default_rng(0)
    for i, section in enumerate(["training", "training", "validation"]):
        mask = np.zeros(shape)
        mask[2:4, 2:4] = 1
        seeds = np.full(shape, 4)
        seeds[2, 2], seeds[0, 0] = 1, 0
        study.write(f"image{i}.nii.gz", rng.integers(0, 100, shape))
        study.write(f"mask{i}.nii.gz", mask)
        study.write(f"scribble{i}.nii.gz", seeds)
        item = {"image": f"image{i}.nii.gz", "label": f"mask{i}.nii.gz", "patient": f"p{i}"}
        study.content[section].append(item | ({"scribble": f"scribble{i}.nii.gz"} if i < 2 else {}))
    return study
