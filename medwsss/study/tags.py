# SPDX-License-Identifier: Apache-2.0
"""Tags of a data list: which classes an image shows, as lists of names, and what of them nobody can learn from."""

from __future__ import annotations

import difflib
import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from monai.config import PathLike
from torch import Tensor

from medwsss.files import read_json
from medwsss.keys import IMAGE, LABEL, SLICE, SLICE_AXIS, TAGS
from medwsss.study.datalist import load_datalist, section_of
from medwsss.study.declared import declared_labels, read_class_names
from medwsss.study.problems import raise_problems

__all__ = [
    "TagSchema",
    "check_tags",
    "contradiction",
    "is_tagged",
    "load_tagged",
    "miscounted_slices",
    "read_slices",
    "read_tags",
    "tag_schema",
]

UNKNOWN_TAGS = "unknown_tags"
SLICE_TAGS = "slice_tags"
_RARE = 0.01  # a tag of fewer images is one that a network hardly meets


@dataclass(frozen=True)
class TagSchema:
    """The tags that a data list may name, in the order of a network's outputs."""

    names: tuple[str, ...]
    background: bool  #: class 0 is a background, which is no tag, and tag ``c`` is class ``c + 1``
    path: str  #: of the list
    slice_axis: int | None = None  #: what has tags are not images but slices of volumes, across this axis

    def __len__(self) -> int:
        return len(self.names)


def tag_schema(path: PathLike) -> TagSchema:
    """Tags are the classes of ``labels`` but for class 0, or all of them where the list says ``"background": false``.

    Raises:
        ValueError: naming the file, where there is no tag left, and for an axis of slices that no volume has.
    """
    content = read_json(path, "a data list")
    background = content.get("background", True)
    if not isinstance(background, bool):
        raise ValueError(f'expected "background": false or true (whether class 0 is one), got {background!r} in {path}')
    names = read_class_names(path, declared_labels(path).num_classes)[int(background) :]
    if not names:
        raise ValueError(f"expected labels of a background and one tag at least, got no tag in {path}")
    sliced = any(is_tagged(content, name, SLICE_TAGS) for name in content)
    axis = content.get(SLICE_AXIS, 2)
    if sliced and (type(axis) is not int or not 0 <= axis < 3):
        raise ValueError(f"expected {SLICE_AXIS!r} of 0, 1 or 2, across which slices lie, got {axis!r} in {path}")
    return TagSchema(tuple(names), background, str(path), axis if sliced else None)


def is_tagged(content: Mapping[str, Any], section: str = "training", *keys: str) -> bool:
    """Whether items of a section have tags, of images or of slices, or one of ``keys`` at least."""
    items = content.get(section)
    wanted = {*keys} or {TAGS, SLICE_TAGS}
    return isinstance(items, list) and any(isinstance(item, dict) and wanted & item.keys() for item in items)


def read_tags(item: Any, where: str, schema: TagSchema, needed: bool = True) -> tuple[list[float], list[str]]:
    """1, 0 or NaN for each tag of an item, and what is wrong with them.

    An item says ``"tags": ["cat"]``, by names or class numbers, and ``"unknown_tags": ["dog"]`` of what nobody looked
    for. No tag at all is ``[]``; an item without ``tags`` is of unknown tags, where they are not ``needed``.
    """
    values, problems = [0.0] * len(schema), []
    told = item if isinstance(item, Mapping) else {}
    if TAGS not in told:
        text = f"{where}: expected {TAGS!r}, a list (empty where the image shows none), got none"
        return [math.nan] * len(schema), [text] if needed else []
    for key, value in ((TAGS, 1.0), (UNKNOWN_TAGS, math.nan)):
        given = told.get(key, [])
        if not isinstance(given, list):
            hint = f", did you mean [{given!r}]?" if isinstance(given, str) else ""
            problems.append(f"{where}[{key!r}]: expected a list of tags, got {given!r}{hint}")
            continue
        for tag in given:
            index = _index(tag, schema)
            if isinstance(index, str):
                problems.append(f"{where}[{key!r}]: {index}")
            elif values[index] != 0:
                problems.append(f"{where}[{key!r}]: expected each tag once, got {tag!r} again")
            else:
                values[index] = value
    return values, problems


def read_slices(item: Any, where: str, schema: TagSchema, needed: bool = True) -> tuple[list[list[float]], list[str]]:
    """:func:`read_tags` of each sample that an item is: of the image, or of each slice of a volume.

    An item of slices says ``"slice_tags": [["cat"], [], null]``, one entry a slice: a list, ``null`` of a slice that
    nobody looked at, or ``{"tags": ["cat"], "unknown_tags": ["dog"]}``.
    """
    told = item if isinstance(item, Mapping) else {}
    if schema.slice_axis is None:
        tags, problems = read_tags(item, where, schema, needed)
        return [tags], problems
    entries = told.get(SLICE_TAGS)
    if TAGS in told or UNKNOWN_TAGS in told or not isinstance(entries, list) or not entries:
        got = repr(entries) if SLICE_TAGS in told and TAGS not in told else f"{sorted(told)}"
        return [], [f"{where}: expected {SLICE_TAGS!r} alone, a list with an entry for each slice, got {got}"]
    samples, problems = [], []
    for index, entry in enumerate(entries):
        place = f"{where}[{SLICE_TAGS!r}][{index}]"
        each = entry if isinstance(entry, Mapping) else {} if entry is None else {TAGS: entry}
        tags, wrong = read_tags(each, place, schema, needed=entry is not None)
        samples.append(tags)
        problems += wrong
    return samples, problems


