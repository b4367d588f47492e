# SPDX-License-Identifier: Apache-2.0
"""Overrides of a bundle run that cannot work are errors; MONAI adds a mistyped ``--epoch 3`` without a word."""

from __future__ import annotations

import difflib
import inspect
import sys
from collections.abc import Callable, Sequence
from typing import Any

import fire
from monai.bundle import ConfigParser, ConfigWorkflow, create_workflow, run, update_kwargs
from monai.bundle.utils import DEFAULT_MLFLOW_SETTINGS

from medwsss.bundle.command_line import is_bundle_run


def check_override_names(argv: Sequence[str] | None = None) -> None:
    """Check the ``--name`` options of a ``python -m monai.bundle run …`` command.

    A top-level name must be a key of one of the config files or an argument of MONAI's ``run``; nested names
    (``net#channels``) are MONAI's to check. Any other command is left alone.

    Args:
        argv: the command's ``sys.argv`` (default).

    Raises:
        ValueError: for names that nobody would read, each with the closest name that exists.
    """
    argv = sys.argv if argv is None else argv
    if not is_bundle_run(argv):
        return

    # Fire itself reads the options, so that names and values arrive as they do in MONAI's ``run``
    options = fire.Fire(lambda *args, **options: options, command=list(argv[2:]), serialize=lambda _: None)
    options = update_kwargs(args=options.get("args_file"), **options)
    if "config_file" not in options:
        return

    known = set(ConfigParser.load_config_files(options["config_file"]))
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
    if messages:
        raise ValueError("expected overrides of names in the config, got " + "; ".join(messages))


def _arguments(function: Callable[..., Any]) -> list[str]:
    parameters = inspect.signature(function).parameters.values()
    return [p.name for p in parameters if p.kind is not p.VAR_KEYWORD]
