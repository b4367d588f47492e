# SPDX-License-Identifier: Apache-2.0
"""The bundles and data lists that experiments train with."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from monai.data import Dataset

from data_prep.__main__ import main as data_prep
from medwsss.advice.finished import FinishedRun
from medwsss.bundle import location
from medwsss.files import read_json
from medwsss.keys import LABEL, SCRIBBLE

__all__ = ["bundle_files", "dense_cases", "dense_key", "method_names", "prepared", "shortened"]

#: What lies in a bundle's folder and is no overlay that changes a training.
NO_METHODS = {"train", "evaluate", "inference", "metadata", "multi_gpu_train"}


def bundle_folder(name: str) -> Path:
    """``bundles/<name>`` of the working folder, else of the installed package.

    Raises:
        ValueError: for a name that neither has.
    """
    folder = Path("bundles") / name
    return folder if folder.is_dir() else location.bundle_folder(name)


def method_names(bundle: str) -> list[str]:
    """Overlays of a bundle that a training can have."""
    return sorted({path.stem for path in bundle_folder(bundle).glob("*.json")} - NO_METHODS)


def study_settings() -> dict[str, Path]:
    """Overlays of ``bundles/scribble`` with which studies of the tables train: set by hand, before recipes."""
    folder = Path(__file__).with_name("settings")
    if folder.is_relative_to(Path.cwd()):
        folder = folder.relative_to(Path.cwd())
    return {path.stem: path for path in folder.glob("*.json")}


def bundle_files(bundle: str, overlays: Sequence[str]) -> list[str]:
    """Paths of the bundle's ``train.json`` and of overlays: its own or :func:`study_settings` by name, or JSON files.

    Raises:
        ValueError: where one is not there, or refers to a file that is not in the working folder.
    """
    train = bundle_folder(bundle) / "train.json"
    for target in sorted(set(re.findall(r'"%([^":]+\.json)::', train.read_text()))):
        if not Path(target).is_file():
            raise ValueError(
                f"expected {target}, of which {train} takes parts, got none; medwsss bundle --copy . brings it"
            )
    named = {name: train.with_name(f"{name}.json") for name in method_names(bundle)}
    named |= study_settings() if bundle == "scribble" else {}
    files = [train]
    for overlay in overlays:
        given = Path(overlay)
        if not (given.suffix == ".json" and given.is_file()):
            if overlay not in named:
                raise ValueError(f"expected a JSON file or one of {sorted(named)} for {train.parent}, got {overlay!r}")
            given = named[overlay]
        files.append(given)
    return [str(path) for path in files]


def prepared(folder: Path, words: Sequence[str]) -> Path:
    """The study's folder, made by this command of ``data_prep`` where it is not there."""
    if not (folder / "dataset.json").exists():
        if not words:
            raise ValueError(f"expected a dataset.json in {folder}, got none")
        if data_prep([*words, "--output", str(folder), "--workers", "1"]):
            raise SystemExit(1)  # it has said why
    return folder


def shortened(datalist: Path, length: float) -> Path:
    """The data list with strokes of this length ratio, made beside the whole one if it is not there.

    Raises:
        ValueError: for a data list without strokes.
    """
    if any(SCRIBBLE not in item for item in read_json(datalist, "a data list")["training"]):
        raise ValueError(f"expected a data list with strokes (python -m data_prep scribbles), got {datalist}")
    if length == 1:
        return datalist
    folder = datalist.parent.with_name(f"{datalist.parent.name}_{length:g}")
    words = ["scribbles", "--datalist", str(datalist), "--from", SCRIBBLE, "--length-ratio", str(length)]
    return prepared(folder, words) / "dataset.json"


def dense_key(datalist: Path) -> str:
    """Where the training items' dense masks are: ``mask``, else ``label``, as ``data_prep check`` has it.

    Raises:
        ValueError: where an item has none.
    """
    items: list[dict[str, Any]] = read_json(datalist, "a data list")["training"]
    key = "mask" if all("mask" in item for item in items) else LABEL
    for index, item in enumerate(items):
        if key not in item or item[key] == item.get(SCRIBBLE):
            raise ValueError(f"expected a dense mask in every training item, got none in training[{index}], {datalist}")
    return key


def dense_cases(folder: Path, run: FinishedRun) -> Dataset:
    """The training cases of the run in this folder, the same way, with dense masks in place of their scribbles.

    Raises:
        ValueError: where an item has none.
    """
    datalist = run["datalist"]  # another than the folder's where the run was opened with one
    overrides = {"held_out_share": 0.0, "datalist": datalist, "annotation_key": dense_key(Path(datalist))}
    cases: Dataset = FinishedRun(folder, overrides)["train#cases"]
    return cases
