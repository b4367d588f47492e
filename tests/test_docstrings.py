# SPDX-License-Identifier: Apache-2.0
"""Whatever the library offers says what it is for."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[1]
MODULES = sorted(path.relative_to(REPOSITORY) for path in REPOSITORY.glob("medwsss/**/*.py"))
DEFINITIONS = (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)


def undocumented(node, prefix=""):
    """Names of public functions, classes and methods without a docstring."""
    for child in node.body:
        if isinstance(child, DEFINITIONS) and not child.name.startswith("_"):
            if not ast.get_docstring(child):
                yield prefix + child.name
            if isinstance(child, ast.ClassDef):
                yield from undocumented(child, f"{prefix}{child.name}.")


@pytest.mark.parametrize("path", MODULES, ids=str)
def test_public_names_have_docstrings(path):
    missing = list(undocumented(ast.parse((REPOSITORY / path).read_text())))
    assert not missing


def test_a_method_without_one_is_seen():
    source = 'class A:\n    """A."""\n    def b(self): ...\n    def _c(self): ...\ndef d(): ...\n'
    assert list(undocumented(ast.parse(source))) == ["A.b", "d"]
