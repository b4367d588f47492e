# SPDX-License-Identifier: Apache-2.0
"""Strokes drawn into the dense masks of a data list, as a new study beside it::

    python -m data_prep scribbles --datalist STUDY/dataset.json --output SCRIBBLED
    python -m data_prep scribbles --datalist STUDY/dataset.json --output CLICKS --length-ratio 0
    python -m data_prep scribbles --datalist STUDY/dataset.json --output SHORTER --from scribble --length-ratio 0.5

Strokes depend on the seed, the options and the item's name alone, so those of a smaller length ratio lie inside those
of a larger one. Images and masks come along, so that the new study stands on its own.
"""

from __future__ import annotations

import argparse
import gzip
import inspect
import io
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Union, cast
from zlib import crc32

import nibabel as nib
import numpy as np
from monai.transforms import LoadImage
from monai.utils import ensure_tuple
from PIL import Image

from data_prep.engine.conversion import Case, File, Study, convert
from data_prep.engine.splits import SECTIONS
from data_prep.formats.volumes import SUFFIXES, encode_volume, map_values
from medwsss.files import read_json
from medwsss.keys import IMAGE, LABEL, SCRIBBLE, UNLABELED, VOID
from medwsss.study.datalist import patient_of, read_class_names, read_schema
from medwsss.study.readers import StudyReader
from medwsss.transforms import MapWeakLabels, ShortenScribble, SimulateScribble
from medwsss.transforms.scribbles.array import KINDS

Change = Union[SimulateScribble, ShortenScribble]

_load = LoadImage(reader=StudyReader(), ensure_channel_first=True, image_only=True)
_MAX_UNLABELED = 0.5  # more than this share of a mask, and it is none
_DEFAULTS = {name: p.default for name, p in inspect.signature(SimulateScribble).parameters.items()}
_HELP = {
    "kind": f"of the strokes in foreground: {', '.join(KINDS)}",
    "background": "kind in class 0, or none",
    "length_ratio": "from 0, a single voxel, to 1, the whole stroke; for blocks, the share of the area",
    "width": "of the brush, in voxels",
    "jitter": "how far the hand strays, as a share of the distance to the border",
    "margin": "distance of border strokes and boxes from the border, in voxels",
    "slice_axis": "spatial axis across which slices lie, or none",
    "slice_step": "annotate every so manieth slice",
    "slice_share": "annotate this share of those, drawn at random",
    "min_size": "smaller regions get no stroke",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    parser.add_argument("--datalist", type=Path, required=True, metavar="LIST.json", help="only read")
    parser.add_argument("--output", type=Path, required=True, help="folder for the study: absent, empty or unfinished")
    parser.add_argument(
        "--from", dest="key", default=LABEL, metavar="KEY", help="dense masks, or scribble to shorten (default: label)"
    )
    parser.add_argument("--sections", nargs="+", default=["training"], choices=SECTIONS, help="(default: training)")
    for name, text in _HELP.items():
        default = _DEFAULTS[name]
        kind = _or_none(type(default)) if name in ("background", "slice_axis") else type(default)
        option = f"--{name.replace('_', '-')}"
        parser.add_argument(option, type=kind, default=default, metavar="X", help=f"{text} (default: {default})")
    parser.add_argument("--per-class", action="store_true", help="only the largest region of a class gets a stroke")
    parser.add_argument("--seed", type=int, default=0, help="of the strokes (default: 0)")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1, help="processes (default: one a core)")
    parser.add_argument("--force", action="store_true", help="write into a folder that holds something else")
    parser.set_defaults(split=None)  # items stay in their sections


