# SPDX-License-Identifier: Apache-2.0
"""The examples in docstrings do what they show."""

from __future__ import annotations

import doctest
import importlib
import pkgutil

import pytest

import medwsss

MODULES = sorted(module.name for module in pkgutil.walk_packages(medwsss.__path__, "medwsss."))
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


@pytest.mark.parametrize("name", MODULES)
def test_examples(name, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)  # some write files
    runner = doctest.DocTestRunner()
    for test in examples(name):
        runner.run(test)
    assert not runner.summarize(verbose=False).failed, capsys.readouterr().out


def test_the_most_used_have_examples():
    having = {test.name for name in MODULES for test in examples(name)}
    assert len([name for name in having if "._" not in name]) >= LEAST, sorted(having)
