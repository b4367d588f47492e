# SPDX-License-Identifier: Apache-2.0
"""Any task of the Medical Segmentation Decathlon, and data in its layout::

    dataset.json    labels {"0": "background", …}, modality {"0": "MRI", …}, training [{"image": …, "label": …}, …]
    imagesTr/       NAME.nii.gz, channels last where there are several
    labelsTr/       NAME.nii.gz, dense masks

The official lists have no validation section (and a ``test`` section of bare names, without labels): a fifth of the
cases becomes one, by seed. Lists that go further are understood: a ``validation`` section is kept, an item may name a
``scribble`` (with ``scribble_ignore_value`` in the list), its dense mask as ``mask`` and its ``patient``.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from data_prep.engine.conversion import convert
from data_prep.engine.options import ConverterOptions
from data_prep.engine.sources import Case, Dataset
from data_prep.engine.splits import SECTIONS
from data_prep.formats.volumes import volume_files
from medwsss.files import read_json
from medwsss.keys import IMAGE, LABEL, SCRIBBLE
from medwsss.study.datalist import label_names
from medwsss.study.readers import stem_of
from medwsss.transforms import MapWeakLabels

Options = ConverterOptions


def run(options: Options) -> int:
    """Convert."""
    source = options.source
    description = read_json(source / "dataset.json", "a description of the data")
    labels = class_names(description, source)
    ignored = description.get("scribble_ignore_value", ())
    channels = max(1, len(description.get("modality", ())))
    make = partial(
        volume_files,
        labels=MapWeakLabels(len(labels)),
        scribbles=MapWeakLabels(len(labels), ignored),
        in_channels=channels,
    )
    sections = [section for section in SECTIONS[:2] if description.get(section)]
    cases = [
        _case(source, item, section if "validation" in sections else None)
        for section in sections
        for item in description[section]
    ]
    expected = description.get("numTraining", len(description.get("training", ())))
    if (found := len(description.get("training", ()))) != expected:
        raise ValueError(f"expected numTraining = {expected} items in {source / 'dataset.json'}, got {found}")
    name = str(description.get("name", source.name))
    return convert(Dataset(name, labels, cases, make, [source], in_channels=channels), options)


def class_names(description: Mapping[str, Any], source: Path) -> list[str]:
    """Names of the classes 0 … K−1 by the list's ``labels``.

    Raises:
        ValueError: for numbers with gaps, two names of a number, and names without a number.
    """
    path = source / "dataset.json"
    try:
        names = label_names(description)
    except ValueError as error:
        raise ValueError(f"{error} in {path}") from error
    if not names or sorted(names) != list(range(len(description["labels"]))):
        raise ValueError(f"expected labels 0, 1, … in {path}, got {sorted(names)}")
    return [names[k] for k in sorted(names)]


def _case(source: Path, item: Mapping[str, str], section: str | None) -> Case:
    if missing := {IMAGE, LABEL} - item.keys():
        raise ValueError(
            f"expected image and label, got an item without {missing} in {source / 'dataset.json'}: {item}"
        )
    files = {IMAGE: source / item[IMAGE], LABEL: source / item.get("mask", item[LABEL])}
    if section != "validation" and SCRIBBLE in item:
        files[SCRIBBLE] = source / item[SCRIBBLE]
    if files.get(SCRIBBLE) == files[LABEL]:  # a list may train with its scribbles as labels
        del files[LABEL]
    name = stem_of(files[IMAGE])
    return Case(name, item.get("patient", name), files, section)
