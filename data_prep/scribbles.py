# SPDX-License-Identifier: Apache-2.0
"""Strokes drawn into the dense masks of a data list, as a new study beside it::

    python -m data_prep scribbles --datalist STUDY/dataset.json --output SCRIBBLED
    python -m data_prep scribbles --datalist STUDY/dataset.json --output CLICKS --length-ratio 0
    python -m data_prep scribbles --datalist STUDY/dataset.json --output SHORTER --from scribble --length-ratio 0.5

Strokes depend on the seed, the options and the item's name alone, so those of a smaller length ratio lie inside those
of a larger one. Slice axes are counted with a volume's thick axis last. Images and masks come along, so that the new
study stands on its own.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, fields
from functools import partial
from pathlib import Path
from typing import Any, Union

import numpy as np
from monai.utils import ensure_tuple

from data_prep.engine.conversion import write_study
from data_prep.engine.options import StudyOptions, option, path_option
from data_prep.engine.sources import Case, Dataset, File, copy_of
from data_prep.engine.splits import SECTIONS
from data_prep.formats.encoding import encode_labels
from data_prep.formats.pictures import facts_of, may_hold_void
from data_prep.formats.volumes import map_values
from medwsss.files import read_json
from medwsss.keys import IMAGE, LABEL, SCRIBBLE, UNLABELED, VOID
from medwsss.study.datalist import label_mapper, patient_of, read_class_names
from medwsss.study.grid import Grid, fault, misfit
from medwsss.study.intensities import existing, void_of
from medwsss.study.readers import loader, stem_of
from medwsss.transforms import MapWeakLabels, ShortenScribble, SimulateScribble
from medwsss.transforms.scribbles.array import KINDS
from medwsss.transforms.thick_axis import order_of

Change = Union[SimulateScribble, ShortenScribble]

_MAX_UNLABELED = 0.5  # more than this share of a mask, and it is none
_DEFAULTS = {name: p.default for name, p in inspect.signature(SimulateScribble).parameters.items()}


def _stroke(name: str, help: str, **keywords: Any) -> Any:
    default = _DEFAULTS[name]
    return option(f"{help} (default: {default})", default=default, metavar="X", **keywords)


def _or_none(kind: Callable[[str], Any]) -> Callable[[str], Any]:
    return lambda text: None if text == "none" else kind(text)


@dataclass(frozen=True, kw_only=True)
class StrokeOptions:
    """Arguments of ``SimulateScribble``, with its defaults."""

    kind: str = _stroke("kind", f"of the strokes in foreground: {', '.join(KINDS)}")
    background: str | None = _stroke("background", "kind in class 0, or none", type=_or_none(str))
    length_ratio: float = _stroke(
        "length_ratio", "from 0, a single voxel, to 1, the whole stroke; for blocks, the share of the area"
    )
    width: int = _stroke("width", "of the brush, in voxels")
    jitter: float = _stroke("jitter", "how far the hand strays, as a share of the distance to the border")
    margin: float = _stroke("margin", "distance of border strokes and boxes from the border, in voxels")
    slice_axis: int | None = _stroke("slice_axis", "spatial axis across which slices lie, or none", type=_or_none(int))
    slice_step: int = _stroke("slice_step", "annotate every so manieth slice")
    slice_share: float = _stroke("slice_share", "annotate this share of those, drawn at random")
    min_size: int = _stroke("min_size", "smaller regions get no stroke")
    per_class: bool = option("only the largest region of a class gets a stroke", default=False)


@dataclass(frozen=True, kw_only=True)
class Options(StrokeOptions, StudyOptions):
    """Of the command; items stay in their sections."""

    datalist: Path = path_option("only read", metavar="LIST.json")
    key: str = option(
        "dense masks, or scribble to shorten (default: %(default)s)", default=LABEL, flag="--from", metavar="KEY"
    )
    sections: tuple[str, ...] = option(
        "(default: training)", default=("training",), type=str, nargs="+", choices=SECTIONS
    )
    seed: int = option("of the strokes (default: %(default)s)", default=0)


def run(options: Options) -> int:
    """Draw."""
    path = options.datalist
    content, labels = read_json(path, "a data list"), label_mapper(path)
    cases = list(_cases(content, options))
    if not any(case.section in options.sections for case in cases):
        raise ValueError(f"expected items in {' or '.join(options.sections)}, got none in {path}")
    if options.key == SCRIBBLE:
        change: Change = ShortenScribble(options.length_ratio, options.slice_axis)
    else:
        how = {each.name: getattr(options, each.name) for each in fields(StrokeOptions)}
        change = SimulateScribble(labels.num_classes, **how)
    make = partial(_files, options=options, labels=labels, change=change)
    first = loader()(cases[0].files[IMAGE])
    name = f"{content.get('name', path.parent.name)} ({options.kind} from {options.key})"
    classes = read_class_names(path, labels.num_classes)
    void = VOID in labels.table.values() or may_hold_void(cases)
    dataset = Dataset(name, classes, cases, make, [path.parent], first.ndim - 1, len(first), void)
    return write_study(dataset, options)


def _cases(content: Mapping[str, Any], options: Options) -> Iterator[Case]:
    """A case an item that has annotations."""
    folder = options.datalist.absolute().parent
    for section in SECTIONS:
        items = content.get(section) or []
        if not isinstance(items, list):
            raise ValueError(f"expected a list of items as {section}, got {items} in {options.datalist}")
        for item in items:
            if not isinstance(item, dict):  # Decathlon's list of test images
                continue
            drawn = section in options.sections
            from_mask = drawn and options.key != SCRIBBLE
            other = LABEL if item.get(LABEL) else SCRIBBLE  # held-out strokes validate where there are no masks
            if missing := {IMAGE, options.key if drawn else other} - {key for key, value in item.items() if value}:
                raise ValueError(f"expected {', '.join(sorted(missing))} in every item of {section}, got {item}")
            images = tuple(folder / name for name in _names(item, IMAGE))
            files: dict[str, Any] = {IMAGE: images[0] if isinstance(item[IMAGE], str) else images}
            mask = options.key if from_mask else LABEL
            # a list may train with its scribbles as labels
            if item.get(mask) and (from_mask or item[mask] != item.get(SCRIBBLE)):
                files[LABEL] = folder / _names(item, mask)[0]
            if item.get(SCRIBBLE) and (not drawn or options.key == SCRIBBLE):
                files[SCRIBBLE] = folder / _names(item, SCRIBBLE)[0]
            patient, certain = patient_of(item)
            yield Case(stem_of(images[0]), patient if certain else stem_of(images[0]), files, section)


def _names(item: Mapping[str, Any], key: str) -> list[str]:
    """Files of an item: of an image, one a channel."""
    names = item[key] if isinstance(item[key], list) and key == IMAGE else [item[key]]
    if not names or not all(isinstance(name, str) and name for name in names):
        raise ValueError(f"expected a file name as {key}, got {item}")
    return names


def _files(case: Case, options: Options, labels: MapWeakLabels, change: Change) -> dict[str, File | list[File]]:
    """Copies of what there is, in our values, and the strokes."""
    image = loader()(case.files[IMAGE])
    existing(image, case.files[IMAGE], some=True)
    void = void_of(image).numpy()
    images = [copy_of(path, **facts_of(image)) for path in ensure_tuple(case.files[IMAGE])]
    files: dict[str, File | list[File]] = {IMAGE: images[0] if isinstance(case.files[IMAGE], Path) else images}
    sources = {name: path for name, path in case.files.items() if name != IMAGE and isinstance(path, Path)}
    place = Grid.of(image)
    if problem := fault(place, images[0].content):
        raise ValueError(problem)
    maps, grids = {}, {}
    for name, path in sources.items():
        raw = loader()(path)
        grids[name] = Grid.of(raw)
        if problem := misfit(place, grids[name], path):
            raise ValueError(problem)
        maps[name] = np.where(void, VOID, map_values(raw, labels, path))
    files |= {name: encode_labels(array, sources[name], grids[name]) for name, array in maps.items()}
    if case.section in options.sections:
        source = SCRIBBLE if options.key == SCRIBBLE else LABEL
        if isinstance(change, SimulateScribble):
            change.set_random_state(case.seed(options.seed))
            if (share := float((maps[source] == UNLABELED).mean())) > _MAX_UNLABELED:
                raise ValueError(f"expected a dense mask, got {share:.0%} unlabelled voxels in {sources[source]}")
        # slices lie across the thick axis
        order = [0, *(axis + 1 for axis in order_of(image))]
        drawn = np.asarray(change(maps[source].transpose(order))).transpose(np.argsort(order))
        files[SCRIBBLE] = encode_labels(drawn, sources[source], grids[source])
    return files
