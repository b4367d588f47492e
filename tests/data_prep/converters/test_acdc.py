# SPDX-License-Identifier: Apache-2.0
"""ACDC: both official layouts in miniature, and what their numbers mean."""

from __future__ import annotations

import re

import h5py
import numpy as np
import pytest

from medwsss.keys import UNLABELED
from tests.data_prep import trees

SCRIBBLE_AFFINE = np.diag([1.25, 1.25, 5, 1])


@pytest.fixture
def archive(tmp_path):
    folder = tmp_path / "acdc_scribbles"
    for patient in (1, 30):
        for frame in (1, 12):
            name = f"patient{patient:03d}_frame{frame:02d}_scribble.nii.gz"
            trees.save(folder / name, trees.scribble(4, 4), SCRIBBLE_AFFINE)
    return folder


@pytest.fixture
def nifti(tmp_path):
    """Two of the hundred patients, and one of the challenge's test set."""
    for part, patient in (("training", 1), ("training", 30), ("testing", 101)):
        folder = tmp_path / "ACDC" / part / f"patient{patient:03d}"
        for frame in (1, 12):
            name = f"{folder.name}_frame{frame:02d}"
            trees.save(folder / f"{name}.nii.gz", trees.image(patient + frame))
            trees.save(folder / f"{name}_gt.nii.gz", trees.dense(4))
        trees.save(folder / f"{folder.name}_4d.nii.gz", trees.image(shape=(*trees.SHAPE, 3)))
        (folder / "Info.cfg").write_text("ED: 1\nES: 12\nGroup: DCM\nHeight: 184.0\nNbFrame: 30\nWeight: 95.0\n")
    return tmp_path / "ACDC"


@pytest.fixture
def hdf5(tmp_path):
    """WSL4MIS: slices first, images scaled to 0 … 1."""
    for patient in (1, 30):
        for frame in (1, 12):
            name = f"patient{patient:03d}_frame{frame:02d}"
            volume = {
                "image": (trees.image(patient).astype(np.float32) + 100) / 1100,
                "label": trees.dense(4),
                "scribble": trees.scribble(4, 4),
            }
            volume = {key: value.transpose(2, 1, 0) for key, value in volume.items()}
            files = {tmp_path / "h5/ACDC_training_volumes" / f"{name}.h5": volume}
            for z in range(trees.SHAPE[2]):
                path = tmp_path / "h5/ACDC_training_slices" / f"{name}_slice_{z}.h5"
                files[path] = {key: value[z] for key, value in volume.items()}
            for path, content in files.items():
                path.parent.mkdir(parents=True, exist_ok=True)
                with h5py.File(path, "w") as file:
                    for key, value in content.items():
                        file.create_dataset(key, data=value, compression="gzip")
    return tmp_path / "h5"


def check_labels(output):
    scribble, affine = trees.load(output / "scribbles/patient001_frame12.nii.gz")
    np.testing.assert_array_equal(scribble[..., 0], trees.dense(4)[..., 0])
    assert (scribble[..., 1:] == UNLABELED).all() and scribble.dtype == np.uint8
    np.testing.assert_array_equal(trees.load(output / "labels/patient001_frame12.nii.gz")[0], trees.dense(4))
    return affine


def test_nifti_with_scribbles(nifti, archive, tmp_path):
    output = tmp_path / "output"
    content = trees.convert("acdc", nifti, output, "--scribbles", archive, "--split", "acdc", "--fold", 2, "--partial")
    assert [item["patient"] for item in content["training"]] == ["patient001"] * 2
    assert [item["image"] for item in content["validation"]] == [
        "images/patient030_frame01.nii.gz",
        "images/patient030_frame12.nii.gz",
    ]
    assert content["labels"]["1"] == "right ventricle cavity" and content["num_classes"] == 4
    original = nifti / "training/patient001/patient001_frame12.nii.gz"
    assert (output / "images/patient001_frame12.nii.gz").read_bytes() == original.read_bytes()
    np.testing.assert_array_equal(check_labels(output), trees.AFFINE)  # the image's, not the scribble's


def test_the_challenges_test_patients_are_the_test_section(nifti, tmp_path):
    content = trees.convert("acdc", nifti, tmp_path / "output", "--partial")
    assert {item["patient"] for item in content["test"]} == {"patient101"}
    assert len(content["training"]) == len(content["validation"]) == 2
    assert content["training"][0]["patient"] != content["validation"][0]["patient"]
    assert all("scribble" not in item for item in content["training"])


