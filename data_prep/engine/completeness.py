# SPDX-License-Identifier: Apache-2.0
"""Is an official data set all there? What its layout asks for against what is on the disk."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from data_prep.engine.options import ConverterOptions, option
from data_prep.engine.sources import Case

_SHOWN = 10  # how many missing files an error lists


@dataclass(frozen=True, kw_only=True)
class PartialOptions(ConverterOptions):
    """Of converters that know how many images there are."""

    partial: bool = option("convert what is there of an incomplete data set", default=False)


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
