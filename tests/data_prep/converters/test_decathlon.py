# SPDX-License-Identifier: Apache-2.0
"""Decathlon tasks: a miniature, and the real data that have this layout."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest

from medwsss.keys import UNLABELED
from tests.data_prep import trees


def test_several_channels_are_the_last_axis(tmp_path):
    source = trees.decathlon(tmp_path / "source", modality={"0": "T2", "1": "ADC"})
    for n in range(4):
        trees.save(source / f"imagesTr/case_{n:02d}.nii.gz", trees.image(n, (*trees.SHAPE, 2)))
    content = trees.convert("decathlon", source, tmp_path / "output")
    assert content["in_channels"] == 2
    assert trees.load(tmp_path / "output/images/case_01.nii.gz")[0].shape == (*trees.SHAPE, 2)


def test_scribbles_masks_and_sections_of_an_extended_list(tmp_path):
    source = trees.decathlon(tmp_path / "source", cases=2)
    trees.save(source / "scribblesTr/case_00.nii.gz", trees.scribble(3, 7))
    item = {"patient": "p", "image": "imagesTr/case_00.nii.gz", "mask": "labelsTr/case_00.nii.gz"}
    item |= {"scribble": "scribblesTr/case_00.nii.gz", "label": "scribblesTr/case_00.nii.gz"}
    validation = [{"image": "imagesTr/case_01.nii.gz", "label": "labelsTr/case_01.nii.gz"}]
    trees.decathlon(source, cases=2, training=[item], validation=validation, numTraining=1, scribble_ignore_value=7)
    content = trees.convert("decathlon", source, tmp_path / "output")
    assert content["training"] == [
        {
            "image": "images/case_00.nii.gz",
            "scribble": "scribbles/case_00.nii.gz",
            "label": "labels/case_00.nii.gz",
            "patient": "p",
        }
    ]
    assert [item["patient"] for item in content["validation"]] == ["case_01"]
    scribble, _ = trees.load(tmp_path / "output/scribbles/case_00.nii.gz")
    assert (scribble[..., 1:] == UNLABELED).all() and not (scribble[..., 0] == UNLABELED).any()


@pytest.mark.parametrize("labels", [{"0": "a", "1": "b", "2": "c"}, {"c": 2, "a": 0, "b": 1}])
def test_labels_either_way_round(tmp_path, labels):
    content = trees.convert("decathlon", trees.decathlon(tmp_path / "source", labels=labels), tmp_path / "output")
    assert content["labels"] == {"0": "a", "1": "b", "2": "c"} and content["num_classes"] == 3


@pytest.mark.parametrize(
    "description, message",
    [
        ({"labels": {"0": "a", "2": "c"}}, r"labels 0, 1, … in .*, got \[0, 2\]"),
        ({"labels": {}}, "labels 0, 1, … in"),
        ({"labels": {"a": 0, "b": 0}}, r"labels 0, 1, … in .*dataset.json, got \[0\]"),
        ({"labels": {"a": "b"}}, "labels of numbers and names, got 'a': 'b' in .*dataset.json"),
        ({"numTraining": 9}, "numTraining = 9 items, got 4 in .*dataset.json"),
        ({"training": [{"image": "imagesTr/case_00.nii.gz"}], "numTraining": 1}, "an image and a label, or a scribble"),
        ({"training": [{"image": "../x.nii.gz", "label": "../x.nii.gz"}], "numTraining": 1}, "existing file, got"),
    ],
)
def test_bad_descriptions(tmp_path, capsys, description, message):
    source = trees.decathlon(tmp_path / "source", **description)
    assert trees.run("decathlon", source, tmp_path / "output") == 1
    error = capsys.readouterr().err
    assert re.search(message, error), error
    (source / "dataset.json").write_text("{")
    assert trees.run("decathlon", source, tmp_path / "output") == 1
    assert "in JSON, got" in capsys.readouterr().err


ITEM = {"image": "imagesTr/case_00.nii.gz", "label": "labelsTr/case_00.nii.gz"}


@pytest.mark.parametrize(
    "wrong",
    [
        *({"training": [item], "numTraining": 1} for item in ("a.nii.gz", None, 1, [], {**ITEM, "image": 1})),
        {"training": [{**ITEM, "label": ["a", "b"]}], "numTraining": 1},
        {"training": ITEM},
        {"training": "imagesTr", "numTraining": 8},
        {"validation": {"0": ITEM}},
        *({"labels": value} for value in (None, ["background"], 3)),
        {"modality": 3},
    ],
    ids=str,
)
def test_descriptions_of_another_kind_are_named(tmp_path, capsys, wrong):
    source = trees.decathlon(tmp_path / "source", **wrong)
    assert trees.run("decathlon", source, tmp_path / "output") == 1
    error = capsys.readouterr().err
    assert error.startswith("error: expected") and str(source / "dataset.json") in error and error.count("\n") == 1


@pytest.mark.parametrize("described", [{"modality": "MRI"}, {"modality": {}}, {"channel_names": {"0": "MRI"}}])
def test_one_channel_however_it_is_told(tmp_path, described):
    source = trees.decathlon(tmp_path / "source", **{"modality": None, **described})
    assert trees.convert("decathlon", source, tmp_path / "output")["in_channels"] == 1


def test_scribbles_alone(tmp_path):
    """A list of our own kind, without masks."""
    source = trees.decathlon(tmp_path / "source")
    items = [{"image": f"imagesTr/case_{n:02d}.nii.gz", "scribble": f"s/{n}.nii.gz", "patient": n} for n in range(4)]
    for n in range(4):
        trees.save(source / f"s/{n}.nii.gz", trees.scribble(3, 9))
    trees.decathlon(source, training=items[:3], validation=items[3:], numTraining=3, scribble_ignore_value=9)
    content = trees.convert("decathlon", source, tmp_path / "output")
    assert [item["patient"] for item in content["training"]] == ["0", "1", "2"]
    assert [item.keys() for item in content["validation"]] == [{"image", "scribble", "patient"}]


def test_one_training_has_one_kind_of_labels(tmp_path, capsys):
    """No command trains on scribbles here and on masks there."""
    source = trees.decathlon(tmp_path / "source")
    trees.save(source / "s.nii.gz", trees.scribble(3, 9))
    items = json.loads((source / "dataset.json").read_text())["training"]
    items[0]["scribble"] = "s.nii.gz"
    trees.decathlon(
        source, training=items[:3], validation=items[3:], numTraining=3, labels={str(k): f"c{k}" for k in range(3)}
    )
    assert trees.run("decathlon", source, tmp_path / "output") == 1
    assert "expected strokes for every case of training or for none, got none for case_01, case_02" in (
        capsys.readouterr().err
    )


@pytest.mark.parametrize(
    "folder, training, validation, classes, patients",
    [
        ("hippocampus", 100, 30, 3, 130),
        ("acdc_mini", 12, 4, 4, 8),
        ("prostatex_one", 1, 0, 3, 1),
    ],
)
def test_real_data(shared_data, tmp_path, folder, training, validation, classes, patients):
    """Counts as their READMEs give them."""
    content = trees.convert("decathlon", shared_data / folder, tmp_path / "output", "--workers", 2)
    assert (len(content["training"]), len(content["validation"]), content["num_classes"]) == (
        training,
        validation,
        classes,
    )
    items = content["training"] + content["validation"]
    assert len({item["patient"] for item in items}) == patients
    original = json.loads((shared_data / folder / "dataset.json").read_text())
    for item, source in zip(items[:3], original["training"]):
        copied, official = tmp_path / "output" / item["image"], shared_data / folder / source["image"]
        assert copied.read_bytes() == official.read_bytes()


def test_real_scribbles_keep_their_counts(shared_data, tmp_path):
    """prostatex_one's README: 9178 background, 3544 of class 1, 267 of class 2, the rest unlabelled."""
    trees.convert("decathlon", shared_data / "prostatex_one", tmp_path / "output")
    scribble, affine = trees.load(tmp_path / "output/scribbles/Prostatex_0000.nii.gz")
    counts = np.bincount(scribble.ravel(), minlength=256)
    assert counts[:3].tolist() == [9178, 3544, 267] and counts[UNLABELED] == scribble.size - 12989
    image_affine = trees.load(shared_data / "prostatex_one/images/Prostatex_0000.nii.gz")[1]
    np.testing.assert_allclose(affine, image_affine, atol=1e-6)
