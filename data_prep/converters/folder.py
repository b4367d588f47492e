# SPDX-License-Identifier: Apache-2.0
"""Any folder of images with a folder of masks (NIfTI, PNG, JPEG, BMP, TIFF, NPY), by name::

    python -m data_prep folder --source DIR --labels labels.json --output STUDY
    python -m data_prep folder --source DIR --images scans --image-pattern '(.+)_img\\.png' \\
        --masks manual --mask-pattern '(.+)_mask\\.png' --labels labels.json --output STUDY

Files of one key belong together. Their key is the first group of the pattern, which has to match the whole path below
their folder, or all of it without a group; without a pattern, that path without its suffix. A pattern leaves out what
it does not match.

labels.json names the classes in their order, by the value or the colour they have in the masks, and the values that
are no class: nobody annotated them (ignore_values), or there is no image (void_values)::

    {"labels": {"other": 0, "road": 1}, "ignore_values": [2], "void_values": []}
    {"labels": {"water": [226, 169, 41], "land": [132, 41, 246]}, "ignore_values": [[0, 0, 0]]}

    {"labels": {"water": [1, 0], "land": [0, 1]}, "ignore_values": [[0, 0]]}        one band, 0 or 1, a class

Palette pictures count by their indices. Of NPY files, two axes are rows and columns, three a volume. Images with
strokes (--scribbles) need no mask: where others have both, those with strokes alone train, those with a mask alone
validate; the rest is split by seed, whole patients (--patient-pattern). Where nothing has a mask, strokes validate.
"""

from __future__ import annotations

import argparse
import re
import unicodedata
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from data_prep.engine.conversion import convert
from data_prep.engine.options import ConverterOptions, option, path_option
from data_prep.engine.sources import Case, Dataset, visible
from data_prep.formats.pictures import files_by, is_turned, load, may_hold_void, picture_files
from data_prep.formats.volumes import volume_files
from medwsss.files import read_json
from medwsss.keys import IMAGE, LABEL, SCRIBBLE
from medwsss.study.grid import is_nifti
from medwsss.study.problems import raise_problems
from medwsss.study.readers import SUFFIXES, suffix_of
from medwsss.transforms import MapWeakLabels

MASKS = "labels"  #: where they are, if nobody says


def _regex(text: str) -> str:
    try:
        re.compile(text)
    except re.error as error:
        raise argparse.ArgumentTypeError(f"expected a regular expression, got {text}: {error}") from error
    return text


def _pattern(help: str) -> Any:
    return option(help, default=None, type=_regex, metavar="REGEX")


@dataclass(frozen=True, kw_only=True)
class Options(ConverterOptions):
    """Of the command."""

    images: str = option("below the source (default: %(default)s)", default="images", metavar="DIR")
    masks: str | None = option(
        "below the source (default: labels; with --scribbles, if there is one)", default=None, metavar="DIR"
    )
    scribbles: str | None = option("below the source (default: none)", default=None, metavar="DIR")
    image_pattern: str | None = _pattern("of the images; its first group is the key")
    mask_pattern: str | None = _pattern("of the masks; its first group is the key")
    scribble_pattern: str | None = _pattern("of the scribbles; its first group is the key")
    patient_pattern: str | None = _pattern("what of a key is the patient (default: all of it)")
    labels: Path = path_option("what values of the masks mean", metavar="FILE")


def run(options: Options) -> int:
    """Convert."""
    table = read_json(options.labels, "a table of labels")
    names, labels = read_labels(table, options.labels)
    patterns = {IMAGE: options.image_pattern, LABEL: options.mask_pattern, SCRIBBLE: options.scribble_pattern}
    folders = {IMAGE: options.images, LABEL: options.masks, SCRIBBLE: options.scribbles}
    if options.masks is None and (options.scribbles is None or (options.source / MASKS).is_dir()):
        folders[LABEL] = MASKS
    roots = {key: options.source / folder for key, folder in folders.items() if folder}
    found = {key: find_files(root, patterns[key]) for key, root in roots.items()}
    cases = match(found, options.patient_pattern)
    first = load(cases[0].paths[0])
    spatial_dims, in_channels = first.ndim - 1, len(first)
    if all(map(is_nifti, cases[0].paths)):
        in_channels = 1  # as many would make a file of four axes, of which nothing says what the fourth one is
        make = partial(volume_files, labels=labels, scribbles=labels)
    else:
        make = partial(
            picture_files, labels=labels, scribbles=labels, in_channels=in_channels, spatial_dims=spatial_dims
        )
    void = bool(table.get("void_values")) or may_hold_void(cases)
    if turned := [path for case in cases for path in case.paths if is_turned(path)]:
        print(
            f"note: {len(turned)} pictures are stored in another orientation than they are displayed in (EXIF), "
            f"{turned[0]} first: their masks and strokes have to be as displayed"
        )
    name = options.source.resolve().name
    return convert(
        Dataset(name, names, cases, make, list(roots.values()), spatial_dims, in_channels, void, table), options
    )


