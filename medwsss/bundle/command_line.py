# SPDX-License-Identifier: Apache-2.0
"""What the person at ``python -m monai.bundle run …`` sees when something is wrong."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType


def is_bundle_run(argv: Sequence[str]) -> bool:
    """Whether ``argv`` is that of ``python -m monai.bundle run …``."""
    return Path(argv[0]).parts[-3:] == ("monai", "bundle", "__main__.py") and argv[1:2] == ["run"]


def show_cause_last() -> None:
    """End the report of an uncaught error with its cause.

    MONAI wraps what goes wrong in a config into ``RuntimeError: Failed to evaluate ConfigExpression …``, often several
    times over, so the message that helps is a hundred lines up. The traceback stays, and Python callers get the
    exception as it is; only ``python -m monai.bundle run`` is changed.
    """
    if is_bundle_run(sys.argv):
        sys.excepthook = _cause_last


def cause_of(error: BaseException) -> BaseException:
    """What went wrong, without MONAI's wrappers around it."""
    while type(error) is RuntimeError and error.__cause__ is not None:
        error = error.__cause__
    return error


def _cause_last(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    sys.__excepthook__(kind, error, trace)
    cause = cause_of(error)
    if cause is not error:
        print(f"\n{type(cause).__name__}: {cause}", file=sys.stderr)
