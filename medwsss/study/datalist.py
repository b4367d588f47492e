# SPDX-License-Identifier: Apache-2.0
"""Data lists, read with care: what they name, and what they declare."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

from monai.config import PathLike
from monai.utils import ensure_tuple

from medwsss.files import read_json
from medwsss.keys import IMAGE, SCRIBBLE
from medwsss.study.problems import raise_problems
from medwsss.study.schema import SCHEMAS, LabelSchema

__all__ = [
    "check_dataset_dir",
    "find_shared",
    "load_datalist",
    "patient_of",
    "read_class_names",
    "read_schema",
    "resolve",
    "section_of",
]

_PATIENT = re.compile(r"\D*\d+")
_UNLABELED_KEYS = ("ignore_values", "ignore_value", "scribble_ignore_value")
_VOID_KEYS = ("void_values", "void_value")


def section_of(content: Mapping[str, Any], section: str, path: PathLike) -> list[Any]:
    """The items of a section of the data list in ``path``; ``ValueError`` where there are none."""
    items = content.get(section)
    if not isinstance(items, list) or not items:
        raise ValueError(f"expected a section {section!r} with at least one item, got none in {path}")
    return items


def resolve(folder: Path, value: Any, where: str, allow_outside: bool = False) -> tuple[Any, list[str]]:
    """Absolute path(s) of an item's ``value`` (a file name, or a list of them), and what is wrong with them."""
    names = value if isinstance(value, list) else [value]
    if not names or not all(name and isinstance(name, str) for name in names):
        return None, [f"{where}: expected a file name, got {value!r}"]
    problems = []
    for file in (folder / name for name in names):
        if not allow_outside and not file.resolve().is_relative_to(folder.resolve()):
            problems.append(f"{where}: expected a file in the folder of the list (or allow_outside), got {file}")
        elif not file.exists():
            problems.append(f"{where}: expected an existing file, got {file}")
    return [str(folder / name) for name in names] if isinstance(value, list) else str(folder / value), problems


def load_datalist(
    path: PathLike,
    section: str = "training",
    keys: Sequence[str] | Mapping[str, str] = (IMAGE, SCRIBBLE),
    allow_outside: bool = False,
) -> list[dict[str, Any]]:
    """Read one section of a data list in MONAI's Decathlon style.

    Text in the list is data: it is never evaluated as a bundle expression.

    Args:
        path: the JSON file; file names in it are relative to its folder.
        section: the list in it to read.
        keys: the keys every item must have; as a mapping ``{key in the result: key in the list}``.
        allow_outside: accept files outside the folder of the list.

    Returns:
        One dictionary an item with ``keys`` and nothing else, whose values are absolute paths (a list of paths, the
        channels of one image, where the data list has a list).

    Raises:
        ValueError: when the list is not readable, has no such section or an empty one; and, one line each, for items
            that lack a key, name a missing file, or name a file outside the folder (through a link, too).
    """
    path = Path(path).absolute()
    loaded, problems = [], []
    for index, item in enumerate(section_of(read_json(path, "a data list"), section, path)):
        paths: dict[str, Any] = {}
        for key, source in (keys if isinstance(keys, Mapping) else dict(zip(keys, keys))).items():
            value = item.get(source) if isinstance(item, dict) else None
            where = f"{path}: {section}[{index}][{source!r}]"
            paths[key], found = resolve(path.parent, value, where, allow_outside)
            problems += found
        loaded.append(paths)
    raise_problems(problems)
    return loaded


def label_names(content: Mapping[str, Any]) -> dict[int, str]:
    """``{value: name}`` of ``labels``: Decathlon's ``{"0": "background"}`` or nnU-Net's ``{"background": 0}``.

    Raises:
        ValueError: where they are something else.
    """
    names = {}
    labels = content.get("labels", {})
    if not isinstance(labels, Mapping):
        raise ValueError(f"expected labels of numbers and names, got {labels!r}")
    for key, value in labels.items():
        number, name = (value, key) if isinstance(value, int) else (key, value)
        try:
            names[int(number)] = str(name)
        except (TypeError, ValueError):
            raise ValueError(f"expected labels of numbers and names, got {key!r}: {value!r}") from None
    return names


