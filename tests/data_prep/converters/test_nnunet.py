# SPDX-License-Identifier: Apache-2.0
"""nnU-Net v2 raw data sets in miniature: dense, with an ignore label, and ScribbleBench's two variants."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest

from medwsss.keys import UNLABELED
from tests.data_prep import trees

LABELS = {"background": 0, "liver": 1, "tumour": 2}
FIRST = np.s_[..., 0]  # the slice with strokes


def raw(root, masks, labels=None, channels=1, ending=".nii.gz", **description):
    """``imagesTr``, ``labelsTr`` and ``dataset.json`` of Dataset001_Mini; a mask a case."""
    for name, mask in masks.items():
        for k in range(channels):
            trees.save(root / f"imagesTr/{name}_{k:04d}{ending}", trees.image(k))
        trees.save(root / f"labelsTr/{name}{ending}", mask)
    content = {
        "channel_names": {str(k): "MRI" for k in range(channels)},
        "labels": LABELS if labels is None else labels,
        "numTraining": len(masks),
        "file_ending": ending,
    }
    (root / "dataset.json").write_text(json.dumps({**content, **description}))
    return root


@pytest.fixture
def source(tmp_path):
    return tmp_path / "Dataset001_Mini"


def dense(n=5):
    return {f"liver_{i:03d}": trees.dense(3) for i in range(n)}


def test_dense(source, tmp_path):
    content = trees.convert("nnunet", raw(source, dense()), tmp_path / "output")
    assert (len(content["training"]), len(content["validation"]), content["test"]) == (4, 1, [])
    assert content["labels"] == {"0": "background", "1": "liver", "2": "tumour"}
    assert content["training"][0].keys() == {"image", "label", "patient"}
    assert content["name"] == "Dataset001_Mini"


def test_channels_and_frames_of_a_patient(source, tmp_path):
    names = [f"patient{p:03d}_frame{f:02d}" for p in (1, 2) for f in (1, 12)]
    content = trees.convert(
        "nnunet", raw(source, {name: trees.dense(3) for name in names}, channels=2), tmp_path / "output"
    )
    item = content["training"][0]
    assert item["image"] == [f"images/{item['label'][7:-7]}_{k:04d}.nii.gz" for k in range(2)]
    assert content["in_channels"] == 2
    assert {item["patient"] for item in content["training"]} != {item["patient"] for item in content["validation"]}
    assert len(content["training"]) == len(content["validation"]) == 2


@pytest.mark.parametrize("inverted", [False, True])
def test_scribbles(source, tmp_path, inverted):
    """ScribbleBench's two ways to write the same strokes end in the same study, with dense masks beside them."""
    strokes = trees.scribble(3, 3)
    if inverted:
        strokes[FIRST][trees.dense(3)[FIRST] == 0] = 3
        strokes[..., 1:] = 0
    labels = LABELS if inverted else {**LABELS, "ignore": 3}
    raw(source, {name: strokes for name in dense()}, labels)
    for name, mask in dense().items():
        trees.save(source / f"labelsTr_dense/{name}.nii.gz", mask)
        trees.save(source / f"imagesTs/t{name}_0000.nii.gz", trees.image())
        trees.save(source / f"labelsTs/t{name}.nii.gz", mask)
    content = trees.convert("nnunet", source, tmp_path / "output")
    assert (len(content["training"]), len(content["validation"]), len(content["test"])) == (4, 1, 5)
    assert content["num_classes"] == 3 and content["labels"]["0"] == "background"
    item = content["training"][0]
    scribble = trees.load(tmp_path / "output" / item["scribble"])[0]
    np.testing.assert_array_equal(scribble[FIRST], trees.dense(3)[FIRST])
    assert (scribble[..., 1:] == UNLABELED).all()
    np.testing.assert_array_equal(trees.load(tmp_path / "output" / item["label"])[0], trees.dense(3))
    assert "scribble" not in content["test"][0]


def test_labels_of_the_other_way_round(source, tmp_path):
    raw(source, dense(), {"0": "background", "1": "liver", "2": "tumour"})
    content = trees.convert("nnunet", source, tmp_path / "output")
    assert content["labels"] == {"0": "background", "1": "liver", "2": "tumour"}


def break_regions(source):
    raw(source, dense(), {"background": 0, "whole": [1, 2], "core": 2})


def break_twice(source):
    raw(source, dense(), {"background": 0, "liver": 1, "tumour": 1})


def break_classes(source):
    raw(source, dense(), {"ignore": 0})


def break_ignore(source):
    raw(source, dense(), {**LABELS, "ignore": 9})


def break_count(source):
    raw(source, dense(), numTraining=7)


def break_ending(source):
    raw(source, dense(), file_ending=".png")


def break_mask(source):
    (raw(source, dense()) / "labelsTr/liver_003.nii.gz").unlink()
    raw(source, {}, numTraining=4)


def break_channel(source):
    (raw(source, dense(), channels=2) / "imagesTr/liver_003_0001.nii.gz").unlink()


def break_channel_grid(source):
    trees.save(raw(source, dense(), channels=2) / "imagesTr/liver_003_0001.nii.gz", trees.image(shape=(6, 5, 3)))


@pytest.mark.parametrize(
    "break_it, message",
    [
        (break_regions, "no regions"),
        (break_twice, "labels 0, 1, …"),
        (break_classes, "labels 0, 1, …"),
        (break_ignore, "next number for ignore"),
        (break_count, "numTraining = 7 files in .*labelsTr, got 5"),
        (break_ending, "file_ending .nii.gz or .nii in .*, got .png"),
        (break_mask, "a mask in .*labelsTr for each image, got none for liver_003_0000"),
        (break_channel, "existing file, got .*liver_003_0001"),
        (break_channel_grid, r"shape \(6, 5, 4\) of the image, got \(6, 5, 3\) in .*liver_003_0001"),
    ],
)
def test_bad_input(source, tmp_path, capsys, break_it, message):
    break_it(source)
    assert trees.run("nnunet", source, tmp_path / "output") == 1
    error = capsys.readouterr().err
    assert re.search(message, error), error
