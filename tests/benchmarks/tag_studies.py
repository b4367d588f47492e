# SPDX-License-Identifier: Apache-2.0
"""Losses for image tags side by side on scenes, slices of Hippocampus and tiles of Dubai.

    python -m tests.benchmarks.tag_studies --data DIR --rows hippocampus_slices dubai_tiles --seeds 0 1 2

``DIR`` has the folders hippocampus and remote_sensing/dubai. A slice's tags are the structures in it, a tile's the
classes of at least 1 % of its pixels; tiles have 256² pixels and no background. Besides the bundle's overlays there are
those of :data:`OVERLAYS`: how many samples, their weight, the gates of feature similarity. What is there is not done
again. Writes a folder a study in ``--output``, as ``medwsss compare`` does.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from PIL import Image

from data_prep import tags
from data_prep.scenes import ensure_scenes
from medwsss.files import read_json, write_json

SIDE = 256
BUNDLED = ["gap", "gmp", "lse", "rank", "isl", "isl_exact", "multinomial", "fsl", "isl_fsl"]
SOFTMAX = {"posterior": "multinomial", "background_channel": True}  # what these gates are made for
OVERLAYS: dict[str, dict[str, Any]] = {
    "isl_1_sample": {"isl_weight": 0.2, "samples": 1},
    "isl_5_samples": {"isl_weight": 0.2, "samples": 5},
    "isl_weight_0.5": {"isl_weight": 0.5},
    "isl_weight_1": {"isl_weight": 1.0},
    "fsl_gate_b": {"isl_weight": 0.0, "fsl_weight": 1.0, "gate": "b"},
    "fsl_gate_a": {**SOFTMAX, "isl_weight": 0.0, "fsl_weight": 1.0, "gate": "a"},
    "fsl_gate_s": {**SOFTMAX, "isl_weight": 0.0, "fsl_weight": 1.0, "gate": "s"},
}
#: Iterations, and what the bundle is told of a study.
ROWS: dict[str, tuple[int, dict[str, str]]] = {
    "scenes": (600, {}),
    "hippocampus_slices": (
        560,
        {"batch_size": "32", "in_channels": "1", "mean": "[0.57]", "std": "[0.25]", "patch_size": "[64,64]"},
    ),
    "dubai_tiles": (520, {"patch_size": "[256,256]", "strides": "[2,2,2]", "allow_constant_tags": "true"}),
}


def hippocampus_slices(data: Path, folder: Path) -> Path:
    """Volumes in bytes, 255 the 99th percentile of each, as MR has no scale of its own; tags of slices."""
    source, items = data / "hippocampus", {}
    listed = read_json(source / "dataset.json")
    for section in ("training", "validation"):
        items[section] = [
            {key: f"{key}s/{item['id']}.nii.gz" for key in ("image", "label")} for item in listed[section]
        ]
        for item, to in zip(listed[section], items[section]):
            volume = nib.load(source / item["image"])
            values = volume.get_fdata()
            scaled = (255 * values / np.percentile(values, 99)).clip(0, 255).astype(np.uint8)
            written = {"image": nib.Nifti1Image(scaled, volume.affine), "label": nib.load(source / item["label"])}
            for key, image in written.items():
                (folder / to[key]).parent.mkdir(parents=True, exist_ok=True)
                nib.save(image, folder / to[key])
    write_json({"labels": listed["labels"], **items}, folder / "masks.json")
    return tagged(folder, slices=2)


def dubai_tiles(data: Path, folder: Path) -> Path:
    """Tiles, cut without overlap."""
    source, items = data / "remote_sensing" / "dubai", {}
    listed = read_json(source / "dataset.json")
    for section in ("training", "validation"):
        items[section] = [tile for item in listed[section] for tile in cut(source, item, folder)]
    labels = {value: name for value, name in listed["labels"].items() if value != "255"}
    write_json({"labels": labels, "background": False, "ignore_values": [255], **items}, folder / "masks.json")
    return tagged(folder, min_share=0.01)


def cut(source: Path, item: dict[str, Any], folder: Path) -> Iterator[dict[str, str]]:
    """The tiles of one image."""
    pictures = {key: np.asarray(Image.open(source / item[key])) for key in ("image", "label")}
    height, width = pictures["label"].shape
    for y in range(0, height - SIDE + 1, SIDE):
        for x in range(0, width - SIDE + 1, SIDE):
            paths = {key: f"{key}s/{item['id']}_{y}_{x}.png" for key in pictures}
            for key, picture in pictures.items():
                (folder / paths[key]).parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(picture[y : y + SIDE, x : x + SIDE]).save(folder / paths[key])
            yield paths


def tagged(folder: Path, **options: Any) -> Path:
    """The study's list, with tags of its masks."""
    datalist = folder / "dataset.json"
    tags.run(tags.Options(masks=folder / "masks.json", output=datalist, **options))
    return datalist


STUDIES = {"hippocampus_slices": hippocampus_slices, "dubai_tiles": dubai_tiles}


def main() -> None:
    """Make what is missing, and compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="real data")
    parser.add_argument("--rows", nargs="+", choices=ROWS, default=list(ROWS))
    parser.add_argument("--seeds", nargs="+", default=["0", "1", "2"])
    parser.add_argument("--methods", nargs="+", choices=[*BUNDLED, *OVERLAYS], default=[*BUNDLED, *OVERLAYS])
    parser.add_argument("--output", type=Path, default=Path("output/tags"))
    arguments = parser.parse_args()
    overlays = arguments.output / "overlays"
    overlays.mkdir(parents=True, exist_ok=True)
    for name, options in OVERLAYS.items():
        write_json(options, overlays / f"{name}.json")
    methods = [name if name in BUNDLED else str(overlays / f"{name}.json") for name in arguments.methods]
    for row in arguments.rows:
        datalist = arguments.output / "data" / row / "dataset.json"
        if row == "scenes":
            datalist = Path(ensure_scenes("data/scenes"))
        elif not datalist.exists():
            STUDIES[row](arguments.data, datalist.parent)
        iterations, options = ROWS[row]
        command = [sys.executable, "-m", "medwsss", "compare", "--datalist", str(datalist), "--bundle", "image_tags"]
        command += ["--methods", *methods, "--seeds", *arguments.seeds, "--budget", f"{iterations}it"]
        command += ["--output", str(arguments.output / row), *(w for k, v in options.items() for w in (f"--{k}", v))]
        subprocess.run(command, check=True)


if __name__ == "__main__":
    main()
