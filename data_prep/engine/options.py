# SPDX-License-Identifier: Apache-2.0
"""What a command is told: a frozen dataclass, of whose fields the command line is made.

Each command's module has one by the name ``Options``, which declares each option once::

    @dataclass(frozen=True, kw_only=True)
    class Options(ConverterOptions):
        blocks: Path | None = path_option("folder of published blocks", default=None)
        share: float = option("of each region's area (default: %(default)s)", default=0.2, metavar="X")
"""

from __future__ import annotations

import argparse
import os
from dataclasses import MISSING, dataclass, field, fields
from pathlib import Path
from typing import Any

from data_prep.engine.splits import SPLITS


def option(help: str, default: Any = MISSING, flag: str | None = None, content: bool = True, **keywords: Any) -> Any:
    """A field that is an option of the command line.

    Args:
        help: for a person.
        default: what it is if it is not given; without one, it has to be. ``False`` makes a switch.
        flag: by default the field's name with dashes; without dashes in front it is an argument by position.
        content: whether files depend on it, so that a study made with another value is another study. What says
            where and how does not count.
        keywords: more of ``ArgumentParser.add_argument``; ``type`` is by default that of a default that has one.
    """
    return field(default=default, metadata={"help": help, "flag": flag, "content": content, "keywords": keywords})


def path_option(help: str, default: Path | None = MISSING, **keywords: Any) -> Any:  # type: ignore[assignment]
    """An :func:`option` that says where."""
    return option(help, default, content=False, type=Path, **keywords)


@dataclass(frozen=True, kw_only=True)
class StudyOptions:
    """Of commands that write a study, case by case."""

    output: Path = path_option("folder for the study: absent, empty or unfinished")
    workers: int = option("processes (default: one a core)", default=os.cpu_count() or 1, content=False)
    allow_outside: bool = option(
        "accept files outside the source folder, as links to them are", default=False, content=False
    )
    force: bool = option("write into a folder that holds something else", default=False, content=False)


@dataclass(frozen=True, kw_only=True)
class ConverterOptions(StudyOptions):
    """Of every converter."""

    source: Path = path_option("folder of the data as published; only read")
    split: str | None = option(
        "a published split; default: the data's own, else random", default=None, choices=sorted(SPLITS)
    )
    fold: int = option("of a split with folds (default: %(default)s)", default=1, metavar="K")
    seed: int = option("of a random split, which is by patient (default: %(default)s)", default=0)
    validation_share: float = option("of a random split's patients (default: %(default)s)", default=0.2, metavar="X")


def add_arguments(parser: argparse.ArgumentParser, kind: Any) -> None:
    """An argument for each field of the dataclass ``kind``, those that have to be given first."""
    for each in sorted(fields(kind), key=lambda each: each.default is not MISSING):
        words = {"help": each.metadata["help"], **each.metadata["keywords"]}
        flag = each.metadata["flag"] or f"--{each.name.replace('_', '-')}"
        if flag.startswith("-"):
            words |= {"dest": each.name, "required": each.default is MISSING}
        else:
            flag, words = each.name, {"metavar": flag, **words}
        if each.default is not MISSING:
            words["default"] = each.default
        if each.default is False:
            words["action"] = "store_true"
        elif each.default not in (MISSING, None):
            words.setdefault("type", type(each.default))
        parser.add_argument(flag, **words)


def of(kind: Any, arguments: argparse.Namespace) -> Any:
    """The ``kind`` that a command line says; several values are a tuple."""
    values = {each.name: getattr(arguments, each.name) for each in fields(kind)}
    return kind(**{name: tuple(value) if isinstance(value, list) else value for name, value in values.items()})


def content_of(options: Any) -> dict[str, Any]:
    """The options on which files depend, by name."""
    return {each.name: getattr(options, each.name) for each in fields(options) if each.metadata["content"]}
