# SPDX-License-Identifier: Apache-2.0
"""The bundle for photographs on a study of a few pixels."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from monai.bundle import ConfigParser, ConfigWorkflow
from PIL import Image

from medwsss.keys import UNLABELED, VOID
from tests.bundles.bundle import REPOSITORY, execute

BUNDLE = REPOSITORY / "bundles" / "scribble_2d"

# two updates an epoch on four images, the first pseudo-labels and a validation in epoch 2
TINY: dict[str, Any] = {
    "num_classes": 2,
    "epochs": 2,
    "warmup_epochs": 1,
    "val_interval": "@epochs",
    "patch_size": [32, 24],
    "batch_size": 2,
    "device": "cpu",
    "amp": False,
    "workers": 0,
}


def config(*names: str) -> list[str]:
    """Paths of ``train.json`` or what else is named, without the ending."""
    return [str(BUNDLE / f"{name}.json") for name in names or ("train",)]


def read(name: str) -> dict[str, Any]:
    """A configuration as it is written."""
    content: dict[str, Any] = json.loads((BUNDLE / f"{name}.json").read_text())
    return content


def resolved(*names: str) -> ConfigParser:
    """A configuration with what it shares in place."""
    parser = ConfigParser()
    parser.read_config(config(*names))
    parser.resolve_macro_and_relative_ids()
    return parser


def workflow(*names: str, kind: str = "train", run_id: str = "run", **overrides: Any) -> ConfigWorkflow:
    """The workflow of these configurations; the tests' logging stays as it is."""
    return ConfigWorkflow(config(*names), workflow_type=kind, logging_file=False, run_id=run_id, **overrides)


def train(study: Path, output: Path, *names: str, **overrides: Any) -> ConfigWorkflow:
    """Train on the study with ``TINY`` and more overrides."""
    where = {"dataset_dir": str(study), "output_dir": str(output)}
    return execute(workflow(*names or ("train", "small"), **{**TINY, **where, **overrides}))


def write_study(folder: Path, size: tuple[int, int] = (52, 40), training: int = 4) -> Path:
    """Bright boxes in the dark, each with a void column: JPEG and PNG in turn, one JPEG turned by its EXIF alone."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    items: dict[str, list] = {"training": [], "validation": []}
    width, height = size
    for index in range(training + 2):
        label = np.zeros((height, width), np.uint8)
        label[height // 4 : height * 3 // 4, width // 4 : width * 2 // 3] = 1
        label[:, :2] = VOID
        noise = rng.integers(0, 20, (height, width, 3))
        image = (60 + np.array([100, 20, -30]) * (label == 1)[..., None] + noise).astype(np.uint8)
        scribble = np.where((rng.random(label.shape) < 0.1) | (label == VOID), label, UNLABELED).astype(np.uint8)
        names = {"image": f"image_{index}.{('jpg', 'png')[index % 2]}"}
        if index == 0:
            exif = Image.Exif()
            exif[0x0112] = 6  # to be turned clockwise by whoever displays it
            Image.fromarray(np.ascontiguousarray(np.rot90(image))).save(folder / names["image"], exif=exif, quality=95)
        else:
            Image.fromarray(image).save(folder / names["image"])
        for key, array in (("label", label), ("scribble", scribble)):
            names[key] = f"{key}_{index}.png"
            Image.fromarray(array).save(folder / names[key])
        items["training" if index < training else "validation"].append(names)
    (folder / "dataset.json").write_text(json.dumps(items))
    return folder