def read_labels(table: Mapping[str, Any], path: Path) -> tuple[list[str], MapWeakLabels]:
    """Names of the classes, and what values mean.

    Raises:
        ValueError: for a table that is not as the module says.
    """
    labels = table.get("labels")
    if not isinstance(labels, dict) or not labels or table.keys() - {"labels", "ignore_values", "void_values"}:
        raise ValueError(f"expected labels (name: value), ignore_values and void_values, got {table} in {path}")
    others = [table.get(key, []) for key in ("ignore_values", "void_values")]
    ignored, void = (value if isinstance(value, list) else [value] for value in others)
    values = [*labels.values(), *ignored, *void]
    kinds = {len(value) if isinstance(value, list) else type(value) for value in values}
    lists = [value for value in values if isinstance(value, list)]
    numbers = [number for value in lists for number in value]
    meaning: dict[str, Any] = {}
    if len(kinds) == 1 and numbers and all(type(number) is int for number in numbers):
        meaning = {"colors": list(labels.values())}
    elif kinds == {int} and len(set(labels.values())) == len(labels):
        meaning = {"mapping": {value: k for k, value in enumerate(labels.values())}}
    else:
        raise ValueError(
            "expected a value for each class, or a list of one length (a colour [r, g, b], one 0/1 band a class), "
            f"none twice, got {table} in {path}"
        )
    try:
        return list(labels), MapWeakLabels(len(labels), ignored, void, **meaning)
    except ValueError as error:
        raise ValueError(f"{error} in {path}") from error


def find_files(folder: Path, pattern: str | None) -> dict[str, Path]:
    """The files in ``folder`` by key.

    Raises:
        ValueError: for none, saying what is there, and for two of one key.
    """
    if not folder.is_dir():
        raise ValueError(f"expected a folder, got none at {folder}")
    keys, others = {}, Counter[str]()
    for path in filter(Path.is_file, visible(folder, "**/*")):
        suffix, name = suffix_of(path), path.relative_to(folder).as_posix()
        matched = re.fullmatch(pattern or f"(.+){re.escape(suffix)}", name, 0 if pattern else re.IGNORECASE)
        if suffix.lower() in SUFFIXES and matched:
            keys[path] = unicodedata.normalize("NFC", _group(matched))  # macOS writes an umlaut as two characters
        else:
            others[suffix or "without an ending"] += 1
    if not keys:
        raise ValueError(
            f"expected files ({', '.join(SUFFIXES)}) that match {pattern or 'by suffix'}, got none in {folder}"
            + _instead(others)
        )
    try:
        return files_by(keys, keys.__getitem__)
    except ValueError as error:
        raise ValueError(f"{error}: a pattern leaves files out; one map a class has to become one map") from error


def _instead(others: Mapping[str, int]) -> str:
    """What a folder holds that is not wanted."""
    if not others:
        return ", which holds no files"
    listed = ", ".join(f"{count} {suffix}" for suffix, count in sorted(others.items()))
    known = any(suffix.lower() in SUFFIXES for suffix in others)
    return f", but {listed}" + ("" if known else ": convert them to pictures or volumes of labels first")


def match(found: Mapping[str, Mapping[str, Path]], patient_pattern: str | None) -> list[Case]:
    """A case an image.

    Raises:
        ValueError: a line each for images without mask and strokes, masks and strokes without image, and keys in which
            the pattern finds no patient.
    """
    images = found[IMAGE]
    problems, cases = [], []
    for kind in found.keys() - {IMAGE}:
        problems += [
            f"expected an image for {path}, got none" for key, path in found[kind].items() if key not in images
        ]
    for key, image in sorted(images.items()):
        files = {kind: found[kind][key] for kind in (IMAGE, LABEL, SCRIBBLE) if key in found.get(kind, ())}
        patient = re.search(patient_pattern, key) if patient_pattern else None
        if len(files) == 1:
            problems.append(f"expected a mask or strokes for {image}, got none")
        if patient_pattern and not patient:
            problems.append(f"expected {patient_pattern} to find the patient, got none in {key}")
        whose = _group(patient) if patient else key
        cases.append(Case(key.replace("/", "_"), whose, files))
    raise_problems(problems)
    return cases


def _group(matched: re.Match[str]) -> str:
    """The first group, or all of the match if there is none."""
    return matched[min(matched.re.groups, 1)]
