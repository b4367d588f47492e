# SPDX-License-Identifier: Apache-2.0
"""WORD: its official layout in miniature."""

from __future__ import annotations

import numpy as np
import pytest

from medwsss.keys import UNLABELED
from tests.data_prep import trees

COUNTS = {"Tr": 100, "Val": 20, "Ts": 30}


@pytest.fixture
def source(tmp_path):
    """All 150 names, a few voxels each."""
    number = 0
    for ending, count in COUNTS.items():
        for _ in range(count):
            number += 1
            name, root = f"word_{number:04d}.nii.gz", tmp_path / "WORD/WORD-V0.1.0"
            trees.save(root / f"images{ending}" / name, trees.image(number))
            trees.save(root / f"labels{ending}" / name, trees.dense(17))
    return tmp_path / "WORD"


def test_dense(source, tmp_path):
    content = trees.convert("word", source, tmp_path / "output", "--workers", 2)
    assert [len(content[section]) for section in ("training", "validation", "test")] == [100, 20, 30]
    assert content["num_classes"] == 17 and content["labels"]["16"] == "right head of femur"


@pytest.mark.parametrize("ignore, options", [(255, ()), (17, ("--ignore-value", 17))])
def test_scribbles(source, tmp_path, ignore, options):
    root = source / "WORD-V0.1.0"
    for path in (root / "imagesTr").iterdir():
        trees.save(root / "scribblesTr" / path.name, trees.scribble(17, ignore))
    content = trees.convert("word", root, tmp_path / "output", *options, "--workers", 2)
    scribble = trees.load(tmp_path / "output" / content["training"][7]["scribble"])[0]
    np.testing.assert_array_equal(scribble[..., 0], trees.dense(17)[..., 0])
    assert (scribble[..., 1:] == UNLABELED).all()
    assert "label" in content["training"][7] and "scribble" not in content["validation"][0]


def test_what_is_missing_is_named(source, tmp_path, capsys):
    (source / "WORD-V0.1.0/labelsVal/word_0110.nii.gz").unlink()
    (source / "WORD-V0.1.0/labelsTs").rename(tmp_path / "a_separate_archive")
    assert trees.run("word", source, tmp_path / "output") == 1
    error = capsys.readouterr().err
    assert "expected 100 training cases, 20 validation cases, got 100 training cases, 19" in error
    assert "labelsVal/word_0110" in error
