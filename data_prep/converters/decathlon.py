# SPDX-License-Identifier: Apache-2.0
"""Any task of the Medical Segmentation Decathlon, and data in its layout::

    dataset.json    labels {"0": "background", …}, modality {"0": "MRI", …}, training [{"image": …, "label": …}, …]
    imagesTr/       NAME.nii.gz, channels last where there are several
    labelsTr/       NAME.nii.gz, dense masks

The official lists have no validation section (and a ``test`` section of bare names, without labels): a fifth of the
cases becomes one, by seed. Lists that go further are understood: a ``validation`` section is kept, an item may name a
``scribble`` (with ``scribble_ignore_value`` in the list), beside a label or instead of one, its dense mask as ``mask``
and its ``patient``.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from data_prep.engine.conversion import convert
from data_prep.engine.description import check_count, count_channels, names_by_number
from data_prep.engine.options import ConverterOptions
from data_prep.engine.sources import Case, Dataset
from data_prep.engine.splits import SECTIONS
from data_prep.formats.volumes import volume_files
from medwsss.files import read_json
from medwsss.keys import IMAGE, LABEL, SCRIBBLE
from medwsss.study.readers import stem_of
from medwsss.transforms import MapWeakLabels

Options = ConverterOptions


def run(options: Options) -> int:
    """Convert."""
    path = options.source / "dataset.json"
    description = read_json(path, "a description of the data")
    labels = class_names(description, path)
    channels = count_channels(description, path, default=1)
    make = partial(
        volume_files,
        labels=MapWeakLabels(len(labels)),
        scribbles=MapWeakLabels(len(labels), description.get("scribble_ignore_value", ())),
        in_channels=channels,
    )
    items = {section: description[section] for section in SECTIONS[:2] if description.get(section)}
    if wrong := [section for section, listed in items.items() if not isinstance(listed, list)]:
        raise ValueError(f"expected lists of items, got something else as {' and '.join(wrong)} in {path}")
    published = "validation" in items
    cases = [_case(path, item, section if published else None) for section in items for item in items[section]]
    check_count(description, len(items.get("training", ())), "items", path)
    name = str(description.get("name", options.source.name))
    return convert(Dataset(name, labels, cases, make, [options.source], in_channels=channels), options)


def class_names(description: Mapping[str, Any], path: Path) -> list[str]:
    """Names of the classes 0 … K−1 by the list's ``labels``.

    Raises:
        ValueError: for numbers with gaps, two names of a number, and names without a number.
    """
    names = names_by_number(description, path)
    if sorted(names) != list(range(len(names))):
        raise ValueError(f"expected labels 0, 1, … in {path}, got {sorted(names)}")
    return [names[k] for k in sorted(names)]


def _case(path: Path, item: Any, section: str | None) -> Case:
    keys = item.keys() & {IMAGE, LABEL, SCRIBBLE, "mask"} if isinstance(item, dict) else set()
    if IMAGE not in keys or keys == {IMAGE} or not all(isinstance(item[key], str) for key in keys):
        raise ValueError(f"expected an image and a label, or a scribble, by their file names, got {item} in {path}")
    named = {IMAGE: item[IMAGE], LABEL: item.get("mask", item.get(LABEL)), SCRIBBLE: item.get(SCRIBBLE)}
    if named[SCRIBBLE] == named[LABEL]:  # a list may train with its scribbles as labels
        del named[LABEL]
    elif section == "validation" and named[LABEL]:
        del named[SCRIBBLE]
    files = {key: path.parent / value for key, value in named.items() if value}
    name = stem_of(files[IMAGE])
    return Case(name, str(item.get("patient", name)), files, section)
