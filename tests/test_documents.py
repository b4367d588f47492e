# SPDX-License-Identifier: Apache-2.0
"""Documents name what is there: links, files, commands."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

import pytest

from tests.test_architecture import ALLOWED

REPOSITORY = Path(__file__).parents[1]
DOCUMENTS = sorted(
    path.relative_to(REPOSITORY)
    for pattern in ("*.md", "docs/**/*.md", "bundles/**/*.md")
    for path in REPOSITORY.glob(pattern)
)
MAX_LINES = 120  # of README: two screens at most

LINK = re.compile(r"\]\(([^)\s]+)\)")
COMMAND = re.compile(r"python\s+-m\s+([\w.]*\w)")  # a line may end between the words
FILE = re.compile(r"`((?:medwsss|data_prep|tests|bundles|docs)/[\w/.]+)`")


def text(path):
    return (REPOSITORY / path).read_text(encoding="utf-8")


@pytest.mark.parametrize("path", DOCUMENTS, ids=str)
def test_links_lead_somewhere(path):
    targets = [link.partition("#")[0] for link in LINK.findall(text(path)) if "://" not in link]
    assert [target for target in targets if not (REPOSITORY / path.parent / target).exists()] == []


@pytest.mark.parametrize("path", DOCUMENTS, ids=str)
def test_files_that_are_named_exist(path):
    assert [name for name in FILE.findall(text(path)) if not (REPOSITORY / name).exists()] == []


@pytest.mark.parametrize("path", DOCUMENTS, ids=str)
def test_commands_can_be_found(path):
    modules = set(COMMAND.findall(text(path)))
    assert sorted(module for module in modules if not found(module)) == []


def found(module):
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:  # its package is not there either
        return False


def test_the_table_of_the_layout_is_the_import_rule():
    rows = re.findall(r"^\| `(\w+)(?:/|\.py)` \| .* \| ([^|]+) \|$", text("CONTRIBUTING.md"), re.MULTILINE)
    told = {name: set(re.findall(r"`(\w+)`", imports)) for name, imports in rows if not imports.startswith("all")}
    everything = {"experiments", "data_prep", "__init__", "__main__"}  # told in words
    assert told.pop("bundles") == set() and told == {k: v for k, v in ALLOWED.items() if k not in everything}


def test_readme_is_short():
    assert len(text("README.md").splitlines()) <= MAX_LINES


def test_what_is_missing_is_seen():
    assert LINK.findall("see [a page](docs/none.md) and ![a picture](b.png)") == ["docs/none.md", "b.png"]
    assert COMMAND.findall("`python -m\ntests.none --x 1`, `python -m data_prep.`") == ["tests.none", "data_prep"]
    assert FILE.findall("`medwsss/none.py` and `docs/`") == ["medwsss/none.py"]
    assert not found("tests.none") and not found("nobody.none") and found("tests.benchmarks.solver")