def _index(tag: Any, schema: TagSchema) -> int | str:
    """Of a tag's name or class number, or why it is none."""
    first = int(schema.background)
    if tag in ("background", 0) and not isinstance(tag, bool) and schema.background:
        return f"expected classes that an image may lack, got the background {tag!r}, which every image has"
    if isinstance(tag, str) and tag in schema.names:
        return schema.names.index(tag)
    if type(tag) is int and 0 <= tag - first < len(schema):
        return tag - first
    close = difflib.get_close_matches(tag, schema.names, n=1) if isinstance(tag, str) else []
    hint = f", did you mean {close[0]!r}?" if close else ""
    return f"expected a tag of {', '.join(schema.names)} or a class number, got {tag!r}{hint}"


def load_tagged(
    path: PathLike, section: str = "training", allow_outside: bool = False, whole: bool = False
) -> list[dict[str, Any]]:
    """The items of a section with ``image``, ``tags`` (1, 0 or NaN each) and, where they all have one, ``label``.

    Training items need tags; those of other sections without any are of unknown tags. Where slices have tags, each of
    them is an item, with ``slice`` and ``slice_axis``; ``whole`` volumes have ``tags`` of all their slices in a row.

    Raises:
        ValueError: a line each for what is wrong, naming the file, the item and the value.
    """
    schema, content = tag_schema(path), read_json(path, "a data list")
    if not content.get(section) and section == "validation":
        return []
    items = section_of(content, section, path)
    keys = [IMAGE, *[LABEL] * all(isinstance(item, dict) and LABEL in item for item in items)]
    loaded, problems = load_datalist(path, section, keys, allow_outside), []
    for index, (item, result) in enumerate(zip(items, loaded)):
        samples, wrong = read_slices(item, f"{path}: {section}[{index}]", schema, section == "training")
        result[TAGS] = samples
        problems += wrong
    raise_problems(problems)
    axis = schema.slice_axis
    if axis is not None and whole:
        return loaded
    return [
        {**item, TAGS: tags} | ({} if axis is None else {SLICE: number, SLICE_AXIS: axis})
        for item in loaded
        for number, tags in enumerate(item[TAGS])
    ]


def check_tags(
    items: Sequence[Sequence[float]], schema: TagSchema, allow_constant: bool = False
) -> tuple[list[str], list[str], str]:
    """Errors, warnings and a table of the training items' tags: what tells nothing, and what cannot be told apart.

    Args:
        items: of each, what :func:`read_tags` returns.
        schema: of the list.
        allow_constant: a tag that all images have is no error.
    """
    tags = torch.tensor([list(item) for item in items]).reshape(-1, len(schema))
    known, there = ~tags.isnan(), tags == 1
    errors, warnings = [], []
    rows = [f"{'tag':<20}{'images':>8}{'share':>8}{'unknown':>9}"]
    for name, k, n in zip(schema.names, known.sum(0).tolist(), there.sum(0).tolist()):
        rows.append(f"{name:<20}{n:>8}{n / max(k, 1):>8.1%}{len(tags) - k:>9}")
        if not n:
            errors.append(f"expected images with the tag {name!r}, got none in the training items of {schema.path}")
        elif n == k and not allow_constant:
            errors.append(
                f"expected images without the tag {name!r}, got it in all {n} of which it is known in {schema.path}: "
                "nothing tells what it is (--allow_constant_tags trains the others)"
            )
        elif n < _RARE * k:
            warnings.append(f"expected tags of 1 % of the images at least, got {name!r} in {n} of {k} in {schema.path}")
    for a, b in itertools.combinations(range(len(schema)), 2):
        both = known[:, a] & known[:, b]
        first, second = there[both, a], there[both, b]
        if first.any() and torch.equal(first, second) and not first.all():
            warnings.append(
                f"expected tags that occur apart, got {schema.names[a]!r} and {schema.names[b]!r} always together in "
                f"{schema.path}: no image tells which is which"
            )
    return errors, warnings, "\n".join(rows)


def miscounted_slices(
    samples: Sequence[Sequence[float]], shape: Sequence[int], schema: TagSchema, image: str
) -> list[str]:
    """What is wrong where slices have tags, and a volume of this shape has not as many."""
    axis = schema.slice_axis
    if axis is None or not shape or (len(shape) == 3 and shape[axis] == len(samples)):
        return []
    if len(shape) != 3:
        return [f"expected a volume, whose slices have tags ({SLICE_TAGS}), got a shape of {tuple(shape)} in {image}"]
    text = f"expected {SLICE_TAGS!r} with an entry for each of the {shape[axis]} slices across axis {axis}"
    return [f"{text} ({SLICE_AXIS}), got {len(samples)} of {image}"]


def contradiction(samples: Sequence[Sequence[float]], mask: Tensor, schema: TagSchema) -> str | None:
    """Where the classes of a mask, by their voxels' counts, are not the tags of an image, or of all slices together."""
    first = int(schema.background)
    present = [name for k, name in enumerate(schema.names, first) if mask[k]]
    of_tags = list(zip(schema.names, zip(*samples)))
    told = [name for name, values in of_tags if 1 in values]
    unknown = {name for name, values in of_tags if 1 not in values and any(map(math.isnan, values))}
    if set(told) - unknown == set(present) - unknown:
        return None
    return f"expected tags as the mask has classes, {present}, got {told}"
