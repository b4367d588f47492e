# SPDX-License-Identifier: Apache-2.0
"""Which case trains, which validates: by the publisher, by a published split, or by seed and what a case has."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from data_prep.engine.options import ConverterOptions
from data_prep.engine.sources import Case
from data_prep.engine.splits import SECTIONS, assign_sections
from medwsss.keys import LABEL, SCRIBBLE
from medwsss.study.problems import raise_problems


def in_sections(cases: Sequence[Case], options: ConverterOptions) -> list[Case]:
    """The cases in their sections; those that a published split leaves out are left out.

    Where some cases have strokes and some have masks, patients with strokes alone train and patients with masks alone
    validate; a split of the others is by seed. Where no case has a mask, held-out strokes validate.

    Raises:
        ValueError: for patients some of whose images have strokes alone, some a mask alone.
    """
    free = [case for case in cases if options.split or case.section is None]
    sections = {} if options.split else _pinned(free)
    if patients := {case.patient for case in free} - sections.keys():
        sections |= assign_sections(patients, options.split, options.fold, options.seed, options.validation_share)
    placed = (replace(case, section=sections.get(case.patient, case.section)) for case in cases)
    return [case for case in placed if case.section and (case.patient in sections or not options.split)]


def unlike(cases: Sequence[Case]) -> list[str]:
    """What keeps one command from working on the cases of a section: all train, or are measured, by the same key."""
    problems = []
    for section, key, what in zip(SECTIONS, (SCRIBBLE, LABEL, LABEL), ("strokes", "a mask", "a mask")):
        files = [case for case in cases if case.section == section]
        lacking = [case.name for case in files if key not in case.files]
        if 0 < len(lacking) < len(files):
            problems.append(f"expected {what} for every case of {section} or for none, got none for {_listed(lacking)}")
    return problems


def _pinned(cases: Sequence[Case]) -> dict[str, str]:
    """``{patient: section}`` of those who lack what others have."""
    kinds = {key for case in cases for key in (LABEL, SCRIBBLE) if key in case.files}
    pinned: dict[str, str] = {}
    problems = []
    for case in cases:
        if len(kinds & case.files.keys()) < len(kinds):
            section = SECTIONS[SCRIBBLE not in case.files]
            if pinned.setdefault(case.patient, section) != section:
                problems.append(f"expected strokes, or a mask, for all images of a patient, got both of {case.patient}")
    raise_problems(list(dict.fromkeys(problems)))
    return pinned


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
