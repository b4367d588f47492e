# SPDX-License-Identifier: Apache-2.0
"""Data lists, read with care: what they name, and what they declare."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from monai.config import PathLike

from medwsss.files import read_json
from medwsss.keys import IMAGE, LABEL, PRIOR, SCRIBBLE
from medwsss.study.declared import declared_labels, label_mapper, label_names, read_class_names, read_schema
from medwsss.study.patients import find_shared, patient_of
from medwsss.study.problems import raise_problems

__all__ = [
    "annotation_of",
    "check_dataset_dir",
    "declared_labels",
    "find_shared",
    "label_mapper",
    "label_names",
    "load_datalist",
    "load_training",
    "patient_of",
    "read_class_names",
    "read_schema",
    "resolve",
    "section_of",
]

logger = logging.getLogger(__name__)


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


def annotation_of(path: PathLike) -> str:
    """Key of what trains: ``scribble``, or ``label`` where every training item has that and none has a scribble."""
    content = read_json(path, "a data list").get("training")
    items = [item for item in content if isinstance(item, dict)] if isinstance(content, list) else []
    if not items or any(SCRIBBLE in item for item in items) or not all(LABEL in item for item in items):
        return SCRIBBLE
    logger.info("No training item of %s has a 'scribble': what is under 'label' trains.", path)
    return LABEL


def load_training(
    path: PathLike, annotation_key: str = SCRIBBLE, prior_weight: float = 0.0, allow_outside: bool = False
) -> list[dict[str, Any]]:
    """The training items of a data list, with ``image``, ``scribble`` and, if it weighs something, ``prior``.

    Args:
        path: the data list.
        annotation_key: of what trains.
        prior_weight: of the reserved key ``prior``, a distribution over classes: files of one class each.
        allow_outside: accept files outside the folder of the list.

    Raises:
        ValueError: as :func:`load_datalist`.

    Warns:
        UserWarning: where the list has priors that weigh nothing.
    """
    keys = {IMAGE: IMAGE, SCRIBBLE: annotation_key} | ({PRIOR: PRIOR} if prior_weight else {})
    items = load_datalist(path, "training", keys, allow_outside)
    if not prior_weight and any(PRIOR in item for item in read_json(path)["training"]):
        warnings.warn(f"prior_weight is 0: the priors of {path} are not used", stacklevel=2)
    return items


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
