# SPDX-License-Identifier: Apache-2.0
"""From tags to a study with scribbles: where the seeds of activation maps go, and the data list of them."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from monai.config import PathLike

from medwsss.files import read_json, write_json
from medwsss.keys import CASE, IMAGE, LABEL, PRIOR, SCRIBBLE, UNLABELED, VOID
from medwsss.study.datalist import section_of
from medwsss.study.declared import label_mapper
from medwsss.study.outputs import map_suffix, output_suffix

__all__ = ["seed_files", "values_of_classes", "write_seed_list"]


def seed_files(folder: PathLike, item: Mapping[str, Any], num_classes: int) -> tuple[Path, list[Path]]:
    """The files of a case's scribble and of its prior, one a class, below ``folder``; ``item`` has ``case``."""
    first = item[IMAGE] if isinstance(item[IMAGE], str) else item[IMAGE][0]
    place, name = Path(str(folder)), item[CASE]
    scribble = place / f"{SCRIBBLE}s" / f"{name}{output_suffix(first)}"
    return scribble, [place / f"{PRIOR}s" / f"{name}_{k}{map_suffix(first)}" for k in range(num_classes)]


def values_of_classes(path: PathLike) -> dict[int, int]:
    """The value that each class, ``UNLABELED`` and ``VOID`` has in the files of a data list.

    Raises:
        ValueError: where classes are colours.
    """
    table: Mapping[Any, int] = label_mapper(path).table
    if any(isinstance(value, tuple) for value in table):
        raise ValueError(
            f"expected classes that are numbers in the masks, to write seeds beside them, got colours: {path}"
        )
    values = {UNLABELED: UNLABELED, VOID: VOID} | {
        target: int(value) for value, target in reversed(list(table.items()))
    }
    if len(set(values.values())) < len(values):
        raise ValueError(
            f"expected {UNLABELED} and {VOID} to be free for what is no class, got classes {values}: {path}"
        )
    return values


def write_seed_list(path: PathLike, items: Sequence[Mapping[str, Any]], folder: PathLike, num_classes: int) -> Path:
    """``folder/dataset.json``: the study of the list in ``path``, its training items with scribbles and priors.

    Files of the study stay where they are, so whoever reads the new list has to allow for files outside its folder.

    Args:
        path: the data list.
        items: of its training section, in its order, with ``image`` and ``case``.
        folder: with the files of :func:`seed_files`.
        num_classes: ``K``.
    """
    content, target = read_json(path, "a data list"), Path(str(folder)).absolute()
    values = values_of_classes(path)

    def moved(value: Any) -> Any:
        if isinstance(value, list):
            return [moved(each) for each in value]
        return os.path.relpath(Path(path).absolute().parent / value, target)

    def of_item(item: Mapping[str, Any]) -> dict[str, Any]:
        return {key: moved(value) if key in (IMAGE, LABEL, SCRIBBLE, PRIOR) else value for key, value in item.items()}

    training = []
    for item, named in zip(section_of(content, "training", path), items):
        scribble, prior = seed_files(target, named, num_classes)
        # a mask beside tags is for figures
        kept = {"mask" if key == LABEL else key: value for key, value in of_item(item).items()}
        files = {SCRIBBLE: os.path.relpath(scribble, target), PRIOR: [os.path.relpath(each, target) for each in prior]}
        training.append({**kept, **files})
    ignored = {"ignore_values": [values[UNLABELED]], "void_values": [values[VOID]]}
    sections = {name: [of_item(item) for item in content.get(name) or []] for name in ("validation",)}
    others = {key: value for key, value in content.items() if key not in ("test", "fingerprint", "ignore_value")}
    write_json({**others, **ignored, "training": training, **sections}, target / "dataset.json")
    return target / "dataset.json"
