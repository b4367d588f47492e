# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import numpy as np
import pytest

from medwsss.keys import UNLABELED, VOID
from tests.data_prep.pictures import convert, photograph, refusal, save

# cityscapesScripts, helpers/labels.py: id → trainId of the 19 classes that are evaluated
TRAIN_IDS = {7: 0, 8: 1, 11: 2, 12: 3, 13: 4, 17: 5, 19: 6, 20: 7, 21: 8, 22: 9, 23: 10, 24: 11, 25: 12, 26: 13}
TRAIN_IDS |= {27: 14, 28: 15, 31: 16, 32: 17, 33: 18}
IDS = np.resize(np.arange(34), (6, 8))
CLASSES = np.vectorize(lambda value: TRAIN_IDS.get(value, VOID))(IDS)
FRAMES = {"train": ["aachen_000000_000019", "bochum_000000_000313"], "val": ["lindau_000000_000019"]}


@pytest.fixture
def source(tmp_path):
    root = tmp_path / "cityscapes"
    for split, frames in FRAMES.items():
        for frame in frames:
            city = frame.split("_")[0]
            photograph(root / f"leftImg8bit/{split}/{city}/{frame}_leftImg8bit.png")
            save(root / f"gtFine/{split}/{city}/{frame}_gtFine_labelIds.png", IDS)
            save(root / f"gtFine/{split}/{city}/{frame}_gtFine_color.png", np.zeros((6, 8, 3)))
    return root


def test_masks(source, tmp_path):
    made = convert("cityscapes", source, tmp_path / "study", "--partial")
    assert (made.names("training"), made.names("validation")) == (FRAMES["train"], FRAMES["val"])
    assert made["training"]["bochum_000000_000313"]["patient"] == "bochum"
    assert made.content["labels"]["0"] == "road" and made.content["labels"]["18"] == "bicycle"
    for section, frames in zip(("training", "validation"), FRAMES.values()):
        assert np.array_equal(made.pixels(section, frames[0], "label"), CLASSES)


def test_train_ids(source, tmp_path):
    """Masks that the official script has turned into train ids already."""
    for path in source.glob("gtFine/*/*/*_labelIds.png"):
        save(path.with_name(path.name.replace("labelIds", "labelTrainIds")), np.where(CLASSES == VOID, 255, CLASSES))
        path.unlink()
    made = convert("cityscapes", source, tmp_path / "study", "--partial")
    assert np.array_equal(made.pixels("training", FRAMES["train"][0], "label"), CLASSES)


@pytest.mark.parametrize("share", [0.1, 0.2, 0.5])
def test_drawn_blocks(source, tmp_path, share):
    """Of each region that share, in its class; void stays void."""
    blocks = np.zeros((40, 60), int)
    blocks[:, 20:40], blocks[:, 40:] = 24, 4  # unlabelled "static" at the right
    blocks[:, :20] = 7
    for path in source.rglob("aachen*.png"):
        save(path, blocks if "labelIds" in path.name else np.zeros((40, 60, 3)))
    runs = [
        convert("cityscapes", source, tmp_path / name, "--partial", "--share", share, "--seed", seed)
        for name, seed in (("a", 1), ("b", 1))
    ]
    first, again = (run.pixels("training", "aachen_000000_000019", "scribble") for run in runs)
    assert np.array_equal(first, again)
    for columns, label in ((slice(0, 20), 0), (slice(20, 40), 11)):
        part = first[:, columns]
        assert set(np.unique(part)) == {label, UNLABELED} and np.isclose((part == label).mean(), share, atol=0.01)
    assert (first[:, 40:] == VOID).all()
    assert "scribble" not in runs[0]["validation"][FRAMES["val"][0]]


@pytest.mark.parametrize("ids", [CLASSES, IDS], ids=["train ids", "label ids"])
def test_published_blocks(source, tmp_path, ids):
    """Tree Energy Loss: one folder without cities; which numbers are meant follows from the mask."""
    known = CLASSES != VOID
    labeled = known & (np.arange(48).reshape(6, 8) % 3 == 0)
    for frame in FRAMES["train"]:
        save(tmp_path / f"block20/{frame}_leftImg8bit.png", np.where(labeled, ids, 255))
    made = convert("cityscapes", source, tmp_path / "study", "--partial", "--blocks", tmp_path / "block20")
    scribble = made.pixels("training", FRAMES["train"][1], "scribble")
    assert np.array_equal(scribble, np.where(labeled, CLASSES, UNLABELED))


@pytest.mark.parametrize(
    ("options", "damage", "reason"),
    [
        ((), lambda root, blocks: None, "expected 2975 training cases, 500 validation cases, got 2"),
        (
            ("--partial", "--blocks"),
            lambda root, blocks: [
                save(blocks / f"{frame}.png", np.where(CLASSES == 3, 4, 255)) for frame in FRAMES["train"]
            ],
            "agree with the mask, got 100.0%",
        ),
        (
            ("--partial", "--blocks"),
            lambda root, blocks: [save(blocks / f"{s}/{FRAMES['train'][0]}.png", IDS) for s in "ab"],
            "one file of a name",
        ),
        (
            ("--partial",),
            lambda root, blocks: save(next(root.glob("gtFine/train/aachen/*labelIds.png")), IDS + 1),
            "got 34",
        ),
        (
            ("--partial",),
            lambda root, blocks: save(next(root.glob("gtFine/train/aachen/*labelIds.png")), IDS.T),
            "axes in another order",
        ),
        (("--partial", "--share", "1.5"), lambda root, blocks: None, "from 0 to 1"),
    ],
)
def test_bad_input(source, tmp_path, capsys, options, damage, reason):
    damage(source, tmp_path / "blocks")
    given = [*options, tmp_path / "blocks"] if "--blocks" in options else options
    assert reason in refusal(capsys, "cityscapes", source, tmp_path / "study", *given)