def read_class_names(path: PathLike, num_classes: int) -> list[str]:
    """Names of the classes by the list's ``labels`` (either way round), else ``class k``."""
    names = label_names(read_json(path, "a data list"))
    return [names.get(k, f"class {k}") for k in range(num_classes)]


def read_schema(path: PathLike, **declared: Any) -> LabelSchema:
    """What the label values of a data list mean, by its own declaration.

    That is ``schema`` (the name of one of :py:data:`medwsss.transforms.SCHEMAS`, or the arguments of
    :py:class:`medwsss.transforms.LabelSchema`), else ``num_classes``, ``ignore_value(s)``, ``scribble_ignore_value``
    and ``void_value(s)``, else ``labels``, in which nnU-Net calls one ``ignore``.

    Args:
        path: the data list.
        declared: arguments of ``LabelSchema`` that win over the list's, or ``schema``, a name.

    Raises:
        ValueError: where nothing tells the number of classes, or the declarations contradict each other.
    """
    content = read_json(path, "a data list")
    names = label_names(content)
    ignored = {v for key in _UNLABELED_KEYS for v in ensure_tuple(content.get(key, ()))}
    ignored |= {value for value, name in names.items() if name == "ignore"}
    void = {v for key in _VOID_KEYS for v in ensure_tuple(content.get(key, ()))}
    classes = content.get("num_classes") or len(names.keys() - ignored - void) or None

    named = declared.pop("schema", None) or content.get("schema", {})
    known: dict[str, Any] = {"num_classes": classes, "ignore_values": sorted(ignored), "void_values": sorted(void)}
    if isinstance(named, str):
        if named not in SCHEMAS:
            raise ValueError(f"expected a schema of {sorted(SCHEMAS)}, got {named!r} in {path}")
        told = {"num_classes": classes} if classes and "num_classes" not in declared else {}
        try:
            base = SCHEMAS[named](**told, **{k: v for k, v in declared.items() if k == "num_classes"})
        except TypeError as error:
            raise ValueError(f"expected what the schema {named!r} needs, got {error} in {path}") from error
        known = {f.name: getattr(base, f.name) for f in fields(base)}
    elif not isinstance(named, dict) or named.keys() - {f.name for f in fields(LabelSchema)}:
        raise ValueError(f"expected a name or the arguments of LabelSchema as schema, got {named!r} in {path}")
    else:
        known |= named
    known |= declared
    if known["num_classes"] is None:
        raise ValueError(f"expected num_classes or labels in the data list (or --num-classes), got none in {path}")
    return LabelSchema(**known)


def patient_of(item: Mapping[str, Any]) -> tuple[str, bool]:
    """Whom an item shows, and whether the list says so.

    By its ``patient`` key; else the beginning of its image's name up to the end of the first number:
    ``patient022`` of ``patient022_frame01.nii.gz``, ``sub-07`` of ``sub-07_T1w.nii``.
    """
    if "patient" in item:
        return str(item["patient"]), True
    name = Path(str(ensure_tuple(item.get(IMAGE))[0])).name
    found = _PATIENT.match(name)
    return found.group() if found else name, False


def find_shared(content: Mapping[str, Any], sections: Sequence[str]) -> tuple[list[str], list[str]]:
    """Files and patients that are in more than one of the sections: errors, and what is only guessed, as warnings."""
    errors, doubts = [], []
    seen: dict[tuple[str, str], str] = {}
    told: set[tuple[str, str, str]] = set()
    for section in sections:
        for item in filter(lambda item: isinstance(item, dict), content[section]):
            patient, certain = patient_of(item)
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


def check_dataset_dir(dataset_dir: str | None) -> None:
    """Check that the folder of a study is given and has a data list.

    Raises:
        ValueError: saying how to make one.
    """
    if dataset_dir is None or not (Path(dataset_dir) / "dataset.json").is_file():
        given = "no --dataset_dir" if dataset_dir is None else f"none in {dataset_dir}"
        raise ValueError(
            f"expected --dataset_dir, a folder with a dataset.json, got {given}; "
            "python -m data_prep voc|cityscapes|ade20k|camvid|folder makes one (--help says how)"
        )
