# SPDX-License-Identifier: Apache-2.0
"""The bundle for image tags on a few scenes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from monai.bundle import ConfigWorkflow

from data_prep.scenes import make_scenes
from tests.bundles.bundle import REPOSITORY, execute

BUNDLE = REPOSITORY / "bundles" / "image_tags"
TINY: dict[str, Any] = {
    "epochs": 2,
    "val_interval": "@epochs",
    "channels": [4, 4],
    "strides": [2, 2],
    "patch_size": [32, 32],
    "batch_size": 4,
    "sigma": 1.0,
    "device": "cpu",
    "amp": False,
    "workers": 0,
}


def write_study(folder: Path) -> Path:
    """Twelve training scenes of 32² pixels and three for validation; the folder."""
    return make_scenes(folder, 12, 3, size=32).parent


def workflow(*names: str, **overrides: Any) -> ConfigWorkflow:
    """The workflow of these configurations; the tests' logging stays as it is."""
    files = [str(BUNDLE / f"{name}.json") for name in names]
    return ConfigWorkflow(files, workflow_type="train", logging_file=False, run_id="run", **overrides)


def tagged(study: Path, output: Path, *names: str, **overrides: Any) -> ConfigWorkflow:
    """The workflow of ``train.json`` and overlays on a study, with ``TINY`` and more overrides."""
    return workflow("train", *names, **{**TINY, "dataset_dir": str(study), "output_dir": str(output), **overrides})


def train(study: Path, output: Path, *names: str, **overrides: Any) -> ConfigWorkflow:
    """Train it."""
    return execute(tagged(study, output, *names, **overrides))
