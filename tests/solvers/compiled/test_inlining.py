# SPDX-License-Identifier: Apache-2.0
"""What is compiled once is what every process runs."""

from __future__ import annotations

import ast
import inspect

import pytest
from numba.core.dispatcher import Dispatcher

from medwsss.solvers.compiled import arithmetic, cells, kernel, similarities

FUNCTIONS = {
    name: value
    for module in (arithmetic, similarities, kernel, cells)
    for name, value in vars(module).items()
    if isinstance(value, Dispatcher)
}
ENTRIES = sorted(name for name, function in FUNCTIONS.items() if function.targetoptions.get("inline") != "always")


def test_entries_are_those_that_python_calls():
    assert ENTRIES == ["fix", "interpolate", "merge", "sweep"]


@pytest.mark.parametrize("name", FUNCTIONS)
def test_all_versions_of_a_loop_round_alike(name):
    """Reassociation, contraction and reciprocals would not: two equal solves had other last bits, by where the
    allocator put their buffers."""
    assert FUNCTIONS[name].targetoptions["fastmath"] == {"nnan", "ninf", "nsz"}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_no_compiled_function_calls_another(name):
    """The process that compiles would run the callee's own machine code, others the copy in the cached caller, which
    is optimised anew: other last bits in the first run than in all later ones."""
    called = {node.id for node in ast.walk(ast.parse(inspect.getsource(FUNCTIONS[name].py_func))) if _is_name(node)}
    assert called.isdisjoint(set(ENTRIES) - {name})


def _is_name(node: ast.AST) -> bool:
    return isinstance(node, ast.Name)
