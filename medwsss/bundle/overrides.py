# SPDX-License-Identifier: Apache-2.0
"""What a bundle's command says: names that nobody would read are errors, and names of files are text.

MONAI adds a mistyped ``--epoch 3`` without a word, and Fire, which reads the command, makes a number of a folder
``20240501``, a list of ``[v1]``, and of ``out#1`` the folder ``out``.
"""

from __future__ import annotations

import difflib
import inspect
import os
import re
import sys
from collections.abc import Callable, Sequence
from typing import Any

import fire
from fire.decorators import SetParseFn
from monai.bundle import ConfigParser, ConfigWorkflow, create_workflow, run, update_kwargs
from monai.bundle.utils import DEFAULT_MLFLOW_SETTINGS

from medwsss.bundle.command_line import is_bundle_run
from medwsss.bundle.running import running_parser

__all__ = ["check_override_names", "take_names", "typed_options"]


def check_override_names(argv: Sequence[str] | None = None) -> None:
    """Check the ``--name`` options of a ``python -m monai.bundle run …`` command.

    A top-level name must be a key of one of the config files or an argument of MONAI's ``run``; nested names
    (``net#channels``) are MONAI's to check. ``None`` must not be meant to replace something: MONAI drops it. Any other
    command is left alone.

    Args:
        argv: the command's ``sys.argv`` (default).

    Raises:
        ValueError: for names that nobody would read, each with the closest name that exists, and for dropped values.
    """
    argv = sys.argv if argv is None else argv
    if not is_bundle_run(argv):
        return

    typed, options = _options(argv), typed_options(argv)
    if "config_file" not in options:
        return

    config = ConfigParser(ConfigParser.load_config_files(options["config_file"]))
    known = set(config.get())
    known |= {name for function in (run, create_workflow, ConfigWorkflow) for name in _arguments(function)}
    if "tracking" in options:
        configs: Any = DEFAULT_MLFLOW_SETTINGS["configs"]
        known |= set(configs)

    messages = []
    for name in options:
        if "#" in name or "::" in name or name.lstrip("+") in known:
            continue
        close = difflib.get_close_matches(name, known, n=1)
        messages.append(f"unknown override --{name}" + (f", did you mean --{close[0]}?" if close else ""))
    dropped = [name for name, value in typed.items() if value is None and not _is_text(config.get(name))]
    messages += [f"--{name} None, which MONAI drops: write '$None' for nothing" for name in dropped]
    if messages:
        raise ValueError("expected overrides of names in the config, got " + "; ".join(messages))


def typed_options(argv: Sequence[str]) -> dict[str, Any]:
    """``--name value`` of a ``python -m monai.bundle run …`` command and its ``args_file``; of any other, nothing."""
    if not is_bundle_run(argv):
        return {}
    typed = _options(argv)
    options: dict[str, Any] = update_kwargs(args=typed.get("args_file"), **typed)
    return options


def take_names(*names: str, argv: Sequence[str] | None = None) -> None:
    """Give options that are names of files, folders or keys the text that was typed. An expression calls this.

    An expression (``$…``) and what refers to another id (``@id``) are left to MONAI.

    Args:
        names: top-level ids; those that the configuration does not have are passed over.
        argv: the command's ``sys.argv`` (default).

    Raises:
        ValueError: for a value that is no name.
    """
    parser = running_parser()
    argv = sys.argv if argv is None else argv
    typed = _options(argv, str) if is_bundle_run(argv) else {}
    for name in names:
        if name not in parser:
            continue
        value, word = parser[name], typed.get(name)
        quoted = isinstance(value, str) and word is not None and word[:1] in "'\""
        if word is not None and not quoted and not (word == "None" and value is None):
            value = word
        elif isinstance(value, (os.PathLike, int)) and not isinstance(value, bool):
            value = os.fspath(value) if isinstance(value, os.PathLike) else str(value)
        if value is not None and not isinstance(value, str):
            raise ValueError(f"expected text for {name}, got {value!r}: put it in quotes")
        if value is not None and not value.strip():
            raise ValueError(f"expected a name for --{name}, got {value!r}")
        if value and not _is_evaluated(value, parser):
            parser.get()[name] = parser.ref_resolver.resolved_content[name] = value  # on its way MONAI writes :: for #


def _is_evaluated(text: str, parser: ConfigParser) -> bool:
    """Whether this is an expression or the id of something else, and not a name that begins like one."""
    if text[0] == "@":
        return text != "@" and text[1:].replace("#", "::") in parser.ref_resolver.items
    return text == "$None" or text[0] == "$" and re.fullmatch(r"\$\w*", text) is None


def _options(argv: Sequence[str], parse: Callable[[str], Any] | None = None) -> dict[str, Any]:
    """``--name value`` of a command, read by Fire itself, as MONAI's ``run`` gets them, or values by ``parse``."""

    def collect(*_: Any, **options: Any) -> dict[str, Any]:
        return options

    function = collect if parse is None else SetParseFn(parse)(collect)
    options: dict[str, Any] = fire.Fire(function, command=list(argv[2:]), serialize=lambda _: None)
    return options


def _is_text(value: Any) -> bool:
    """Whether ``None`` is a name in place of this (:func:`take_names`), or what there is already."""
    return value is None or isinstance(value, str) and value[:1] not in ("$", "@", "%")


def _arguments(function: Callable[..., Any]) -> list[str]:
    parameters = inspect.signature(function).parameters.values()
    return [p.name for p in parameters if p.kind is not p.VAR_KEYWORD]
