# SPDX-License-Identifier: Apache-2.0
"""MSCMR: CycleMix's layout, complete and in miniature."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest

from medwsss.keys import UNLABELED
from tests.data_prep import trees

FOLDERS = {
    "train": (
        "scribble",
        [2, 4, 6, 7, 9, *range(13, 16), *range(18, 23), *range(24, 28), 31, 32, 34, 37, 39, 42, 44, 45],
    ),
    "val": ("manual", [1, 8, 29, 36, 41]),
    "TestSet": ("manual", [3, 5, 10, 11, 12, 16, 17, 23, 28, 30, 33, 35, 38, 40, 43]),
}


@pytest.fixture
def source(tmp_path):
    for folder, (ending, numbers) in FOLDERS.items():
        labels = trees.scribble(4, 4) if ending == "scribble" else trees.dense(4).astype(np.int16)
        for n in numbers:
            root = tmp_path / "CycleMix/MSCMR_dataset" / folder
            trees.save(root / "images" / f"subject{n}_DE.nii.gz", trees.image(n))
            affine = np.diag([2.0, 2, 2, 1]) if n == 43 else trees.AFFINE  # as published
            trees.save(root / "labels" / f"subject{n}_DE_{ending}.nii.gz", labels, affine)
    return tmp_path / "CycleMix"


def test_all_of_it(source, tmp_path):
    output = tmp_path / "output"
    content = trees.convert("mscmr", source, output, "--workers", 2)
    assert [len(content[section]) for section in ("training", "validation", "test")] == [25, 5, 15]
    assert content["training"][0] == {
        "image": "images/subject2_DE.nii.gz",
        "scribble": "scribbles/subject2_DE.nii.gz",
        "patient": "subject2",
    }
    assert content["test"][-1]["patient"] == "subject43"
    labels, affine = trees.load(output / "labels/subject43_DE.nii.gz")
    np.testing.assert_array_equal(affine, trees.AFFINE)
    np.testing.assert_array_equal(labels, trees.dense(4))
    scribble, _ = trees.load(output / "scribbles/subject2_DE.nii.gz")
    np.testing.assert_array_equal(scribble == UNLABELED, trees.scribble(4, 4) == 4)


def test_what_is_missing_is_named(source, tmp_path, capsys):
    (source / "MSCMR_dataset/val/labels/subject36_DE_manual.nii.gz").unlink()
    assert trees.run("mscmr", source / "MSCMR_dataset", tmp_path / "output") == 1
    error = capsys.readouterr().err
    assert "expected 25 training cases, 5 validation cases, 15 test cases, got 25 training cases, 4" in error
    assert "subject36_DE_manual" in error
    trees.convert("mscmr", source / "MSCMR_dataset", tmp_path / "output", "--partial")
    assert len(json.loads((tmp_path / "output/dataset.json").read_text())["validation"]) == 4


def test_another_folder_is_refused(tmp_path, capsys):
    (tmp_path / "empty").mkdir()
    assert trees.run("mscmr", tmp_path / "empty", tmp_path / "output") == 1
    assert "expected folders train, val, TestSet" in capsys.readouterr().err


def test_the_real_pair_whose_affines_differ(shared_data, source, tmp_path):
    """Subject 43, cut to three slices: the mask lies on the image once both have the image's affine."""
    real, test = shared_data / "odd_files/nifti", source / "MSCMR_dataset/TestSet"
    shutil.copy(real / "mscmr_subject43_DE_slices6-8.nii.gz", test / "images/subject43_DE.nii.gz")
    shutil.copy(real / "mscmr_subject43_DE_manual_slices6-8.nii.gz", test / "labels/subject43_DE_manual.nii.gz")
    trees.convert("mscmr", source, tmp_path / "output")
    image, affine = trees.load(tmp_path / "output/images/subject43_DE.nii.gz")
    labels, label_affine = trees.load(tmp_path / "output/labels/subject43_DE.nii.gz")
    np.testing.assert_allclose(label_affine, affine, atol=1e-5)
    assert image[labels == 3].mean() > 1.2 * image[labels == 2].mean()  # enhanced blood is brighter than muscle
