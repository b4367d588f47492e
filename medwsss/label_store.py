# SPDX-License-Identifier: Apache-2.0
"""Labels of whole volumes on disk, where a training's processes write and read them.

=================================  ===============================================================================
``folder/current``                 the generation that training reads
``folder/epoch=N/origin``          what generation ``N`` comes from, a digest
``folder/epoch=N/CASE.npy``        ``y``, ``K *S`` float16
``folder/epoch=N/CASE.opinion.npy``  the running average of ``σ``, likewise, where there is one
``folder/epoch=N/CASE.json``       figures of the solve
=================================  ===============================================================================

Every file is whole or not there, and a case's labels are written last: what a killed process leaves is of use.
"""

from __future__ import annotations

import io
import re
import shutil
from collections.abc import Iterable, Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np

from medwsss.files import read_json, write_atomically, write_json
from medwsss.keys import CASE, IMAGE

__all__ = ["LabelStore", "name_cases"]

_GENERATION = re.compile(r"epoch=(\d+)")


def name_cases(items: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Items of a data list with a name for each: its image's, and a digest of all of its paths.

    Equal file names in other folders, and other scribbles of one image, thus have other names.

    Example:
        >>> [item["case"] for item in name_cases([{"image": "a/1.nii.gz"}, {"image": "b/1.nii.gz"}])]
        ['1-a9543455', '1-1c1500e7']
    """

    def name(item: Mapping[str, Any]) -> str:
        first = item[IMAGE] if isinstance(item[IMAGE], str) else item[IMAGE][0]
        return f"{Path(first).name.split('.')[0]}-{sha256(repr(sorted(item.items())).encode()).hexdigest()[:8]}"

    return [{**item, CASE: name(item)} for item in items]


class LabelStore:
    """Generations of labels in a folder; it holds no state, so that every process sees what there is now.

    Args:
        folder: made when first written to.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)

    def _path(self, generation: int, name: str) -> Path:
        return self.folder / f"epoch={generation}" / name

    @property
    def current(self) -> int | None:
        """The generation that training reads."""
        file = self.folder / "current"
        return int(file.read_text()) if file.exists() else None

    @current.setter
    def current(self, generation: int | None) -> None:
        """Let training read this one, or none."""
        if generation is None:
            (self.folder / "current").unlink(missing_ok=True)
        elif generation != self.current:
            _write(str(generation).encode(), self.folder / "current")

    def begin(self, generation: int, origin: str, before: int | None = None) -> None:
        """Make room for the generation after ``before``; what there is of it from the same origin stays."""
        same = self.origin(generation) == origin
        for found in self._generations():
            if (before is None or found > before) and not (same and found == generation):
                self._delete(found)
        if not same:
            _write(origin.encode(), self._path(generation, "origin"))

    def origin(self, generation: int) -> str | None:
        """What a generation comes from, if there is one."""
        file = self._path(generation, "origin")
        return file.read_text() if file.exists() else None

    def has(self, generation: int, case: str) -> bool:
        """Whether a case's labels are there."""
        return self._path(generation, f"{case}.npy").exists()

    def is_whole(self, generation: int, origin: str, cases: Iterable[str]) -> bool:
        """Whether all cases' labels of this origin are there."""
        return self.origin(generation) == origin and all(self.has(generation, case) for case in cases)

    def write(
        self, generation: int, case: str, y: np.ndarray, opinion: np.ndarray | None, figures: Mapping[str, Any]
    ) -> None:
        """Labels ``K *S`` of a case, the average opinion that goes on to the next generation, and the solve's figures.

        Raises:
            OSError: when a file cannot be written (disk full, no permission); names it.
        """
        write_json(dict(figures), self._path(generation, f"{case}.json"))
        if opinion is not None:
            _write(_bytes(opinion), self._path(generation, f"{case}.opinion.npy"))
        _write(_bytes(y), self._path(generation, f"{case}.npy"))

    def labels(self, case: str) -> np.ndarray | None:
        """``K *S`` float16 of the current generation, memory-mapped; ``None`` before there are any."""
        generation = self.current
        return None if generation is None else np.load(self._path(generation, f"{case}.npy"), mmap_mode="c")

    def opinion(self, generation: int, case: str) -> np.ndarray | None:
        """The average of opinions up to a generation, if it has one."""
        file = self._path(generation, f"{case}.opinion.npy")
        return np.load(file) if file.exists() else None

    def figures(self, generation: int, case: str) -> dict[str, Any]:
        """Of the solve of a case."""
        return read_json(self._path(generation, f"{case}.json"))

    def forget_before(self, epoch: int) -> None:
        """Delete the generations that no training after this epoch can need: all but the last up to it, and later."""
        for generation in [each for each in self._generations() if each <= epoch][:-1]:
            self._delete(generation)

    def _generations(self) -> list[int]:
        found = (_GENERATION.fullmatch(path.name) for path in self.folder.glob("epoch=*"))
        return sorted(int(match[1]) for match in found if match)

    def _delete(self, generation: int) -> None:
        self._path(generation, "origin").unlink(missing_ok=True)  # first: without it, the rest is nobody's
        shutil.rmtree(self._path(generation, ""))

    def remove(self) -> None:
        """Delete the folder."""
        shutil.rmtree(self.folder, ignore_errors=True)


def _bytes(array: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array.astype(np.float16), allow_pickle=False)
    return buffer.getvalue()


def _write(data: bytes, path: Path) -> None:
    write_atomically(memoryview(data), path)
