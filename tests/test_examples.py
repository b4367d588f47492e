# SPDX-License-Identifier: Apache-2.0
"""The examples in docstrings and documents do what they show."""

from __future__ import annotations

import doctest
import importlib
import pkgutil
from pathlib import Path

import pytest

import medwsss

MODULES = sorted(module.name for module in pkgutil.walk_packages(medwsss.__path__, "medwsss."))
DOCUMENTS = [path for path in sorted(Path(__file__).parents[1].glob("docs/*.md")) if ">>>" in path.read_text("utf-8")]
LEAST = 10  # objects with an example


def examples(name):
    """The examples of a module, by object; those that need a library that is not installed are skipped."""
    try:
        module = importlib.import_module(name)
    except ModuleNotFoundError as error:
        if str(error.name).startswith("medwsss"):
            raise
        pytest.skip(f"{name} needs {error.name}")
    return [test for test in doctest.DocTestFinder(exclude_empty=True).find(module) if test.examples]


def check(tests, folder, monkeypatch, capsys):
    """Run them in a folder of their own: some write files."""
    monkeypatch.chdir(folder)
    runner = doctest.DocTestRunner()
    for test in tests:
        runner.run(test)
    assert not runner.summarize(verbose=False).failed, capsys.readouterr().out


@pytest.mark.parametrize("name", MODULES)
def test_docstrings(name, tmp_path, monkeypatch, capsys):
    check(examples(name), tmp_path, monkeypatch, capsys)


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_documents(path, tmp_path, monkeypatch, capsys):
    test = doctest.DocTestParser().get_doctest(path.read_text("utf-8"), {}, path.name, str(path), 0)
    check([test], tmp_path, monkeypatch, capsys)


def test_the_most_used_have_examples():
    having = {test.name for name in MODULES for test in examples(name)}
    assert len([name for name in having if "._" not in name]) >= LEAST, sorted(having)
