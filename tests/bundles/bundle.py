# SPDX-License-Identifier: Apache-2.0
"""The bundle on a study of a few seconds: configurations, overrides and runs shared by the tests."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
from monai.bundle import ConfigParser, ConfigWorkflow

REPOSITORY = Path(__file__).parents[2]
BUNDLE = REPOSITORY / "bundles" / "scribble"
SETTINGS = REPOSITORY / "medwsss" / "experiments" / "settings"

# two updates an epoch on two volumes, the first pseudo-labels and a validation in epoch 2
TINY: dict[str, Any] = {
    "epochs": 2,
    "warmup_epochs": 1,
    "val_interval": "@epochs",
    "channels": [4, 8],
    "patch_size": [16, 16, 8],
    "samples_per_volume": 2,
    "batch_size": 2,
    "device": "cpu",
    "amp": False,
    "workers": 0,
}
TINY_2D = {**TINY, "spatial_dims": 2, "patch_size": [16, 16]}


def config(*names: str) -> list[str]:
    """Paths of ``train.json`` or what else is named, without the ending: of the bundle, or of a study."""
    of_study = {path.stem for path in SETTINGS.glob("*.json")}
    return [str((SETTINGS if name in of_study else BUNDLE) / f"{name}.json") for name in names or ("train",)]


def read(name: str) -> dict[str, Any]:
    """The text of a configuration, unparsed."""
    content: dict[str, Any] = json.loads((BUNDLE / f"{name}.json").read_text())
    return content


def resolved(*names: str) -> dict[str, Any]:
    """A configuration with what it names by ``%`` in place."""
    parser = ConfigParser()
    parser.read_config(config(*names))
    parser.resolve_macro_and_relative_ids()
    content: dict[str, Any] = parser.get()
    return content


def assert_all_is_there(files: Sequence[str]) -> None:
    """Every part that is taken from another bundle, and every id that a part refers to."""
    parser = ConfigParser()
    parser.read_config(list(files))
    parser.resolve_macro_and_relative_ids()
    parser.parse()  # once more, as a run does: what a file takes may be taken from another one itself
    assert "%bundles" not in json.dumps(parser.get())
    for item in parser.ref_resolver.items.values():
        for reference in parser.ref_resolver.find_refs_in_config(config=item.get_config(), id=item.get_id()):
            assert reference in parser.ref_resolver.items, f"{reference} of {item.get_id()}"


def workflow(*names: str, kind: str = "train", run_id: str = "run", **overrides: Any) -> ConfigWorkflow:
    """The workflow of these configurations; the tests' logging stays as it is."""
    return ConfigWorkflow(config(*names), workflow_type=kind, logging_file=False, run_id=run_id, **overrides)


def execute(flow: ConfigWorkflow) -> ConfigWorkflow:
    """Initialize, run and finalize."""
    flow.initialize()
    flow.run()
    flow.finalize()
    return flow


def train(study: Path, output: Path, *names: str, **overrides: Any) -> ConfigWorkflow:
    """Train on the study with ``TINY`` and more overrides."""
    where = {"dataset_dir": str(study), "output_dir": str(output)}
    return execute(workflow(*names or ("train",), **{**TINY, **where, **overrides}))


@contextmanager
def blank_pictures() -> Iterator[None]:
    """Pictures are written but nothing is drawn in them, which takes a third of so short a training."""
    blank = np.zeros((8, 8, 3), np.uint8)
    drawn = {name: lambda *_, **__: blank for name in ("render", "draw_energy")}
    with mock.patch.multiple("medwsss.handlers.pictures", **drawn):
        yield


def words_of(study: Path, output: Path, *names: str, **overrides: Any) -> list[str]:
    """``monai.bundle run training …``, as a user at the root of the repository types it."""
    where = {"dataset_dir": str(study), "output_dir": str(output)}
    options = [f"--{k}={v}" for k, v in {**TINY, **where, **overrides}.items()]
    # the paths of one file or a list
    files = [path.relative_to(REPOSITORY).as_posix() for path in map(Path, config(*names))]
    return ["monai.bundle", "run", "training", "--config_file", files[0] if len(files) == 1 else str(files), *options]


def command(
    study: Path, output: Path, *names: str, launcher: Sequence[str] = (), **overrides: Any
) -> subprocess.Popen[str]:
    """:func:`words_of` typed to a Python that starts anew; :class:`~tests.toy_training.Typed` is quicker."""
    return subprocess.Popen(
        [sys.executable, *launcher, "-m", *words_of(study, output, *names, **overrides)],
        cwd=REPOSITORY,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
