# SPDX-License-Identifier: Apache-2.0
"""Everything that is wrong with a user's data, in one error."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

__all__ = ["briefly", "raise_problems"]

_SHOWN = 5  # of a kind
_PARTICULAR = re.compile(r"\S*[/\\]\S*|'[^']*'|\d[\d.,]*")  # files, names and numbers: the rest is the kind


def briefly(problems: Iterable[str]) -> list[str]:
    """The first few of each kind, and how many more there are: problems are of a kind that differ in files and numbers.

    Example:
        >>> briefly(f"expected 2 axes, got {n} in /data/{n}.png" for n in range(9))[4:]
        ['expected 2 axes, got 4 in /data/4.png', '... and 4 more like it']
    """
    kinds: dict[str, list[str]] = {}
    for problem in problems:
        kinds.setdefault(_PARTICULAR.sub("*", problem), []).append(problem)
    told = []
    for each in kinds.values():
        more = len(each) - _SHOWN
        told += each if more <= 1 else [*each[:_SHOWN], f"... and {more} more like it"]
    return told


def raise_problems(problems: Sequence[str]) -> None:
    """Raise one ``ValueError`` that lists ``problems`` :func:`briefly`, a line each; nothing where there are none."""
    if problems:
        raise ValueError(f"expected usable data, got {len(problems)} problems:\n" + "\n".join(briefly(problems)))
