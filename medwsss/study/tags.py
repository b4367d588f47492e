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
from medwsss.keys import IMAGE, LABEL, TAGS
from medwsss.study.datalist import load_datalist, section_of
from medwsss.study.declared import declared_labels, read_class_names
from medwsss.study.problems import raise_problems

__all__ = ["TagSchema", "check_tags", "contradiction", "is_tagged", "load_tagged", "read_tags", "tag_schema"]

UNKNOWN_TAGS = "unknown_tags"
_RARE = 0.01  # a tag of fewer images is one that a network hardly meets


@dataclass(frozen=True)
class TagSchema:
    """The tags that a data list may name, in the order of a network's outputs."""

    names: tuple[str, ...]
    background: bool  #: class 0 is a background, which is no tag, and tag ``c`` is class ``c + 1``
    path: str  #: of the list

    def __len__(self) -> int:
        return len(self.names)


def tag_schema(path: PathLike) -> TagSchema:
    """Tags are the classes of ``labels`` but for class 0, or all of them where the list says ``"background": false``.

    Raises:
        ValueError: naming the file, where there is no tag left.
    """
    content = read_json(path, "a data list")
    background = content.get("background", True)
    if not isinstance(background, bool):
        raise ValueError(f'expected "background": false or true (whether class 0 is one), got {background!r} in {path}')
    names = read_class_names(path, declared_labels(path).num_classes)[int(background) :]
    if not names:
        raise ValueError(f"expected labels of a background and one tag at least, got no tag in {path}")
    return TagSchema(tuple(names), background, str(path))


def is_tagged(content: Mapping[str, Any], section: str = "training") -> bool:
    """Whether items of a section have tags."""
    items = content.get(section)
    return isinstance(items, list) and any(isinstance(item, dict) and TAGS in item for item in items)


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


def load_tagged(path: PathLike, section: str = "training", allow_outside: bool = False) -> list[dict[str, Any]]:
    """The items of a section with ``image``, ``tags`` (1, 0 or NaN each) and, where they all have one, ``label``.

    Training items need tags; those of other sections without any are of unknown tags.

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
        result[TAGS], wrong = read_tags(item, f"{path}: {section}[{index}]", schema, section == "training")
        problems += wrong
    raise_problems(problems)
    return loaded


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


def contradiction(tags: Sequence[float], mask: Tensor, schema: TagSchema) -> str | None:
    """Where the classes of a mask, by their voxels' counts, are not the tags."""
    first = int(schema.background)
    present = [name for k, name in enumerate(schema.names, first) if mask[k]]
    told = [name for name, value in zip(schema.names, tags) if value == 1]
    unknown = {name for name, value in zip(schema.names, tags) if math.isnan(value)}
    if set(told) - unknown == set(present) - unknown:
        return None
    return f"expected tags as the mask has classes, {present}, got {told}"
