# SPDX-License-Identifier: Apache-2.0
"""A dataclass is a command line, and what of it decides about a study's files."""

from __future__ import annotations

import argparse
import dataclasses
import importlib
import json
from dataclasses import dataclass
from pathlib import Path

import pytest

from data_prep.__main__ import COMMANDS
from data_prep.engine.options import ConverterOptions, add_arguments, content_of, of, option, path_option
from tests.data_prep import trees


@dataclass(frozen=True, kw_only=True)
class Base:
    seed: int = option("of all (default: %(default)s)", default=3)
    quiet: bool = option("say nothing", default=False, content=False)


@dataclass(frozen=True, kw_only=True)
class Options(Base):
    source: Path = path_option("where from")
    name: str | None = option("a word", default=None, flag="--called", choices=("a", "b"))
    voxel_size: tuple[float, ...] = option("in mm", default=(1.0, 2.0), type=float, nargs=2)


@dataclass(frozen=True, kw_only=True)
class Positional:
    list: Path = path_option("a file", flag="list")
    values: tuple[int, ...] | None = option("some", default=None, type=int, nargs="*")


def parsed(kind, *words):
    parser = argparse.ArgumentParser(exit_on_error=False)
    add_arguments(parser, kind)
    return of(kind, parser.parse_args(words))


def test_defaults_and_values():
    made = parsed(Options, "--source", "x")
    assert made == Options(source=Path("x"), seed=3, quiet=False, name=None, voxel_size=(1.0, 2.0))
    made = parsed(Options, *"--source x --seed 4 --quiet --called b --voxel-size 5 6".split())
    assert made == Options(source=Path("x"), seed=4, quiet=True, name="b", voxel_size=(5.0, 6.0))
    assert isinstance(made.seed, int) and isinstance(made.source, Path)
    with pytest.raises(dataclasses.FrozenInstanceError):
        made.seed = 5


def test_by_position():
    assert parsed(Positional, "a.json") == Positional(list=Path("a.json"), values=None)
    assert parsed(Positional, "a.json", "--values", "1", "2").values == (1, 2)
    assert parsed(Positional, "a.json", "--values").values == ()


@pytest.mark.parametrize(
    "words, message", [("", "--source"), ("--source x --seed y", "--seed"), ("--source x --called c", "'a', 'b'")]
)
def test_what_does_not_fit_is_refused(capsys, words, message):
    with pytest.raises((SystemExit, argparse.ArgumentError)) as refused:
        parsed(Options, *words.split())
    assert message in str(refused.value) + capsys.readouterr().err


def test_files_depend_on_content_alone():
    made = parsed(Options, "--source", "x", "--quiet")
    assert content_of(made) == {"seed": 3, "name": None, "voxel_size": (1.0, 2.0)}
    assert json.loads(json.dumps(content_of(made)))["voxel_size"] == [1.0, 2.0]


def test_the_options_of_every_converter():
    """As they were when each was declared by hand."""
    made = parsed(ConverterOptions, "--source", "a", "--output", "b")
    assert content_of(made) == {"split": None, "fold": 1, "seed": 0, "validation_share": 0.2}
    assert (made.source, made.output, made.force) == (Path("a"), Path("b"), False) and made.workers >= 1


@pytest.mark.parametrize("command", [name for name in COMMANDS if name != "check"])
def test_what_decides_about_files_can_be_hashed(command):
    kind = importlib.import_module(COMMANDS[command][0]).Options
    needed = [each for each in dataclasses.fields(kind) if each.default is dataclasses.MISSING]
    options = kind(**{each.name: Path("somewhere") if each.type == "Path" else ("a",) for each in needed})
    assert "somewhere" not in json.dumps(content_of(options))


@pytest.mark.parametrize(
    ("options", "same"), [(("--workers", 2), True), (("--seed", 1), False), (("--fold", 2), False)]
)
def test_a_study_is_known_by_its_options(tmp_path, options, same):
    source = trees.decathlon(tmp_path / "source")
    one, two = (
        trees.convert("decathlon", source, tmp_path / name, *more)["fingerprint"]
        for name, more in (("one", ()), ("two", options))
    )
    assert (one == two) == same
