# SPDX-License-Identifier: Apache-2.0
"""Scenes: same bytes for the same seed, and tags that say what masks show."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image

from data_prep.__main__ import main
from data_prep.scenes import CLASSES, make_scenes, scene
from medwsss.study import check_study, label_mapper


def test_a_study_is_what_it_says(tmp_path):
    path = make_scenes(tmp_path / "study", 20, 6, size=48)
    report = check_study(path, label_mapper(path)).accepted()
    assert report.warnings == [] and report.cases == 26
    for item in json.loads(path.read_text())["training"]:
        mask = np.asarray(Image.open(path.parent / item["label"]))
        assert item["tags"] == [CLASSES[k] for k in np.unique(mask) if k]
    again = make_scenes(tmp_path / "again", 3, 1, size=48)
    for name in ("images/training_0002.png", "labels/validation_0000.png"):
        assert (again.parent / name).read_bytes() == (path.parent / name).read_bytes()


def test_the_color_of_a_body_says_nothing_of_its_class_and_its_mark_does():
    """Of many bodies, mean colours of the classes agree; rows of stripes along are even, of others not."""
    colors, rows = {k: [] for k in range(1, len(CLASSES))}, {k: [] for k in range(1, len(CLASSES))}
    for index in range(70):
        image, mask = scene(np.random.default_rng(index))
        for k in np.unique(mask)[1:]:
            body = np.where(mask[..., None] == k, image.astype(float), np.nan)
            colors[k].append(np.nanmedian(body, (0, 1)))
            across, along = (np.nanmean(np.abs(np.diff(body, axis=a))) for a in (0, 1))
            rows[k].append(across / along)
    medians = [np.mean(values, 0) for values in colors.values()]
    spread = np.std(np.concatenate(list(colors.values())), 0) / np.sqrt(min(map(len, colors.values())))
    assert (np.ptp(medians, 0) < 5 * spread).all()
    assert min(rows[1]) > 1.3 and max(rows[2]) < 1 / 1.3 and 0.7 < np.median(rows[3]) < 1.4


def test_a_folder_in_use_is_left_alone(tmp_path, capsys):
    (tmp_path / "mine.txt").write_text("")
    assert main(["scenes", "--output", str(tmp_path), "--training", "1", "--validation", "1"]) == 1
    assert "expected" in capsys.readouterr().err


def test_masks_of_marked_bodies_alone():
    """Scenes differ, some are empty, and unmarked bodies are background."""
    masks = [scene(np.random.default_rng(index), 64)[1] for index in range(30)]
    assert {k for mask in masks for k in np.unique(mask)} == set(range(len(CLASSES)))
    assert any(not mask.any() for mask in masks)


@pytest.mark.parametrize("size", [48, 96])
def test_shapes(size):
    image, mask = scene(np.random.default_rng(0), size)
    assert image.shape == (size, size, 3) and mask.shape == (size, size) and image.dtype == mask.dtype == np.uint8
