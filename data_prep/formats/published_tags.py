# SPDX-License-Identifier: Apache-2.0
"""Tags as data sets publish them: boxes or outlines with a class each, of which an image may have many."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from data_prep.engine.sources import read_text, visible
from medwsss.files import read_json
from medwsss.keys import IMAGE, LABEL, TAGS, UNLABELED
from medwsss.study.problems import raise_problems
from medwsss.study.tags import UNKNOWN_TAGS

__all__ = ["coco_content", "tags_by_size", "voc_content"]

_SECTIONS = {"training": "train", "validation": "val"}


def tags_by_size(sizes: Mapping[str, float], least: float) -> dict[str, list[str]]:
    """Tags of classes as large as that; those that are there and smaller are unknown."""
    found: dict[str, list[str]] = {TAGS: [name for name, size in sizes.items() if size and size >= least]}
    few = [name for name, size in sizes.items() if 0 < size < least]
    return found | ({UNKNOWN_TAGS: few} if few else {})


def coco_content(root: Path, least: float = 1) -> dict[str, Any]:
    """The list of a folder as COCO is published: annotations/instances_train2017.json, train2017/ and val likewise.

    A class of whose outlines the ``area`` adds up to fewer than ``least`` pixels is unknown; crowds count. Classes have
    the numbers 1, 2, … in the order of their identifiers, of which some are not in use.

    Raises:
        ValueError: naming the file, where there is not one of each section or it is something else.
    """
    content: dict[str, Any] = {"name": "COCO"}
    for section, word in _SECTIONS.items():
        files = visible(root / "annotations", f"instances_{word}*.json")
        if len(files) != 1:
            raise ValueError(
                f"expected one annotations/instances_{word}*.json in {root}, got {[f.name for f in files]}"
            )
        path = files[0]
        told = read_json(path, "COCO's instances")
        try:
            classes = {each["id"]: each["name"] for each in sorted(told["categories"], key=lambda each: each["id"])}
            areas: defaultdict[int, Counter[str]] = defaultdict(Counter)
            for each in told["annotations"]:
                areas[each["image_id"]][classes[each["category_id"]]] += each["area"]
            images = {each["id"]: each["file_name"] for each in told["images"]}
        except (KeyError, TypeError) as error:
            raise ValueError(
                f"expected categories, images and annotations as COCO has them, got {error!r} in {path}"
            ) from error
        labels = {"0": "background"} | {str(k): name for k, name in enumerate(classes.values(), 1)}
        if content.setdefault("labels", labels) != labels:
            raise ValueError(f"expected the same categories in both sections, got others in {path}")
        names = list(classes.values())
        folder = path.stem.removeprefix("instances_")
        content[section] = [
            {IMAGE: f"{folder}/{name}", **tags_by_size({k: areas[number][k] for k in names}, least)}
            for number, name in images.items()
        ]
    return content


def voc_content(root: Path, classes: Sequence[str]) -> dict[str, Any]:
    """The list of a folder as VOC2012 is published, of the images in ImageSets/Segmentation.

    A class is a tag where Annotations/NAME.xml has an object of it, and unknown where all of them are "difficult". Of
    training it takes trainaug.txt, the list with SBD's images, where that is there. Validation has its masks.

    Raises:
        ValueError: naming files that are not there, or that name no class.
    """
    content: dict[str, Any] = {"name": "PASCAL VOC 2012", "labels": {str(k): name for k, name in enumerate(classes)}}
    problems: list[str] = []
    lists = root / "ImageSets" / "Segmentation"
    for section, word in _SECTIONS.items():
        longer = lists / f"{word}aug.txt"
        file = longer if section == "training" and longer.is_file() else lists / f"{word}.txt"
        if not file.is_file():
            raise ValueError(f"expected a list of names, got no file {file}")
        content[section] = []
        for name in dict.fromkeys(read_text(file).split()):
            item: dict[str, Any] = {IMAGE: f"JPEGImages/{name}.jpg"}
            try:
                item |= _voc_tags(root / "Annotations" / f"{name}.xml", classes)
            except ValueError as error:
                problems.append(str(error))
            if section == "validation":
                item[LABEL] = f"SegmentationClass/{name}.png"
            content[section].append(item)
    raise_problems(problems)
    return {**content, "void_values": [UNLABELED]}  # the number that borders have in its masks


def _voc_tags(path: Path, classes: Sequence[str]) -> dict[str, list[str]]:
    try:
        objects: Iterable[Any] = ElementTree.parse(path).getroot().iterfind("object")
    except (OSError, ElementTree.ParseError) as error:
        raise ValueError(f"expected VOC's annotation of an image, got {error} in {path}") from error
    sizes: dict[str, float] = dict.fromkeys(classes[1:], 0)
    for each in objects:
        name = (each.findtext("name") or "").strip()
        if name not in sizes:
            raise ValueError(f"expected a class of VOC, got {name!r} in {path}")
        sizes[name] = max(sizes[name], 0.5 if (each.findtext("difficult") or "0").strip() == "1" else 1)
    return tags_by_size(sizes, 1)
