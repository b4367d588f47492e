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


@pytest.mark.parametrize(("share", "held_out"), [(0.2, 1), (0, 0)])
def test_without_any_dense_mask_held_out_strokes_validate(source, tmp_path, capsys, share, held_out):
    """The ordinary case: what is there is a scribble each."""
    raw(source, {name: trees.scribble(3, 3) for name in dense()}, {**LABELS, "ignore": 3})
    for seed, name in enumerate(dense()):
        trees.save(source / f"imagesTr/{name}_0000.nii.gz", trees.image(seed))
    content = trees.convert("nnunet", source, tmp_path / "output", "--validation-share", share)
    assert (len(content["training"]), len(content["validation"])) == (5 - held_out, held_out)
    for item in content["training"] + content["validation"]:
        assert item.keys() == {"image", "scribble", "patient"}
    printed = capsys.readouterr().out
    assert "annotation_key" not in printed and ("no masks: strokes validate" in printed) == (held_out > 0)
    assert trees.main(["check", str(tmp_path / "output/dataset.json")]) == 0


def test_some_dense_masks_validate_and_the_other_strokes_train(source, tmp_path):
    raw(source, {name: trees.scribble(3, 3) for name in dense()}, {**LABELS, "ignore": 3})
    for name in list(dense())[:2]:
        trees.save(source / f"labelsTr_dense/{name}.nii.gz", trees.dense(3))
    for seed in range(3):
        content = trees.convert("nnunet", source, tmp_path / str(seed), "--seed", seed)
        assert {item["patient"] for item in content["training"]} >= {f"liver_{i:03d}" for i in (2, 3, 4)}
        assert [item.keys() for item in content["validation"]] == [{"image", "scribble", "label", "patient"}]


def test_a_dense_mask_may_hold_the_ignore_label(source, tmp_path):
    mask = trees.dense(3)
    mask[0, 0, 0] = 3
    raw(source, {name: trees.scribble(3, 3) for name in dense()}, {**LABELS, "ignore": 3})
    for name in dense():
        trees.save(source / f"labelsTr_dense/{name}.nii.gz", mask)
    content = trees.convert("nnunet", source, tmp_path / "output")
    made = trees.load(tmp_path / "output" / content["validation"][0]["label"])[0]
    assert made[0, 0, 0] == UNLABELED and (made < 3).sum() == made.size - 1


@pytest.mark.parametrize("channels", [{"0": "MRI"}, ["MRI"], "MRI"])
def test_descriptions_of_the_first_version(source, tmp_path, channels):
    description = json.loads((raw(source, dense()) / "dataset.json").read_text())
    del description["channel_names"], description["file_ending"]
    (source / "dataset.json").write_text(json.dumps({**description, "modality": channels}))
    assert trees.convert("nnunet", source, tmp_path / "output")["in_channels"] == 1


def test_hidden_files_are_none(source, tmp_path):
    """macOS leaves one beside each file."""
    raw(source, dense())
    for name in ("labelsTr/._liver_000.nii.gz", "imagesTr/._liver_000_0000.nii.gz", "labelsTs/._t.nii.gz"):
        (source / name).parent.mkdir(exist_ok=True)
        (source / name).write_bytes(b"\0\5\x16\7")
    assert len(trees.convert("nnunet", source, tmp_path / "output")["training"]) == 4


@pytest.mark.parametrize("content", [b"", b"\x1f\x8b", b"not found", None])
@pytest.mark.parametrize("sparse", [False, True])
def test_bad_masks_are_named(source, tmp_path, capsys, content, sparse):
    """Whether masks are looked at before (is this the inverted variant?) or with their case."""
    labels = {**LABELS, "ignore": 3} if sparse else LABELS
    bad = raw(source, dense(), labels) / "labelsTr/liver_001.nii.gz"
    bad.write_bytes(bad.read_bytes()[:-20] if content is None else content)
    assert trees.run("nnunet", source, tmp_path / "output") == 1
    assert str(bad) in capsys.readouterr().err and not (tmp_path / "output/dataset.json").exists()


@pytest.mark.parametrize(
    "wrong",
    [
        *({"channel_names": value} for value in (None, 3, {})),
        *({"labels": value} for value in (None, [], ["background"], "liver", {"liver": "many"}, {"liver": None})),
        *({"file_ending": value} for value in (None, 1, [".nii.gz"])),
        {"numTraining": 7},
    ],
    ids=str,
)
def test_descriptions_of_another_kind_are_named(source, tmp_path, capsys, wrong):
    raw(source, dense(), **{"labels": LABELS, **wrong})
    if "labels" in wrong:
        description = json.loads((source / "dataset.json").read_text()) | wrong
        (source / "dataset.json").write_text(json.dumps(description))
    assert trees.run("nnunet", source, tmp_path / "output") == 1
    error = capsys.readouterr().err
    assert error.startswith("error: expected") and str(source / "dataset.json") in error and error.count("\n") == 1


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
