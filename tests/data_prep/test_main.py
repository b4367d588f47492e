# SPDX-License-Identifier: Apache-2.0
"""The door to all commands opens without what lies behind."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

from data_prep.__main__ import COMMANDS, main, parser_of

HEAVY = {"torch", "monai", "nibabel", "scipy"}
CONVERTERS = Path(__file__).parents[2] / "data_prep" / "converters"


def imported_by(code):
    """Top-level modules of a fresh process that ran ``code``."""
    ended = subprocess.run(
        [sys.executable, "-c", f"{code}\nimport sys; print(*sys.modules)"],
        cwd=CONVERTERS.parents[1],
        capture_output=True,
        text=True,
        check=True,
    )
    return {name.partition(".")[0] for name in ended.stdout.split()}


def test_help_needs_nothing_heavy():
    modules = imported_by("from data_prep.__main__ import parser_of; parser_of(['--help'], 'data_prep')")
    assert "data_prep" in modules and not modules & HEAVY


def test_a_row_for_each_converter():
    rows = {module.rpartition(".")[2] for module, _ in COMMANDS.values() if ".converters." in module}
    assert rows == {path.stem for path in CONVERTERS.glob("*.py")} - {"__init__"}
    assert all(importlib.util.find_spec(module) for module, _ in COMMANDS.values())


def test_only_the_command_asked_for_is_declared():
    _, none = parser_of(["--help"], "prog")
    _, command = parser_of(["phantom", "--seed", "1"], "prog")
    assert none is None and command.__name__ == "data_prep.phantom"


@pytest.mark.parametrize("words", [[], ["nothing"], ["phantom"]])
def test_a_line_that_asks_for_nothing_ends_with_its_usage(capsys, words):
    with pytest.raises(SystemExit) as ended:
        main(words, prog="somewhere")
    assert ended.value.code == 2 and "usage: somewhere" in capsys.readouterr().err
