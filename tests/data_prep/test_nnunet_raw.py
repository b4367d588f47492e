# SPDX-License-Identifier: Apache-2.0
"""From a data list to nnU-Net's raw layout, and back by the converter of that layout."""

from __future__ import annotations

import json

import nibabel as nib
import numpy as np
import pytest

from data_prep.__main__ import main

AFFINE = np.diag([2.0, 1.0, 3.0, 1.0])


def volume(path, array):
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(array, AFFINE), path)
    return str(path)


@pytest.fixture
def study(tmp_path):
    """Two training cases with strokes (9 unlabelled, 8 void) and masks, one validation case with a mask."""
    folder, mask = tmp_path / "study", np.zeros((4, 5, 3), np.uint8)
    mask[2:] = 1
    scribble = np.full_like(mask, 9)
    scribble[0], scribble[3], scribble[1, 0] = 0, 1, 8
    content = {"labels": {"0": "background", "1": "organ"}, "ignore_values": [9], "void_values": [8]}
    content |= {"training": [], "validation": []}
    for k, section in enumerate(["training", "training", "validation"]):
        item = {"image": f"images/case_{k}.nii.gz", "label": f"labels/case_{k}.nii.gz"}
        volume(folder / item["image"], np.arange(60, dtype=np.int16).reshape(4, 5, 3) + k)
        volume(folder / item["label"], mask)
        if section == "training":
            item["scribble"] = f"scribbles/case_{k}.nii.gz"
            volume(folder / item["scribble"], scribble)
        content[section].append(item)
    (folder / "dataset.json").write_text(json.dumps(content))
    return folder, mask, scribble


def raw(study, tmp_path, *more, name="Dataset501_Mine"):
    folder = tmp_path / "raw" / name
    code = main(["nnunet_raw", str(study / "dataset.json"), "--output", str(folder), "--workers", "1", *more])
    return code, folder


def test_strokes_masks_and_split(study, tmp_path, capsys):
    folder, mask, scribble = study
    code, out = raw(folder, tmp_path)
    assert code == 0 and capsys.readouterr().out.strip() == str(out)
    content = json.loads((out / "dataset.json").read_text())
    assert content["labels"] == {"background": 0, "organ": 1, "ignore": 2}
    assert (content["numTraining"], content["file_ending"], content["channel_names"]) == (3, ".nii.gz", {"0": "image"})
    assert json.loads((out / "splits_final.json").read_text()) == [{"train": ["case_0", "case_1"], "val": ["case_2"]}]
    written = nib.load(out / "labelsTr" / "case_0.nii.gz")
    assert np.array_equal(written.get_fdata(), np.where(scribble > 1, 2, scribble))
    assert np.array_equal(written.affine, AFFINE)
    assert np.array_equal(nib.load(out / "labelsTr" / "case_2.nii.gz").get_fdata(), mask)
    image = nib.load(out / "imagesTr" / "case_1_0000.nii.gz")
    assert np.array_equal(image.get_fdata().ravel(), np.arange(60) + 1) and np.array_equal(image.affine, AFFINE)


def test_dense_masks_need_no_ignore_label(study, tmp_path):
    code, out = raw(study[0], tmp_path, "--from", "label", "--channels", "CT")
    content = json.loads((out / "dataset.json").read_text())
    assert code == 0 and "ignore" not in content["labels"] and content["channel_names"] == {"0": "CT"}


def test_the_converter_of_that_layout_reads_it(study, tmp_path):
    _, out = raw(study[0], tmp_path)
    back = tmp_path / "back"
    assert main(["nnunet", "--source", str(out), "--output", str(back), "--workers", "1"]) == 0
    content = json.loads((back / "dataset.json").read_text())
    item = next(item for item in content["training"] + content["validation"] if "case_0" in item["image"])
    strokes = np.asanyarray(nib.load(back / item["scribble"]).dataobj)
    assert np.array_equal(strokes < 2, study[2] < 2) and np.array_equal(strokes[strokes < 2], study[2][study[2] < 2])


@pytest.mark.parametrize(
    ("change", "more", "name", "says"),
    [
        ({}, (), "Mine", "DatasetNNN_NAME"),
        ({"labels": {"0": "air", "1": "background"}}, (), "Dataset501_Mine", "none of them background"),
        ({}, ("--channels", "T1", "T2"), "Dataset501_Mine", "expected 2 channels"),
    ],
)
def test_what_nnunet_would_not_take_is_refused(study, tmp_path, capsys, change, more, name, says):
    path = study[0] / "dataset.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    assert raw(study[0], tmp_path, *more, name=name)[0] == 1 and says in capsys.readouterr().err


def test_a_folder_with_files_is_left_alone(study, tmp_path, capsys):
    raw(study[0], tmp_path)
    assert raw(study[0], tmp_path)[0] == 1 and "absent or empty" in capsys.readouterr().err
