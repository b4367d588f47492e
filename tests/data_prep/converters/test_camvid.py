# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import shutil
from collections import Counter

import numpy as np
import pytest

from data_prep.converters.camvid import list_cases
from medwsss.keys import UNLABELED, VOID
from tests.data_prep.pictures import convert, photograph, pixels, refusal, save

RAW = np.repeat(np.arange(12), 16).reshape(12, 16).T.repeat(2, axis=0)  # a column a class; 11: void
FRAMES = {"train": ["0001TP_006690", "0016E5_00390"], "val": ["0016E5_07959"], "test": ["Seq05VD_f00000"]}
LAYOUTS = {"SegNet": ("{0}", "{0}annot", "png"), "images and labels": ("images/{0}", "labels/{0}", "jpg")}


@pytest.fixture(params=LAYOUTS)
def source(request, tmp_path):
    images, masks, suffix = LAYOUTS[request.param]
    for split, frames in FRAMES.items():
        for frame in frames:
            photograph(tmp_path / "camvid" / images.format(split) / f"{frame}.{suffix}", *RAW.shape)
            save(tmp_path / "camvid" / masks.format(split) / f"{frame}.png", RAW)
    return tmp_path / "camvid"


def test_sections_and_masks(source, tmp_path):
    made = convert("camvid", source, tmp_path / "study", "--partial")
    for split, section in (("train", "training"), ("val", "validation"), ("test", "test")):
        assert made.names(section) == FRAMES[split]
        assert np.array_equal(made.pixels(section, FRAMES[split][0], "label"), np.where(RAW == 11, VOID, RAW))
    assert [made.content["labels"][str(k)] for k in (0, 10)] == ["sky", "bicyclist"]


def test_annotations(source, tmp_path):
    drawn = {}
    for name, options in {
        "block": ("--annotation", "blocks", "--share", 0.25),
        "stroke": ("--annotation", "scribbles"),
        "short": ("--annotation", "scribbles", "--length-ratio", 0.5),
        "click": ("--annotation", "scribbles", "--length-ratio", 0),
    }.items():
        made = convert("camvid", source, tmp_path / name, "--partial", *options)
        drawn[name] = made.pixels("training", FRAMES["train"][0], "scribble")
        seeds = drawn[name] < VOID
        assert (drawn[name] == RAW)[seeds].all() and np.array_equal(drawn[name] == VOID, RAW == 11)
    counts = {name: np.bincount(array.ravel(), minlength=11)[:11].tolist() for name, array in drawn.items()}
    assert counts["block"] == [8] * 11  # a quarter of 32
    assert counts["click"] == [1] * 11
    assert all(a < b < c for a, b, c in zip(counts["click"], counts["short"], counts["stroke"]))
    assert (drawn["stroke"] == drawn["short"])[drawn["short"] != UNLABELED].all()


def test_strokes_follow_from_seed_and_name(source, tmp_path):
    """Whatever the number of processes."""
    for path in source.rglob("*.*"):  # room for a hand to tremble
        save(path, np.kron(pixels(path), np.ones((8, 8, 1)[: pixels(path).ndim])))
    runs = {
        name: convert("camvid", source, tmp_path / name, "--partial", "--seed", seed, "--workers", workers)
        for name, seed, workers in (("first", 0, 1), ("again", 0, 2), ("other", 1, 1))
    }
    one, two = (
        {name: run.pixels("training", frame, "scribble").tobytes() for name, run in runs.items()}
        for frame in FRAMES["train"]
    )
    for strokes in (one, two):
        assert strokes["first"] == strokes["again"] != strokes["other"]
    assert one["first"] != two["first"]  # though the masks are the same


def test_numbers_are_verified(source, tmp_path, capsys):
    message = refusal(capsys, "camvid", source, tmp_path / "study")
    assert "expected 367 training cases, 101 validation cases, 233 test cases, got 2" in message


def test_real_frames(shared_data, tmp_path):
    """Numbers of its README; a few frames of each section through the whole way."""
    real = shared_data / "camvid"
    cases = list_cases(real)
    assert Counter(case.section for case in cases) == {"training": 367, "validation": 101}
    chosen = [cases[0], cases[-1]]
    for case in chosen:
        for path in case.paths:
            target = tmp_path / "part" / path.relative_to(real)
            target.parent.mkdir(parents=True)
            shutil.copy(path, target)
    made = convert("camvid", tmp_path / "part", tmp_path / "study", "--partial")
    for case in chosen:
        raw, label = pixels(case.files["label"]), made.pixels(case.section, case.name, "label")
        assert np.array_equal(label, np.where(raw == 11, VOID, raw))
    scribble = made.pixels("training", chosen[0].name, "scribble")
    present = np.unique(pixels(chosen[0].files["label"]))
    assert set(np.unique(scribble)) == {*present[present < 11], UNLABELED, VOID}
    assert 0.001 < (scribble < VOID).mean() < 0.05
