# SPDX-License-Identifier: Apache-2.0
"""What a person reads when a study is ready: a table, and the commands that come next."""

from __future__ import annotations

import shlex
from pathlib import Path

from data_prep.engine.journal import file_names
from data_prep.engine.splits import SECTIONS
from medwsss.files import read_json
from medwsss.keys import IMAGE, LABEL, VOID
from medwsss.rasters.bands import has_bands
from medwsss.study import annotation_of
from medwsss.study.intensities import rounded

_RASTERS = "bundles/remote_sensing/train.json"
_SHOWN = 5  # files that a line names


def summary(datalist: Path) -> str:
    """The text for the study of ``datalist``."""
    study = read_json(datalist)
    lines = [f"{study['name']}: {study['num_classes']} classes", f"{'':<12}{'items':>8}{'patients':>10}{'MB':>10}"]
    for section in SECTIONS:
        files = {name for item in study[section] for name in file_names(item)}
        megabytes = sum((datalist.parent / name).stat().st_size for name in files) / 1e6
        patients = len({item["patient"] for item in study[section]})
        lines.append(f"{section:<12}{len(study[section]):>8}{patients:>10}{megabytes:>10.1f}")
    grey = [item[IMAGE] for section in SECTIONS for item in study[section] if item.get("converted") == "grey to RGB"]
    if grey:
        lines.append(
            f"{len(grey)} grey images were written as RGB: {', '.join(grey[:_SHOWN])}{', …' * (len(grey) > _SHOWN)}"
        )
    dense = annotation_of(datalist) == LABEL
    if study["validation"] and not any(LABEL in item for item in study["validation"]):
        lines.append("no masks: strokes validate that are held out, which says less than masks would")
    lines += ["check it:", f"  python -m data_prep check {shlex.quote(str(datalist))}" + " --dense" * dense]
    if dense:
        lines += ["draw strokes into dense masks:", f"  python -m data_prep scribbles --datalist {datalist} --output …"]
    return "\n".join([*lines, "train:", f"  {training_command(datalist)}"])


def training_command(datalist: Path) -> str:
    """The command that trains on ``datalist``, with every override that its data need.

    For colour pictures it is the bundle of photographs with the small network, which needs neither a GPU nor weights;
    for those of other than 8 bits it says what intensities take the place of 0 and 255. For GeoTIFF of
    other than one or three channels it is the bundle of bands.
    """
    study = read_json(datalist)
    if has_bands(study, study["in_channels"]):  # the list says the rest
        folder = shlex.quote(str(datalist.parent))
        return f"python -m monai.bundle run training --config_file {_RASTERS} --dataset_dir {folder}"
    options = {"dataset_dir": str(datalist.parent), "num_classes": study["num_classes"]}
    options["ignore_values"] = study["ignore_values"]
    config, defaults = "bundles/scribble/train.json", {"void_values": [], "spatial_dims": 3, "in_channels": 1}
    if (study["spatial_dims"], study["in_channels"]) == (2, 3):
        config = "['bundles/scribble_2d/train.json','bundles/scribble_2d/small.json']"
        defaults = {"void_values": [VOID], "spatial_dims": 2, "in_channels": 3}
        if ranges := [item["intensity"] for section in SECTIONS for item in study[section] if "intensity" in item]:
            options["intensity_range"] = rounded(ranges)
    options |= {key: study[key] for key, default in defaults.items() if study[key] != default}
    if annotation_of(datalist) == LABEL:
        options["annotation_key"] = LABEL
    words = ["python", "-m", "monai.bundle", "run", "training", "--config_file", shlex.quote(config)]
    return " ".join([*words, *(f"--{key} {shlex.quote(str(value))}" for key, value in options.items())])