@pytest.mark.parametrize("folder", ["ACDC_training_volumes", "ACDC_training_slices"])
def test_hdf5(hdf5, archive, tmp_path, folder):
    source = tmp_path / "alone"
    source.mkdir()
    (hdf5 / folder).rename(source / folder)
    trees.convert("acdc", source, tmp_path / "output", "--partial", "--scribbles", archive)
    image, affine = trees.load(tmp_path / "output/images/patient001_frame12.nii.gz")
    np.testing.assert_array_equal(image, (trees.image(1).astype(np.float32) + 100) / 1100)
    np.testing.assert_array_equal(affine, SCRIBBLE_AFFINE)
    np.testing.assert_array_equal(check_labels(tmp_path / "output"), SCRIBBLE_AFFINE)
    trees.convert("acdc", source, tmp_path / "other", "--partial", "--spacing", 2, 3, 4)
    np.testing.assert_array_equal(check_labels(tmp_path / "other"), np.diag([2, 3, 4, 1]))


def test_what_is_missing_is_named(nifti, archive, tmp_path, capsys):
    (archive / "patient030_frame01_scribble.nii.gz").unlink()
    assert trees.run("acdc", nifti, tmp_path / "output", "--scribbles", archive) == 1
    error = capsys.readouterr().err
    assert "expected 200 cases, got 3" in error and "99 files are missing" in error  # 98 patients and that scribble
    assert "training/patient002" in error


@pytest.mark.parametrize(
    "break_it, message",
    [
        (lambda nifti, archive: (nifti / "training").rename(nifti / "trainings"), "expected a folder training"),
        (
            lambda nifti, archive: (nifti / "training/patient001/Info.cfg").write_text("ED: 1\n"),
            "lines ED and ES in .*Info.cfg, got .'ED'",
        ),
        (
            lambda nifti, archive: trees.save(
                archive / "patient001_frame01_scribble.nii.gz", np.full(trees.SHAPE, 4, np.uint16)
            ),
            "expected labels, got a map without any in .*patient001_frame01_scribble",
        ),
        (
            lambda nifti, archive: trees.save(archive / "patient001_frame01_scribble.nii.gz", trees.scribble(4, 5)),
            r"got 5 \(90 voxels\) in .*patient001_frame01_scribble",
        ),
        (
            lambda nifti, archive: trees.flip(nifti / "training/patient001/patient001_frame01.nii.gz", -5),
            "got a damaged file .*patient001_frame01.nii.gz: .*incorrect data check",  # of what would be copied
        ),
    ],
)
def test_bad_input(nifti, archive, tmp_path, capsys, break_it, message):
    break_it(nifti, archive)
    assert trees.run("acdc", nifti, tmp_path / "output", "--scribbles", archive, "--partial") == 1
    error = capsys.readouterr().err
    assert re.search(message, error), error


def test_slices_with_a_gap_are_refused(hdf5, tmp_path, capsys):
    (hdf5 / "ACDC_training_volumes").rename(tmp_path / "unused")
    (hdf5 / "ACDC_training_slices/patient030_frame01_slice_2.h5").unlink()
    assert trees.run("acdc", hdf5, tmp_path / "output", "--partial") == 1
    assert "patient030_frame01, got [0, 1, 3]" in capsys.readouterr().err


def rewrite(path, **arrays):
    with h5py.File(path, "a") as file:
        for key, array in arrays.items():
            del file[key]
            if array is not None:
                file[key] = array


@pytest.mark.parametrize(
    "break_it, message",
    [
        (lambda path: path.write_bytes(b"not found"), "got a damaged file"),
        (lambda path: path.write_bytes(path.read_bytes()[:-3000]), "got a damaged file"),
        (lambda path: rewrite(path, label=None), r"image, scribble and label in .*, got none of \['label'\]"),
        (lambda path: rewrite(path, label=np.zeros((3, 4, 5, 6), np.uint8)), "arrays of one shape, two axes or three"),
        (lambda path: rewrite(path, label=np.zeros((2, 4, 5, 6), np.uint8)), "arrays of one shape, two axes or three"),
    ],
)
def test_bad_hdf5(hdf5, tmp_path, capsys, break_it, message):
    path = hdf5 / "ACDC_training_volumes/patient001_frame12.h5"
    break_it(path)
    assert trees.run("acdc", hdf5, tmp_path / "output", "--partial") == 1
    error = capsys.readouterr().err
    assert re.search(message, error) and str(path) in error and not (tmp_path / "output/dataset.json").exists()


def test_a_damaged_slice_is_named(hdf5, tmp_path, capsys):
    (hdf5 / "ACDC_training_volumes").rename(tmp_path / "unused")
    path = hdf5 / "ACDC_training_slices/patient030_frame01_slice_2.h5"
    path.write_bytes(path.read_bytes()[:-20])
    assert trees.run("acdc", hdf5, tmp_path / "output", "--partial") == 1
    assert "got a damaged file" in (error := capsys.readouterr().err) and path.name in error
