# SPDX-License-Identifier: Apache-2.0
"""The shape of the code: who imports whom, how long, under what names, and what is never done."""

from __future__ import annotations

import ast
import re
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[1]
MODULES = sorted(
    path.relative_to(REPOSITORY) for folder in ("medwsss", "data_prep") for path in REPOSITORY.glob(f"{folder}/**/*.py")
)
LIBRARY = [path for path in MODULES if path.parts[0] == "medwsss"]
MAX_LINES = 250

# which of our own parts a part may import, itself apart
ALLOWED = {
    "keys": set(),
    "files": set(),
    "parallel": set(),
    "label_store": {"keys", "files"},
    "bundle": {"keys", "files", "study", "rasters"},
    "terms": {"keys"},
    "solvers": {"keys", "terms"},
    "losses": {"keys", "terms", "networks"},
    "study": {"keys", "files", "parallel"},
    "transforms": {"keys", "files", "label_store", "terms", "solvers", "study"},
    "reports": {"keys", "files"},
    "metrics": {"keys", "terms"},
    "handlers": {"keys", "files", "label_store", "terms", "networks", "solvers", "metrics", "reports"},
    "networks": {"keys"},
    "inferers": {"networks", "terms"},
    "rasters": {"keys", "files", "terms", "study", "transforms", "reports", "networks", "inferers"},
    "annotations": {"keys", "study", "rasters"},
    "nnunet": {"keys", "terms", "solvers", "losses", "metrics"},
    "blocks": {
        "keys",
        "files",
        "parallel",
        "label_store",
        "terms",
        "solvers",
        "study",
        "transforms",
        "rasters",
        "networks",
        "inferers",
        "bundle",
    },
    "engines": {"keys", "bundle"},
    "advice": {
        "keys",
        "files",
        "label_store",
        "terms",
        "study",
        "transforms",
        "reports",
        "handlers",
        "engines",
        "bundle",
    },
    "__init__": set(),
}
ALLOWED["experiments"] = set(ALLOWED) | {"data_prep"}
ALLOWED["data_prep"] = set(ALLOWED) - {"experiments"}
ALLOWED["__main__"] = set(ALLOWED)  # the door
# the mathematics has no other library than torch; Python's own are free
PURE = {"terms": {"torch", "numpy", "skimage"}, "solvers": {"torch", "numpy", "numba", "triton", "scipy", "skimage"}}


def tree(path):
    return ast.parse((REPOSITORY / path).read_text())


def part(path):
    """``medwsss/terms/energy.py`` → ``terms``."""
    return path.parts[0] if path.parts[0] == "data_prep" else path.with_suffix("").parts[1]


def imported(path):
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            yield str(node.module)


@pytest.mark.parametrize("path", MODULES, ids=str)
def test_import_direction(path):
    for name in imported(path):
        top, *rest = name.split(".")
        assert top not in ("bundles", "tests"), f"{path} imports {name}"
        if top == "medwsss":
            to = rest[0] if rest else "__init__"
            assert to == part(path) or to in ALLOWED[part(path)], f"{path} imports {name}"
        elif top == "data_prep":
            assert "data_prep" in {part(path), *ALLOWED[part(path)]}, f"{path} imports {name}"
        elif part(path) in PURE:
            assert top in PURE[part(path)] | sys.stdlib_module_names, f"{path} imports {name}"


def test_the_table_is_acyclic():
    """Each part comes after all that it imports."""
    left = dict(ALLOWED)
    while left:
        free = [name for name, needs in left.items() if not needs & left.keys()]
        assert free, f"a cycle among {sorted(left)}"
        for name in free:
            del left[name]


def file_of(name):
    """The module's path, or the package's ``__init__``; ``None`` for what is not ours."""
    path = Path(*name.split("."))
    return next((p for p in (path.with_suffix(".py"), path / "__init__.py") if p in MODULES), None)


def imported_files(path):
    """Files that a file imports at its top, where a circle could not be imported, and inside functions."""
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [f"{node.module}.{alias.name}" for alias in node.names] + [str(node.module)]
            # of "from package import name" it is the module if there is one, else what the package re-exports
            names = [name for name in names[:-1] if file_of(name)] or names[-1:]
        else:
            continue
        yield from (found for name in names if (found := file_of(name)) is not None)


def circle(graph):
    """Some files that import each other, or an empty list."""
    left = {file: set(to) - {file} for file, to in graph.items()}
    while free := [file for file, to in left.items() if not to & left.keys()]:
        for file in free:
            del left[file]
    return sorted(map(str, left))


def test_no_files_import_each_other_in_a_circle():
    assert circle({path: set(imported_files(path)) for path in MODULES}) == []


def test_a_circle_is_seen():
    assert circle({"a": {"b"}, "b": {"c"}, "c": {"a"}, "d": {"a"}}) == ["a", "b", "c", "d"]
    assert circle({"a": {"b", "c"}, "b": {"c"}, "c": set()}) == []


@pytest.mark.parametrize("path", MODULES, ids=str)
def test_length(path):
    assert len((REPOSITORY / path).read_text().splitlines()) <= MAX_LINES


@pytest.mark.parametrize("path", LIBRARY, ids=str)
def test_one_implementation_for_every_number_of_axes(path):
    kinds = (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    names = [path.stem, *(node.name for node in ast.walk(tree(path)) if isinstance(node, kinds))]
    assert not [name for name in names if re.search("[123][dD](?![a-z])", name)]


def called(node):
    """``torch.load`` of the call ``torch.load(…)``."""
    return ast.unparse(node.func) if isinstance(node, ast.Call) else ""


@pytest.mark.parametrize("path", MODULES, ids=str)
def test_nothing_is_run_that_came_as_data(path):
    for node in ast.walk(tree(path)):
        name = called(node)
        where = f"{path}:{getattr(node, 'lineno', 0)}: {name}"
        assert name not in ("eval", "exec", "yaml.load", "os.system", "compile"), where
        assert not name.startswith(("pickle.", "dill.", "marshal.", "shelve.")), where
        if isinstance(node, ast.Call):
            keywords = {keyword.arg: ast.unparse(keyword.value) for keyword in node.keywords}
            assert name != "torch.load" or keywords.get("weights_only") == "True", where
            assert keywords.get("allow_pickle", "False") == "False", where
            assert keywords.get("shell", "False") == "False", where


@pytest.mark.parametrize("path", [path for path in MODULES if path.name != "keys.py"], ids=str)
def test_special_labels_have_names(path):
    numbers = [node for node in ast.walk(tree(path)) if isinstance(node, ast.Constant)]
    label_like = [node for node in numbers if type(node.value) is int and node.value in (254, 255)]
    if path in (Path("data_prep/phantom.py"), Path("data_prep/scenes.py"), Path("medwsss/reports/pictures.py")):
        # the top of an 8-bit range, of grey values and colours
        label_like = [node for node in label_like if node.value == 254]
    assert not label_like, [node.lineno for node in label_like]


@pytest.mark.parametrize("path", MODULES, ids=str)
def test_head(path):
    lines = (REPOSITORY / path).read_text().splitlines()
    assert ast.get_docstring(tree(path))
    if path.name != "__init__.py":
        assert lines[0] == "# SPDX-License-Identifier: Apache-2.0"
        assert "from __future__ import annotations" in lines
