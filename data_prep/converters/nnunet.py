# SPDX-License-Identifier: Apache-2.0
"""A raw data set of nnU-Net v2, NIfTI, dense or with an ignore label, and ScribbleBench in both of its variants::

    dataset.json                 labels {"background": 0, …, "ignore": K}, channel_names, file_ending, numTraining
    imagesTr/CASE_0000.nii.gz    a file a channel
    labelsTr/CASE.nii.gz         dense masks; scribbles where labels name an "ignore" value
    labelsTr_dense/CASE.nii.gz   ScribbleBench: dense masks beside the scribbles; optional
    imagesTs/, labelsTs/         become the test section where both are there

Without any dense mask, the strokes of a fifth of the patients are held out and validate (--validation-share 0: none).
The first version's description (modality, no file_ending) is understood.

ScribbleBench's inverted variant (``--disable_ignore``) writes 0 where nothing is labelled and K for background, and its
``dataset.json`` has no "ignore". A mask that holds K gives it away; without a look, background and nothing would swap.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from data_prep.engine.conversion import convert
from data_prep.engine.description import check_count, count_channels, names_by_number
from data_prep.engine.options import ConverterOptions, option
from data_prep.engine.sources import Case, Dataset, visible
from data_prep.formats.volumes import load_volume, volume_files
from medwsss.files import read_json
from medwsss.keys import IMAGE, LABEL, SCRIBBLE
from medwsss.study.grid import NIFTI
from medwsss.transforms import SCHEMAS, MapWeakLabels


@dataclass(frozen=True, kw_only=True)
class Options(ConverterOptions):
    """Of the command."""

    patient_pattern: str = option(
        "whose first group in a case's name is the patient (default: all but a final _frame and digits)",
        default=r"(.+?)(?:_frame\d+)?",
        metavar="REGEX",
    )


def run(options: Options) -> int:
    """Convert."""
    source, path = options.source, options.source / "dataset.json"
    description = read_json(path, "a description of the data")
    ending = description.get("file_ending", NIFTI[0])  # the first version had no other and did not say so
    if ending not in NIFTI:
        raise ValueError(f"expected file_ending {' or '.join(NIFTI)} in {path}, got {ending}")
    classes, ignore = _classes(description, path)
    channels = count_channels(description, path)
    masks = visible(source / "labelsTr", f"*{ending}")
    inverted = ignore is None and _holds(masks, len(classes))
    sparse = ignore is not None or inverted
    cases = _cases(source, masks, ending, channels, sparse, options.patient_pattern)
    check_count(description, len(masks), f"files in {source / 'labelsTr'}", path)
    schema = SCHEMAS["scribblebench_inverted" if inverted else "scribblebench"](len(classes))
    dense = MapWeakLabels(len(classes), () if ignore is None else ignore)
    make = partial(volume_files, labels=dense, scribbles=MapWeakLabels.of(schema))
    name = str(description.get("name", source.name))
    return convert(Dataset(name, classes, cases, make, [source], in_channels=channels), options)


def _classes(description: Mapping[str, Any], path: Path) -> tuple[list[str], int | None]:
    """Names of the classes 0 … K−1, and the ignore label K if there is one."""
    labels = description.get("labels")
    if isinstance(labels, dict) and any(isinstance(value, list) for value in labels.values()):
        raise ValueError(f"expected labels 0, 1, … (no regions) in {path}, got {labels}")
    names = names_by_number(description, path)
    ignore = next((number for number, name in names.items() if name == "ignore"), None)
    classes = [names[number] for number in sorted(names) if number != ignore]
    if not classes or sorted(names) != list(range(len(names))) or ignore not in (None, len(classes)):
        raise ValueError(f"expected labels 0, 1, … and, if any, the next number for ignore in {path}, got {labels}")
    return classes, ignore


def _holds(masks: Iterable[Path], value: int) -> bool:
    return any((np.asanyarray(load_volume(path).dataobj) == value).any() for path in masks)


def _cases(source: Path, masks: list[Path], ending: str, channels: int, sparse: bool, pattern: str) -> list[Case]:
    tests = visible(source / "labelsTs", f"*{ending}") if (source / "imagesTs").is_dir() else []
    cases = []
    for mask in [*masks, *tests]:
        name, training = mask.name.removesuffix(ending), mask.parent.name == "labelsTr"
        images = source / ("imagesTr" if training else "imagesTs")
        parts = tuple(images / f"{name}_{k:04d}{ending}" for k in range(channels))
        files: dict[str, Path | tuple[Path, ...]] = {IMAGE: parts if channels > 1 else parts[0]}
        files[SCRIBBLE if sparse and training else LABEL] = mask
        if training and sparse and (dense := source / "labelsTr_dense" / mask.name).exists():
            files[LABEL] = dense
        if (found := re.fullmatch(pattern, name)) is None:
            raise ValueError(f"expected names that match {pattern}, got {name}")
        cases.append(Case(name, found[1], files, None if training else "test"))
    known = {path.name for case in cases for path in case.paths}
    if extra := [path.name for path in visible(source / "imagesTr", f"*{ending}") if path.name not in known]:
        raise ValueError(
            f"expected a mask in {source / 'labelsTr'} for each image, got none for {', '.join(extra[:5])}"
        )
    return cases
