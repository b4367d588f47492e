# SPDX-License-Identifier: Apache-2.0
"""What a source folder shows."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from data_prep.engine.sources import read_text, visible

PACKAGE = Path(__file__).parents[3] / "data_prep"


def test_hidden_files_and_folders_are_left_out(tmp_path):
    names = ["b.png", "a.png", "._a.png", ".hidden/c.png", "d/e.png", "d/._e.png", "d/.f/g.png"]
    for name in names:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    assert [p.relative_to(tmp_path).as_posix() for p in visible(tmp_path, "**/*.png")] == ["a.png", "b.png", "d/e.png"]
    assert [path.name for path in visible(tmp_path, "*.png")] == ["a.png", "b.png"]
    hidden_parent = tmp_path / ".hidden"  # what a user names is not hidden
    assert [path.name for path in visible(hidden_parent, "*.png")] == ["c.png"]


def test_sources_are_searched_through_it_alone():
    """pathlib's globs match hidden files, a shell's do not."""
    found = {
        p.name for p in PACKAGE.rglob("*.py") if re.search(r"\.r?glob\(|iterdir\(|scandir\(", p.read_text("utf-8"))
    }
    assert found <= {"sources.py", "journal.py", "nnunet_raw.py"}  # the others look into the output


def test_text_in_another_encoding_is_named(tmp_path):
    (tmp_path / "a.txt").write_bytes("für".encode("latin-1"))
    with pytest.raises(ValueError, match="expected text in UTF-8, got .*a.txt"):
        read_text(tmp_path / "a.txt")
