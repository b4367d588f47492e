# SPDX-License-Identifier: Apache-2.0
"""Whom the items of a data list show, by its own word or by the names of their files; and who is in two sections."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from monai.utils import ensure_tuple

from medwsss.keys import IMAGE
from medwsss.study.readers import stem_of

__all__ = ["SPLIT", "find_shared", "patient_of", "patients_by_image", "patients_of", "split_by_features"]

SPLIT = "split"  #: key of a data list: by what its sections are apart

_SUBJECT = re.compile(r"sub-[A-Za-z0-9]+")  # BIDS
_KINDS = (  # of pictures: modality, phase, side, and what a picture is called
    r"[a-z]|t[12](w|c|ce|gd)?|t1km|flair|pd|dwi|adc|ct|cta|mra?|pet|lge|bssfp|cine|bold|fat|water|inphase|outphase|"
    r"in|out|ed|es|left|right|od|os|image|img|scan|volume|vol|orig|data|leftimg8bit"
)
_PARTS = (  # of a picture or a recording: what carries a number
    r"frame|fr|f|slice|sl|z|time|t|phase|ph|ses|session|visit|run|acq|rec|echo|scan|series|channel|ch|c|modality|"
    r"crop|patch|tile|part|view"
)
_SUFFIX = re.compile(rf"[\s_.-](({_KINDS})|[a-z]+|({_PARTS})[-_]?\d+([-_]\d+)*)$", re.IGNORECASE)
_BARE = re.compile(rf"({_KINDS})|({_PARTS})[-_]?\d*([-_]\d+)*", re.IGNORECASE)  # a name that names nobody
_NUMBER = re.compile(r"[_-]\d+$")
_WHO = re.compile(r"\d{3}|(patient|pat|subject|subj|case)[_-]?\d", re.IGNORECASE)  # an identifier
_DATE = re.compile(r"(19|20)\d\d([-_.]?[01]\d([-_.]?[0-3]\d)?)?")
_ALL = 0.8  # a guess that takes more of the items for one patient's than this has found the name of the data set


def patient_of(item: Mapping[str, Any]) -> tuple[str, bool]:
    """Whom an item shows, and whether the list says so.

    By its ``patient`` key; else its image's name without what tells the pictures of one patient apart (frame, slice,
    time, session, modality, channel, and words) at the end, where a name with a number is left: ``patient022`` of
    ``patient022_frame01.nii.gz``, ``sub-07`` of ``sub-07_ses-02_T1w.nii``. A number alone at the end
    (``BraTS20_Training_001``) is the case's, and dates are nobody's.
    """
    if "patient" in item:
        return str(item["patient"]), True
    path = _path(item)
    if subject := _SUBJECT.match(path.name):
        return subject.group(), False
    stem = whole = stem_of(path)
    while (shorter := _SUFFIX.sub("", stem)) != stem:
        stem = shorter
    named = re.search(r"\d", _DATE.sub("", stem)) and not _BARE.fullmatch(stem)
    stem = stem if named else whole
    return (stem if re.search(r"\d", stem) else path.name), False


def patients_of(items: Sequence[Mapping[str, Any]]) -> list[tuple[str, bool]]:
    """:py:func:`patient_of` each item, with what only the whole list tells.

    Where files are called alike (``p01/image.nii``, ``p02/image.nii``), patients are their folders. A number at the end
    (``0016E5_07961``) is a frame's, if what is before it has an identifier (three digits that are no date, or
    ``patient`` and a number), unless that makes one patient of nearly all items.
    """
    guessed = [patient_of(item) for item in items]
    paths = [_path(item) for item, (_, certain) in zip(items, guessed) if not certain]
    alike = len({path.name for path in paths}) <= len(paths) / 2
    shorter = [_sequence(patient) for patient, _ in guessed]
    sizes = Counter(name for name, (_, certain) in zip(shorter, guessed) if not certain)
    names = []
    for item, (patient, certain), sequence in zip(items, guessed, shorter):
        if not certain and alike:
            patient = str(_path(item).parent)
        elif not certain and sizes[sequence] <= _ALL * len(paths):
            patient = sequence
        names.append((patient, certain))
    return names


def patients_by_image(items: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """:py:func:`patients_of` items by the name of each one's image, or the first file of it.

    Example:
        >>> patients_by_image([{"image": "p022_frame01.nii.gz"}, {"image": ["a_0.nii", "a_1.nii"], "patient": 7}])
        {'p022_frame01.nii.gz': 'p022', 'a_0.nii': '7'}
    """
    return {str(ensure_tuple(item[IMAGE])[0]): patient for item, (patient, _) in zip(items, patients_of(items))}


def _sequence(name: str) -> str:
    stem = _NUMBER.sub("", stem_of(name))
    return stem if _WHO.search(_DATE.sub("", stem)) else name


def _path(item: Mapping[str, Any]) -> Path:
    return Path(str(ensure_tuple(item.get(IMAGE))[0]))


def split_by_features(content: Mapping[str, Any]) -> bool:
    """Whether the sections of a list show the same images, apart from each other by their labels alone."""
    split = content.get(SPLIT)
    return isinstance(split, Mapping) and split.get("by") == "features"


def find_shared(content: Mapping[str, Any], sections: Sequence[str]) -> tuple[list[str], list[str]]:
    """Files and patients that are in more than one of the sections: errors, and what is only guessed, as warnings."""
    errors, doubts = [], []
    if split_by_features(content):
        gap = content[SPLIT].get("gap")
        return [], [f"validation shows the images of training, at labels {gap} pixels or more from those that train"]
    seen: dict[tuple[str, str], str] = {}
    told: set[tuple[str, str, str]] = set()
    items = [(section, item) for section in sections for item in content[section] if isinstance(item, dict)]
    for (section, item), (patient, certain) in zip(items, patients_of([item for _, item in items])):
        for kind, name in (("image", str(item.get(IMAGE))), ("patient", patient)):
            first = seen.setdefault((kind, name), section)
            if first == section or (kind, name, section) in told:
                continue
            told.add((kind, name, section))
            text = f"expected every {kind} in one section, got {name} in {first} and in {section}"
            if kind == "image" or certain:
                errors.append(text)
            else:
                doubts.append(f"{text} (by the file's name; the key 'patient' would tell)")
    return errors, doubts
