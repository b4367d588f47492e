# SPDX-License-Identifier: Apache-2.0
"""A data list as a raw data set of nnU-Net v2, with its ignore label where strokes leave voxels unlabelled::

    python -m data_prep nnunet_raw STUDY/dataset.json --output nnUNet_raw/Dataset501_Mine
    python -m data_prep nnunet_raw STUDY/dataset.json --output nnUNet_raw/Dataset502_Dense --from label

Cases of "training" have the strokes (or, with --from label, dense masks), those of "validation" their masks, both in
imagesTr and labelsTr, and splits_final.json says which are which, so that fold 0 is this split; cases of "test" go to
imagesTs and labelsTs. Files are NIfTI, one a channel. nnU-Net knows no void, which becomes unlabelled.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from monai.utils import ensure_tuple

from data_prep.engine.description import count_channels
from data_prep.engine.options import option, path_option
from data_prep.engine.splits import SECTIONS
from data_prep.formats.encoding import encode_volume
from data_prep.formats.volumes import map_values
from medwsss.files import read_json, write_atomically, write_json
from medwsss.keys import IMAGE, LABEL, SCRIBBLE, UNLABELED, VOID
from medwsss.parallel import parallel_map
from medwsss.study.datalist import label_mapper, load_datalist, read_class_names
from medwsss.study.grid import NIFTI, Grid, misfit
from medwsss.study.intensities import existing
from medwsss.study.readers import loader, stem_of
from medwsss.transforms import AsVolume, MapWeakLabels

_FOLDER = re.compile(r"Dataset\d{3}_\w+")
_KEY = "annotation"


@dataclass(frozen=True, kw_only=True)
class Options:
    """Of the command."""

    datalist: Path = path_option("only read", flag="list", metavar="LIST.json")
    output: Path = path_option("folder, absent or empty, by the name DatasetNNN_NAME, as nnU-Net wants it")
    key: str = option("what trains (default: %(default)s)", default=SCRIBBLE, flag="--from", choices=(SCRIBBLE, LABEL))
    channels: tuple[str, ...] | None = option(
        "names of channels, by which nnU-Net normalises: CT, rgb_to_0_1, noNorm, else z-scores (default: the list's)",
        default=None,
        type=str,
        nargs="+",
    )
    workers: int = option("processes (default: one a core)", default=os.cpu_count() or 1)
    allow_outside: bool = option("accept files outside the list's folder", default=False)


def run(options: Options) -> int:
    """Write it and print its folder."""
    path, folder = options.datalist, options.output
    if not _FOLDER.fullmatch(folder.name):
        raise ValueError(f"expected a folder DatasetNNN_NAME with three digits (Dataset501_Mine), got {folder}")
    if folder.exists() and any(folder.iterdir()):
        raise ValueError(f"expected a folder that is absent or empty, got files in {folder}")
    content, labels = read_json(path, "a data list"), label_mapper(path)
    classes = read_class_names(path, labels.num_classes)
    if len(set(classes[1:]) - {"background", "ignore"}) != len(classes) - 1:
        raise ValueError(f"expected names of their own, none of them background or ignore, got {classes} in {path}")
    items = {section: _items(content, section, options) for section in SECTIONS if content.get(section)}
    cases = [item for section in items.values() for item in section]
    names = [item["name"] for item in cases]
    if double := sorted({name for name in names if names.count(name) > 1}):
        raise ValueError(f"expected images of different names, got several {', '.join(double[:5])} in {path}")
    channels = _channels(content, options)
    write = partial(_write, folder=folder, labels=labels, channels=len(channels))
    ignore = any([unlabeled for _, unlabeled in parallel_map(write, cases, options.workers)])  # a list: all are written
    description = {
        "name": str(content.get("name", folder.name)),
        "channel_names": {str(k): name for k, name in enumerate(channels)},
        "labels": {"background": 0} | {name: k for k, name in enumerate(classes) if k},
        "numTraining": sum(item["section"] != "test" for item in cases),
        "file_ending": NIFTI[0],
    }
    if ignore or options.key == SCRIBBLE:
        description["labels"]["ignore"] = len(classes)
    if items.get("validation"):
        split = {short: [item["name"] for item in items[name]] for short, name in zip(("train", "val"), SECTIONS)}
        write_json([split], folder / "splits_final.json")
    write_json(description, folder / "dataset.json")
    print(folder)
    return 0


def _items(content: Mapping[str, Any], section: str, options: Options) -> list[dict[str, Any]]:
    """Name, image, annotation and section of each case: masks in any section but the training's, if there are some."""
    listed = content[section]
    if not isinstance(listed, list) or not all(isinstance(item, dict) for item in listed):
        if section == "test":  # Decathlon's list of test images
            return []
        raise ValueError(f"expected a list of items as {section}, got {listed} in {options.datalist}")
    masks = section != SECTIONS[0] and all(item.get(LABEL) for item in listed)
    keys = {IMAGE: IMAGE, _KEY: LABEL if masks else options.key}
    loaded = load_datalist(options.datalist, section, keys, options.allow_outside)
    return [{**item, "name": stem_of(ensure_tuple(item[IMAGE])[0]), "section": section} for item in loaded]


def _channels(content: Mapping[str, Any], options: Options) -> list[str]:
    """A name for each channel."""
    found = count_channels(content, options.datalist, default=1)
    told = content.get("channel_names") or content.get("modality")
    names = list(told.values() if isinstance(told, dict) else ensure_tuple(told or "image"))
    if options.channels is not None:
        names = list(options.channels)
    elif len(names) != found:
        names = [f"channel {k}" for k in range(found)]
    return [str(name) for name in names]


def _write(item: Mapping[str, Any], folder: Path, labels: MapWeakLabels, channels: int) -> bool:
    """The files of a case; whether some of its voxels are unlabelled."""
    image, where = loader()(item[IMAGE]), "Ts" if item["section"] == "test" else "Tr"
    existing(image, item[IMAGE], some=True)
    if bool(image.isnan().any()):
        raise ValueError(f"expected an image without void, which nnU-Net does not know, got some in {item[IMAGE]}")
    if len(image) != channels:
        raise ValueError(
            f"expected {channels} channels, as --channels or the list say, got {len(image)} in {item[IMAGE]}"
        )
    raw = loader()(item[_KEY])
    if problem := misfit(Grid.of(image), Grid.of(raw), item[_KEY]):
        raise ValueError(problem)
    mapped = map_values(raw, labels, Path(item[_KEY]))
    unlabeled = np.isin(mapped, (UNLABELED, VOID))
    mapped = np.where(unlabeled, labels.num_classes, mapped).astype(np.uint8)
    volume: Any = AsVolume()(image)
    affine = np.asarray(volume.affine)
    for k, channel in enumerate(volume.numpy()):
        _save(channel.astype(np.float32), affine, folder / f"images{where}" / f"{item['name']}_{k:04d}{NIFTI[0]}")
    _save(AsVolume()(mapped)[0].numpy(), affine, folder / f"labels{where}" / f"{item['name']}{NIFTI[0]}")
    return bool(unlabeled.any())


def _save(array: np.ndarray, affine: np.ndarray, path: Path) -> None:
    write_atomically(memoryview(encode_volume(array, affine).read()), path)
