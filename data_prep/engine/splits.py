# SPDX-License-Identifier: Apache-2.0
"""Who trains and who validates: published splits by name, any other by seed; always whole patients.

============  =====  ====================================================================================
name          folds  fact
============  =====  ====================================================================================
acdc          5      WSL4MIS: of patients 1 to 100, fold K validates on 20(K−1)+1 … 20K and trains on the others
acdc_maag     1      the 35 training and 15 validation patients of MAAG, which ScribFormer uses ("MAAGfold")
acdc_maag70   1      the same 15, and 70 training patients ("MAAGfold70")
mscmr         1      CycleMix: 25 training, 5 validation, 15 test patients
============  =====  ====================================================================================

The papers behind the first three choose their best checkpoint on the validation patients and report on them too.
PASCAL VOC's lists (train_aug, val) are files of the data: its converter reads them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

SECTIONS = ("training", "validation", "test")


@dataclass(frozen=True)
class Split:
    """Patient numbers of the sections."""

    training: frozenset[int]
    validation: frozenset[int]
    test: frozenset[int] = frozenset()


def _numbers(text: str) -> frozenset[int]:
    return frozenset(map(int, text.split()))


_ACDC = frozenset(range(1, 101))
_ACDC_FOLDS = [frozenset(range(first, first + 20)) for first in range(1, 101, 20)]
_MAAG_TRAINING = _numbers(
    "4 6 14 19 21 26 28 31 35 37 38 43 45 46 50 52 53 54 56 59 61 63 69 71 74 88 89 90 91 93 94 97 98 99 100"
)
_MAAG_VALIDATION = _numbers("1 17 18 22 25 27 32 44 49 57 79 81 84 95 96")
_MAAG_MORE_TRAINING = _numbers(
    "2 3 7 8 9 11 12 13 15 16 20 23 29 33 34 40 42 47 48 51 55 58 62 65 66 67 68 70 75 76 83 85 86 87 92"
)

#: The folds of each published split.
SPLITS = {
    "acdc": [Split(_ACDC - held_out, held_out) for held_out in _ACDC_FOLDS],
    "acdc_maag": [Split(_MAAG_TRAINING, _MAAG_VALIDATION)],
    "acdc_maag70": [Split(_MAAG_TRAINING | _MAAG_MORE_TRAINING, _MAAG_VALIDATION)],
    "mscmr": [
        Split(
            _numbers("2 4 6 7 9 13 14 15 18 19 20 21 22 24 25 26 27 31 32 34 37 39 42 44 45"),
            _numbers("1 8 29 36 41"),
            _numbers("3 5 10 11 12 16 17 23 28 30 33 35 38 40 43"),
        )
    ],
}


def assign_sections(
    patients: Iterable[str], name: str | None = None, fold: int = 1, seed: int = 0, validation_share: float = 0.2
) -> dict[str, str]:
    """The section of each patient; patients a published split leaves out are left out.

    Args:
        patients: names; for a published split each holds its number, as ``patient007`` and ``subject7`` do.
        name: a key of :data:`SPLITS`; None: random.
        fold: 1, 2, … of a published split.
        seed: of a random split. It depends on the names and on nothing else.
        validation_share: of the patients of a random split: rounded, at least one, but never all of them.

    Raises:
        ValueError: for an unknown name or fold, a share outside 0 … 1, and for a published split without patients
            of its training or validation part.
    """
    names = sorted(set(patients))
    if name is None:
        if not 0 <= validation_share < 1:
            raise ValueError(f"expected a validation share of at least 0 and less than 1, got {validation_share}")
        held_out = min(max(1, round(validation_share * len(names))), len(names) - 1) if validation_share else 0
        order = np.random.default_rng(seed).permutation(len(names))
        return {names[index]: SECTIONS[rank < held_out] for rank, index in enumerate(order)}
    if name not in SPLITS:
        raise ValueError(f"expected a split of {', '.join(SPLITS)}, got {name}")
    if not 1 <= fold <= len(SPLITS[name]):
        raise ValueError(f"expected a fold from 1 to {len(SPLITS[name])} of split {name}, got {fold}")
    split = SPLITS[name][fold - 1]
    section_of = {number: section for section in SECTIONS for number in getattr(split, section)}
    sections = {patient: section_of[n] for patient in names if (n := _number(patient)) in section_of}
    for section in SECTIONS[:2]:
        if section not in sections.values():
            raise ValueError(f"expected {section} patients of split {name}, fold {fold}, got {names[:3]} … without any")
    return sections


def _number(patient: str) -> int | None:
    found = re.search(r"\d+", patient)
    return int(found[0]) if found else None
