# SPDX-License-Identifier: Apache-2.0
"""Small pictures in trees of files, and a look at the study a command makes of them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from PIL import Image

from tests.data_prep.trees import run


def save(path, array, mode=None, **options):
    """Rows x columns (x channels) as the file that ``path`` names; ``mode`` P: the values are palette indices."""
    path.parent.mkdir(parents=True, exist_ok=True)
    picture = Image.fromarray(np.asarray(array, np.uint8))
    if mode == "P":
        picture.putpalette([7 * k % 256 for k in range(768)])
    elif mode:
        picture = picture.convert(mode)
    picture.save(path, **options)
    return path


def photograph(path, rows=6, columns=8):
    """A colour picture whose pixels all differ."""
    return save(path, np.arange(rows * columns * 3).reshape(rows, columns, 3) % 251)


def pixels(path):
    """What is in a file, rows first."""
    return np.asarray(Image.open(path))


class Made:
    """A study on disk."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.content = json.loads((folder / "dataset.json").read_text())

    def __getitem__(self, section):
        """Entries by the stem of their image."""
        return {Path(item["image"]).name.split(".")[0]: item for item in self.content[section]}

    def names(self, section):
        return sorted(self[section])

    def pixels(self, section, name, key):
        return pixels(self.folder / self[section][name][key])


def convert(command, source, output, *options):
    """The study that ``python -m data_prep command`` makes."""
    assert run(command, source, output, *options) == 0
    return Made(output)


def refusal(capsys, command, source, output, *options):
    """The error message of a command that has to fail."""
    assert run(command, source, output, *options) == 1
    assert not (output / "dataset.json").exists()
    return capsys.readouterr().err
