# SPDX-License-Identifier: Apache-2.0
"""A raw data set of nnU-Net v2, NIfTI, dense or with an ignore label, and ScribbleBench in both of its variants::

    dataset.json                 labels {"background": 0, …, "ignore": K}, channel_names, file_ending, numTraining
    imagesTr/CASE_0000.nii.gz    a file a channel
    labelsTr/CASE.nii.gz         dense masks; scribbles where labels name an "ignore" value
    labelsTr_dense/CASE.nii.gz   ScribbleBench: dense masks beside the scribbles; optional
    imagesTs/, labelsTs/         become the test section where both are there

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
from data_prep.engine.options import ConverterOptions, option
from data_prep.engine.sources import Case, Dataset
from data_prep.formats.encoding import NIFTI
from data_prep.formats.volumes import load_volume, volume_files
from medwsss.files import read_json
from medwsss.keys import IMAGE, LABEL, SCRIBBLE
from medwsss.study.datalist import label_names
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
    source = options.source
    description = read_json(source / "dataset.json", "a description of the data")
    ending = description.get("file_ending")
    if ending not in NIFTI:
        raise ValueError(f"expected file_ending {' or '.join(NIFTI)} in {source / 'dataset.json'}, got {ending}")
    classes, ignore = _classes(description, source)
    masks = sorted((source / "labelsTr").glob(f"*{ending}"))
    inverted = ignore is None and _holds(masks, len(classes))
    sparse = ignore is not None or inverted
    cases = _cases(source, masks, ending, description, sparse, options.patient_pattern)
    if "numTraining" in description and (expected := description["numTraining"]) != len(masks):
        raise ValueError(f"expected numTraining = {expected} files in {source / 'labelsTr'}, got {len(masks)}")
    schema = SCHEMAS["scribblebench_inverted" if inverted else "scribblebench"](len(classes))
    make = partial(volume_files, labels=MapWeakLabels(len(classes)), scribbles=MapWeakLabels.of(schema))
    name = str(description.get("name", source.name))
    channels = len(description["channel_names"])
    return convert(Dataset(name, classes, cases, make, [source], in_channels=channels), options)


def _classes(description: Mapping[str, Any], source: Path) -> tuple[list[str], int | None]:
    """Names of the classes 0 … K−1, and the ignore label K if there is one."""
    labels = description.get("labels") or {}
    names = {} if any(isinstance(value, list) for value in labels.values()) else label_names(description)
    ignore = next((number for number, name in names.items() if name == "ignore"), None)
    classes = [names[number] for number in sorted(names) if number != ignore]
    if not classes or sorted(names) != list(range(len(labels))) or ignore not in (None, len(classes)):
        raise ValueError(
            f"expected labels 0, 1, … (no regions) and, if any, the next number for ignore in "
            f"{source / 'dataset.json'}, got {labels}"
        )
    return classes, ignore


def _holds(masks: Iterable[Path], value: int) -> bool:
    return any((np.asanyarray(load_volume(path).dataobj) == value).any() for path in masks)


def _cases(
    source: Path, masks: list[Path], ending: str, description: dict[str, Any], sparse: bool, pattern: str
) -> list[Case]:
    tests = sorted((source / "labelsTs").glob(f"*{ending}")) if (source / "imagesTs").is_dir() else []
    cases = []
    for mask in [*masks, *tests]:
        name, training = mask.name.removesuffix(ending), mask.parent.name == "labelsTr"
        images = source / ("imagesTr" if training else "imagesTs")
        channels = tuple(images / f"{name}_{k:04d}{ending}" for k in range(len(description["channel_names"])))
        files: dict[str, Path | tuple[Path, ...]] = {IMAGE: channels if len(channels) > 1 else channels[0]}
        files[SCRIBBLE if sparse and training else LABEL] = mask
        if training and sparse and (dense := source / "labelsTr_dense" / mask.name).exists():
            files[LABEL] = dense
        if (found := re.fullmatch(pattern, name)) is None:
            raise ValueError(f"expected names that match {pattern}, got {name}")
        cases.append(Case(name, found[1], files, None if training else "test"))
    known = {path.name for case in cases for path in case.paths}
    if extra := [path.name for path in sorted((source / "imagesTr").glob(f"*{ending}")) if path.name not in known]:
        raise ValueError(
            f"expected a mask in {source / 'labelsTr'} for each image, got none for {', '.join(extra[:5])}"
        )
    return cases
