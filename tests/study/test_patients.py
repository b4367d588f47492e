# SPDX-License-Identifier: Apache-2.0
"""Names of public data sets: what warns is a leak, and different patients never do."""

from __future__ import annotations

import pytest

from medwsss.study.patients import find_shared


def doubts(training, validation):
    content = {"training": [{"image": name} for name in training], "validation": [{"image": n} for n in validation]}
    errors, found = find_shared(content, ["training", "validation"])
    assert errors == []
    return found


@pytest.mark.parametrize(
    "training, validation",
    [
        ("BraTS20_Training_001.nii.gz", "BraTS20_Training_002.nii.gz"),
        ("BraTS2021_00001.nii.gz", "BraTS2021_00002.nii.gz"),
        ("FLARE22_Tr_0001.nii.gz", "FLARE22_Tr_0002.nii.gz"),
        ("amos_0001.nii.gz", "amos_0002.nii.gz"),
        ("BRATS_001.nii.gz", "BRATS_002.nii.gz"),
        ("hippocampus_001.nii.gz", "hippocampus_003.nii.gz"),
        ("coronacases_001.nii.gz", "coronacases_002.nii.gz"),
        ("case_00000_0000.nii.gz", "case_00001_0000.nii.gz"),
        ("T2_0003.nii", "T2_0004.nii"),
        ("Case00.nii", "Case01.nii"),
        ("volume-1.nii", "volume-2.nii"),
        ("20240501_a.nii", "20240501_b.nii"),
        ("20240501_001.nii", "20240501_002.nii"),
        ("2024-05-01_anna.nii", "2024-05-01_bert.nii"),
        ("P001_2024-01-02.nii", "P002_2024-01-02.nii"),
        ("x/image.nii.gz", "y/image.nii.gz"),
        ("s0001/ct.nii.gz", "s0002/ct.nii.gz"),
        ("2007_000032.jpg", "2007_000033.jpg"),  # VOC
        ("ISIC_0024306.jpg", "ISIC_0024307.jpg"),
        ("IMG_20240501_123045.jpg", "IMG_20240501_123050.jpg"),
        ("tile_12_3.png", "tile_12_4.png"),
        ("photo (1).png", "photo (2).png"),
        ("frame_001.png", "frame_002.png"),
    ],
)
def test_different_patients(training, validation):
    assert doubts([training], [validation]) == []


@pytest.mark.parametrize(
    "training, validation, who",
    [
        (["patient001_frame01.nii.gz"], ["patient001_frame12.nii.gz"], "patient001"),
        (["patient001_ED.nii.gz"], ["patient001_ES.nii.gz"], "patient001"),
        (["BraTS20_Training_001_t1.nii"], ["BraTS20_Training_001_flair.nii"], "BraTS20_Training_001"),
        (["sub-01_ses-02_T1w.nii"], ["sub-01_ses-03_T1w.nii"], "sub-01"),
        (["case0001_slice_12.png"], ["case0001_slice_13.png"], "case0001"),
        (["img0042_tile_12_3.png"], ["img0042_tile_12_4.png"], "img0042"),
        (["1001_left.png"], ["1001_right.png"], "1001"),
        (["image2_early.nii"], ["image2.nii"], "image2"),
        # frames of a sequence, where there are others
        (["0016E5_07961.png", "0001TP_006690.png"], ["0016E5_08370.png"], "0016E5"),
        (["patient12_3.png", "patient13_3.png"], ["patient12_4.png"], "patient12"),
        (["case_00000_0000.nii", "case_00001_0000.nii"], ["case_00000_0001.nii"], "case_00000"),
        (["p01/T1.nii", "p02/T1.nii", "p03/T1.nii"], ["p01/T2.nii"], "p01"),  # a folder a patient
        (["a/0001.png", "b/0001.png"], ["a/0002.png", "c/0002.png"], "a"),
    ],
)
def test_one_patient_in_two_sections(training, validation, who):
    (text,) = doubts(training, validation)
    assert text.startswith(f"expected every patient in one section, got {who} in training and in validation (by the")


def test_what_the_list_says_is_no_guess():
    items = {"training": [{"image": "a_frame01.nii", "patient": 1}], "validation": [{"image": "b.nii", "patient": 1}]}
    errors, found = find_shared(items, ["training", "validation"])
    assert errors == ["expected every patient in one section, got 1 in training and in validation"] and found == []
