# SPDX-License-Identifier: Apache-2.0
"""Overrides of a bundle run that cannot work are errors; MONAI adds a mistyped ``--epoch 3`` without a word."""

from __future__ import annotations

import difflib
import inspect
import math
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
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


def check_patch_size(
    patch_size: Sequence[int], spatial_dims: int, channels: Sequence[int], strides: Sequence[int | Sequence[int]]
) -> None:
    """Check that patches fit the U-Net: as many numbers as axes, divisible by the product of an axis' strides.

    Raises:
        ValueError: naming what does not fit, and sizes that would.
    """
    if len(strides) != len(channels) - 1:
        raise ValueError(f"expected one stride fewer than channels {list(channels)}, got {list(strides)}")
    if len(patch_size) != spatial_dims:
        raise ValueError(f"expected a patch_size of {spatial_dims} numbers (spatial_dims), got {list(patch_size)}")
    factors = [math.prod(s if isinstance(s, int) else s[axis] for s in strides) for axis in range(spatial_dims)]
    if any(size < 1 or size % factor for size, factor in zip(patch_size, factors)):
        fitting = [max(1, round(size / factor)) * factor for size, factor in zip(patch_size, factors)]
        raise ValueError(
            f"expected a patch_size divisible by {factors}, the product of the strides, got {list(patch_size)}; "
            f"{fitting} would do"
        )


def check_dataset_dir(dataset_dir: str | None) -> None:
    """Check that the folder of a study is given and has a data list.

    Raises:
        ValueError: saying how to make one.
    """
    if dataset_dir is None or not (Path(dataset_dir) / "dataset.json").is_file():
        given = "no --dataset_dir" if dataset_dir is None else f"none in {dataset_dir}"
        raise ValueError(
            f"expected --dataset_dir, a folder with a dataset.json, got {given}; "
            "python -m data_prep voc|cityscapes|ade20k|camvid|folder makes one (--help says how)"
        )


def _arguments(function: Callable[..., Any]) -> list[str]:
    parameters = inspect.signature(function).parameters.values()
    return [p.name for p in parameters if p.kind is not p.VAR_KEYWORD]
