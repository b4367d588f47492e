# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import numpy as np
import pytest

from medwsss.keys import UNLABELED, VOID
from tests.data_prep.pictures import convert, photograph, pixels, refusal, save

RAW = np.resize(np.arange(151), (16, 12))  # 0: void, 1 … 150: classes
CLASSES = np.where(RAW == 0, VOID, RAW - 1)
NAMES = {"training": ["ADE_train_00000001", "ADE_train_00000002"], "validation": ["ADE_val_00000001"]}


@pytest.fixture
def source(tmp_path):
    root = tmp_path / "ade" / "ADEChallengeData2016"
    for section, names in NAMES.items():
        for name in names:
            photograph(root / f"images/{section}/{name}.jpg", 16, 12)
            save(root / f"annotations/{section}/{name}.png", RAW)
    table = "".join(f"{k}\t0.1\t1\t1\tthing {k}, object\n" for k in range(1, 151))
    (root / "objectInfo150.txt").write_text("Idx\tRatio\tTrain\tVal\tName\n" + table)
    return root.parent


def test_masks(source, tmp_path):
    made = convert("ade20k", source, tmp_path / "study", "--partial", "--share", 0.5)
    assert {section: made.names(section) for section in NAMES} == NAMES
    assert made.content["num_classes"] == 150 and made.content["labels"]["149"] == "thing 150, object"
    assert np.array_equal(made.pixels("training", NAMES["training"][0], "label"), CLASSES)
    scribble = made.pixels("training", NAMES["training"][0], "scribble")
    assert np.array_equal(scribble == VOID, CLASSES == VOID)
    assert (scribble == CLASSES)[scribble < VOID].all() and (scribble < VOID).any()


def test_a_grey_picture_among_colours(source, tmp_path, capsys):
    """A few of the official set are grey; whoever reads it takes them for RGB."""
    name = NAMES["training"][1]
    grey = np.arange(192).reshape(16, 12)
    path = source / f"ADEChallengeData2016/images/training/{name}.jpg"
    save(path, grey, quality=100)
    made = convert("ade20k", source, tmp_path / "study", "--partial")
    assert made["training"][name]["image"] == f"images/{name}.png"
    assert np.array_equal(made.pixels("training", name, "image"), pixels(path)[..., None].repeat(3, -1))
    assert f"1 grey images were written as RGB: images/{name}.png" in capsys.readouterr().out
    copied = made.folder / made["training"][NAMES["training"][0]]["image"]
    assert copied.read_bytes() == path.with_name(copied.name).read_bytes()


@pytest.mark.parametrize("empty", [0, 255], ids=["from one", "from zero"])
def test_published_blocks(source, tmp_path, empty):
    """From one with 0 unlabelled, as the masks, or from zero with 255 unlabelled."""
    labeled = (np.arange(192).reshape(16, 12) % 3 == 1) & (RAW > 0)
    for name in NAMES["training"]:
        save(tmp_path / f"block10/{name}.png", np.where(labeled, RAW if empty == 0 else RAW - 1, empty))
    made = convert("ade20k", source, tmp_path / "study", "--partial", "--blocks", tmp_path / "block10")
    scribble = made.pixels("training", NAMES["training"][0], "scribble")
    assert np.array_equal(scribble, np.where(labeled, CLASSES, UNLABELED))


def test_without_names(source, tmp_path):
    root = source / "ADEChallengeData2016"
    (root / "objectInfo150.txt").unlink()
    made = convert("ade20k", root, tmp_path / "study", "--partial")  # the inner folder is accepted, too
    assert made.content["labels"]["149"] == "class 149"


@pytest.mark.parametrize(
    ("options", "damage", "reason"),
    [
        ((), lambda root: None, "expected 20210 training cases, 2000 validation cases, got 2"),
        (
            (),
            lambda root: (root / "annotations/training/ADE_train_00000002.png").unlink(),
            "annotations/training/ADE_train_00000002.png",
        ),
        (
            ("--partial",),
            lambda root: save(root / "annotations/training/ADE_train_00000002.png", RAW + 1),
            "got 151",
        ),
        (("--partial",), lambda root: (root / "objectInfo150.txt").write_text("Idx\n1\tx\n"), "rows 1 to 150"),
    ],
)
def test_bad_input(source, tmp_path, capsys, options, damage, reason):
    damage(source / "ADEChallengeData2016")
    assert reason in refusal(capsys, "ade20k", source, tmp_path / "study", *options)