def run(arguments: argparse.Namespace) -> int:
    """Draw."""
    path: Path = arguments.datalist
    content, labels = read_json(path, "a data list"), MapWeakLabels.of(read_schema(path))
    cases = list(_cases(content, arguments))
    if not any(case.section in arguments.sections for case in cases):
        raise ValueError(f"expected items in {' or '.join(arguments.sections)}, got none in {path}")
    if arguments.key == SCRIBBLE:
        change: Change = ShortenScribble(arguments.length_ratio, arguments.slice_axis)
    else:
        options = {name: getattr(arguments, name) for name in (*_HELP, "per_class")}
        change = SimulateScribble(labels.num_classes, **options)
    make = partial(_files, arguments.key, arguments.sections, labels, change, arguments.seed)
    first = _load(cases[0].files[IMAGE])
    name = f"{content.get('name', path.parent.name)} ({arguments.kind} from {arguments.key})"
    classes = read_class_names(path, labels.num_classes)
    void = VOID in labels.table.values()
    return convert(Study(name, classes, cases, make, [path.parent], first.ndim - 1, len(first), void), arguments)


def _cases(content: Mapping[str, Any], arguments: argparse.Namespace) -> Iterator[Case]:
    """A case an item that has annotations."""
    folder = arguments.datalist.absolute().parent
    for section in SECTIONS:
        for item in content.get(section) or ():
            if not isinstance(item, dict):  # Decathlon's list of test images
                continue
            drawn = section in arguments.sections
            from_mask = drawn and arguments.key != SCRIBBLE
            if missing := {IMAGE, arguments.key if drawn else LABEL} - item.keys():
                raise ValueError(f"expected {', '.join(sorted(missing))} in every item of {section}, got {item}")
            images = tuple(folder / name for name in ensure_tuple(item[IMAGE]))
            files: dict[str, Any] = {IMAGE: images[0] if isinstance(item[IMAGE], str) else images}
            mask = item.get(arguments.key if from_mask else LABEL)
            if mask and (from_mask or mask != item.get(SCRIBBLE)):  # a list may train with its scribbles as labels
                files[LABEL] = folder / mask
            if SCRIBBLE in item and (not drawn or arguments.key == SCRIBBLE):
                files[SCRIBBLE] = folder / item[SCRIBBLE]
            yield Case(images[0].name.removesuffix(_suffix(images[0])), patient_of(item)[0], files, section)


def _files(
    key: str, sections: Sequence[str], labels: MapWeakLabels, change: Change, seed: int, case: Case
) -> dict[str, File | list[File]]:
    """Copies of what there is, in our values, and the strokes."""
    images = [File(_suffix(path), path) for path in ensure_tuple(case.files[IMAGE])]
    files: dict[str, File | list[File]] = {IMAGE: images[0] if isinstance(case.files[IMAGE], Path) else images}
    sources = {name: path for name, path in case.files.items() if name != IMAGE and isinstance(path, Path)}
    maps = {name: map_values(np.asarray(_load(path)), labels, path) for name, path in sources.items()}
    files |= {name: _encode(array, sources[name]) for name, array in maps.items()}
    if case.section in sections:
        source = SCRIBBLE if key == SCRIBBLE else LABEL
        if isinstance(change, SimulateScribble):
            change.set_random_state(crc32(f"{seed} {case.name}".encode()))
            if (share := float((maps[source] == UNLABELED).mean())) > _MAX_UNLABELED:
                raise ValueError(f"expected a dense mask, got {share:.0%} unlabelled voxels in {sources[source]}")
        files[SCRIBBLE] = _encode(np.asarray(change(maps[source])), sources[source])
    return files


def _encode(labels: np.ndarray, like: Path) -> File:
    """``1 *S`` in the format of ``like`` with its geometry; PNG for other pictures. Equal arguments, equal bytes."""
    if like.name.endswith(SUFFIXES):
        source = cast(nib.Nifti1Image, nib.load(like))
        header = source.header.copy()
        header.set_data_dtype(np.uint8)
        volume = nib.Nifti1Image(labels.reshape(source.shape), source.affine, header)
        return File(".nii.gz", gzip.compress(volume.to_bytes(), mtime=0))
    if labels.ndim > 3:
        return encode_volume(labels[0], np.eye(4))
    buffer = io.BytesIO()
    Image.fromarray(labels[0].T).save(buffer, "PNG")
    return File(".png", buffer.getvalue())


def _suffix(path: Path) -> str:
    return ".nii.gz" if path.name.endswith(".nii.gz") else path.suffix


def _or_none(kind: Callable[[str], Any]) -> Callable[[str], Any]:
    return lambda text: None if text == "none" else kind(text)
