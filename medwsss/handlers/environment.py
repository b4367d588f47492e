# SPDX-License-Identifier: Apache-2.0
"""What made a result: versions, machine, and the command."""

from __future__ import annotations

import os
import platform
import shlex
import sys
from datetime import datetime, timezone
from importlib.metadata import PackageNotFoundError, version

import torch

__all__ = ["environment"]

PACKAGES = ("medwsss", "monai", "torch", "pytorch-ignite", "numpy", "scipy", "scikit-image", "nibabel")


def environment() -> dict[str, str]:
    """Name → value; the command is as it was typed, in the folder where it was."""
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else "none"
    return {
        "command": " ".join(["python", *map(_quoted, sys.orig_argv[1:])]),
        "folder": os.getcwd(),
        "time": datetime.now(timezone.utc).strftime("%Y-%m-%d %H:%M UTC"),
        "python": platform.python_version(),
        "system": platform.platform(),
        "processors": str(os.cpu_count()),
        "GPU": gpu,
        **{name: _version(name) for name in PACKAGES},
    }


def _quoted(word: str) -> str:
    """For a shell; a list in a command has single quotes in it, and reads better in double ones."""
    return '"%s"' % word if "'" in word and not set(word) & set('"$`\\!') else shlex.quote(word)


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed as a package"
