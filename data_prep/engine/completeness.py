# SPDX-License-Identifier: Apache-2.0
"""Is an official data set all there? What its layout asks for against what is on the disk."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence

from data_prep.engine.conversion import Case

_SHOWN = 10  # how many missing files an error lists


def add_partial_argument(parser: argparse.ArgumentParser) -> None:
    """The option of converters that know how many images there are."""
    parser.add_argument("--partial", action="store_true", help="convert what is there of an incomplete data set")


def existing(cases: Sequence[Case], expected: Mapping[str | None, int], partial: bool) -> list[Case]:
    """The cases that have all their files.

    Args:
        cases: what the layout asks for.
        expected: official number of cases a section; None: of those whose section a split decides.
        partial: whether to go on with less than that.

    Raises:
        ValueError: naming missing files and wrong numbers; with ``partial`` only where nothing is left to train on.
    """
    missing = [str(path) for case in cases for path in case.paths if not path.exists()]
    whole = [case for case in cases if all(path.exists() for path in case.paths)]
    found = {section: sum(case.section == section for case in whole) for section in expected}
    if missing or found != expected:
        wanted, got = (", ".join(f"{n} {section or ''} cases" for section, n in d.items()) for d in (expected, found))
        text = f"expected {wanted}, got {got}".replace("  ", " ")
        if missing:
            names = ", ".join(missing[:_SHOWN]) + (", …" if len(missing) > _SHOWN else "")
            text += f"; {len(missing)} files are missing: {names}"
        if not partial:
            raise ValueError(f"{text} (--partial converts what is there)")
        if not whole or found.get("training") == 0:
            raise ValueError(f"{text}: nothing to train on")
        print(f"partial: {text}")
    return whole
