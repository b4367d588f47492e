# SPDX-License-Identifier: Apache-2.0
"""Tags for a data list: of its dense masks, of a table, of folders, or of COCO or VOC as they are published::

    python -m data_prep tags --masks STUDY/dataset.json --output STUDY/tags.json --min-share 0.01
    python -m data_prep tags --masks STUDY/dataset.json --output STUDY/slices.json --slices 2
    python -m data_prep tags --table images.csv --output STUDY/dataset.json
    python -m data_prep tags --folders STUDY --output STUDY/dataset.json
    python -m data_prep tags --coco COCO --output COCO/tags.json
    python -m data_prep tags --voc VOCdevkit/VOC2012 --output VOCdevkit/VOC2012/tags.json

Of masks, a class is a tag where it has so many voxels, --min-voxels, and such a share of those labelled, --min-share;
what it has fewer of is unknown, neither there nor not. Masks stay in the list, for figures alone. Of COCO it is the
area of a class' outlines that --min-voxels asks for; of VOC, objects that are all "difficult" are unknown.

A table is CSV with a column "image", files relative to the list's folder, and a column a tag with 1 or 0, or with −1 or
nothing where nobody knows; or with a column "tags" of names with ; between them. A column "section" may say training
or validation. Of folders, each is a class and holds its images; --none names the one of images without any.

Only the list is written. Images of tables and folders are split at random, by --seed and --validation-share.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from data_prep.converters.voc import CLASSES, find_voc
from data_prep.engine.options import option, path_option
from data_prep.engine.sources import visible
from data_prep.formats.published_tags import coco_content, tags_by_size, voc_content
from medwsss.files import read_json, write_json
from medwsss.keys import IMAGE, LABEL, SLICE_AXIS, TAGS, VOID
from medwsss.study import label_mapper, tag_schema
from medwsss.study.problems import raise_problems
from medwsss.study.readers import SUFFIXES, loader, suffix_of
from medwsss.study.tags import SLICE_TAGS, UNKNOWN_TAGS, read_slices

SECTIONS = ("training", "validation")
_MEANING = {"1": True, "1.0": True, "0": False, "0.0": False, "-1": None, "-1.0": None, "": None}


@dataclass(frozen=True, kw_only=True)
class Options:
    """Of the command; one of the first five."""

    masks: Path | None = path_option("a data list with dense masks", default=None)
    table: Path | None = path_option("a table, CSV", default=None)
    folders: Path | None = path_option("a folder of folders, one a class", default=None)
    coco: Path | None = path_option("COCO's folder, with annotations/, train2017/ and val2017/", default=None)
    voc: Path | None = path_option("VOC's folder VOC2012", default=None)
    output: Path = path_option("the data list to write, in the folder of what it lists")
    min_voxels: int = option("of a class in a mask (default: %(default)s)", default=1)
    min_share: float = option("of a class in a mask (default: %(default)s)", default=0.0)
    slices: int | None = option(
        "of masks, tags of each slice of a volume across this axis", default=None, type=int, choices=(0, 1, 2)
    )
    none: str = option("folder of images that show nothing (default: %(default)s)", default="normal")
    no_background: bool = option("every pixel is of some tag", default=False)
    seed: int = option("of a random split (default: %(default)s)", default=0)
    validation_share: float = option("of the images (default: %(default)s)", default=0.2)


def run(options: Options) -> int:
    """Write the list and print its tags."""
    given = [name for name in READERS if getattr(options, name) is not None]
    if len(given) != 1:
        raise ValueError(f"expected one of {', '.join(f'--{name}' for name in READERS)}, got {given or 'none'}")
    source: Path = getattr(options, given[0])
    root = source.parent if given[0] in ("masks", "table") else source
    if given[0] != "table" and options.output.absolute().parent != root.absolute():
        raise ValueError(f"expected the list in the folder {root}, whose files it names, got {options.output}")
    content = READERS[given[0]](source, options)
    write_json(content, options.output)
    schema = tag_schema(options.output)
    samples = [tags for item in content["training"] for tags in read_slices(item, "training", schema)[0]]
    counts = {name: sum(tags[k] == 1 for tags in samples) for k, name in enumerate(schema.names)}
    kind = "images" if schema.slice_axis is None else "slices"
    print(f"{options.output}: {len(samples)} training {kind}, of which with a tag: {counts}")
    return 0


def of_masks(path: Path, options: Options) -> dict[str, Any]:
    """The list in ``path`` with tags for every item that has a mask."""
    content, labels = read_json(path, "a data list"), label_mapper(path)
    schema, problems = tag_schema(path), []
    first = int(schema.background)

    def of_one(mask: torch.Tensor) -> dict[str, list[str]]:
        counts = torch.bincount(mask.flatten(), minlength=256)
        least = max(options.min_voxels, options.min_share * int(counts[:VOID].sum()))
        return tags_by_size({name: int(counts[k]) for k, name in enumerate(schema.names, first)}, least)

    for section in SECTIONS:
        for index, item in enumerate(tqdm(content.get(section) or [], desc=section, disable=None)):
            if not isinstance(item, dict) or not isinstance(item.get(LABEL), str):
                problems.append(f"{path}: {section}[{index}]: expected a mask under {LABEL!r}, got none")
                continue
            mask = torch.as_tensor(np.asarray(labels(loader()(path.parent / item[LABEL]))))[0].long()
            if options.slices is None:
                item |= of_one(mask)
            elif mask.ndim == 3:
                for key in (TAGS, UNKNOWN_TAGS):
                    item.pop(key, None)
                item[SLICE_TAGS] = [of_one(each) for each in mask.unbind(options.slices)]
            else:
                problems.append(f"expected a volume for --slices, got the shape {tuple(mask.shape)}: {item[LABEL]}")
    raise_problems(problems)
    return content | ({} if options.slices is None else {SLICE_AXIS: options.slices})


def of_table(path: Path, options: Options) -> dict[str, Any]:
    """A list of the images in a table."""
    with path.open(newline="", encoding="utf-8-sig") as file:
        rows = list(csv.DictReader(file))
    columns = list(rows[0]) if rows else []
    if IMAGE not in columns or len(columns) < 2:
        raise ValueError(f"expected a table with a column {IMAGE!r} and tags, got columns {columns} in {path}")
    names = [name for name in columns if name not in (IMAGE, LABEL, TAGS, "section")]
    if TAGS in columns:
        names = sorted({tag for row in rows for tag in _split(row[TAGS])})
    items, problems = [], []
    for number, row in enumerate(rows, 2):
        item: dict[str, Any] = {key: row[key] for key in (IMAGE, LABEL) if row.get(key)}
        if TAGS in columns:
            item[TAGS] = _split(row[TAGS])
        else:
            values = {name: (row[name] or "").strip() for name in names}
            problems += [
                f"{path}:{number}: expected 1, 0, -1 or nothing for {name!r}, got {value!r}"
                for name, value in values.items()
                if value not in _MEANING
            ]
            item[TAGS] = [name for name, value in values.items() if _MEANING.get(value)]
            unknown = [name for name, value in values.items() if _MEANING.get(value, 0) is None]
            item |= {UNKNOWN_TAGS: unknown} if unknown else {}
        items.append((row.get("section") or None, item))
    raise_problems(problems)
    return _listed(names, items, options, path.stem)


def of_folders(path: Path, options: Options) -> dict[str, Any]:
    """A list of the images in the folders below ``path``."""
    folders = [folder for folder in visible(path, "*") if folder.is_dir()]
    names = [folder.name for folder in folders if folder.name != options.none]
    if not names:
        raise ValueError(f"expected a folder for each class, got none in {path}")
    images = [(folder, file) for folder in folders for file in visible(folder, "**/*")]
    items: list[tuple[str | None, Any]] = [
        (None, {IMAGE: file.relative_to(path).as_posix(), TAGS: [folder.name] * (folder.name != options.none)})
        for folder, file in images
        if suffix_of(file).lower() in SUFFIXES
    ]
    return _listed(names, items, options, path.resolve().name)


def _split(text: str | None) -> list[str]:
    return [tag.strip() for tag in (text or "").split(";") if tag.strip()]


def _listed(names: list[str], items: list[tuple[str | None, Any]], options: Options, name: str) -> dict[str, Any]:
    if odd := sorted({str(section) for section, _ in items} - {*SECTIONS, "None"}):
        raise ValueError(f"expected sections {SECTIONS}, got {odd}")
    order = np.random.default_rng(options.seed).permutation(len(items))
    validation = set(order[: round(options.validation_share * len(items))].tolist())
    classes = names if options.no_background else ["background", *names]

    def of(section: str) -> Iterator[Any]:
        for index, (told, item) in enumerate(items):
            if section == (told or SECTIONS[index in validation]):
                yield item

    return {
        "name": name,
        "labels": {str(k): each for k, each in enumerate(classes)},
        **({"background": False} if options.no_background else {}),
        **{section: list(of(section)) for section in SECTIONS},
    }


#: By the option that names the source.
READERS: dict[str, Callable[[Path, Options], dict[str, Any]]] = {
    "masks": of_masks,
    "table": of_table,
    "folders": of_folders,
    "coco": lambda path, options: coco_content(path, options.min_voxels),
    "voc": lambda path, options: voc_content(find_voc(path), CLASSES),
}
