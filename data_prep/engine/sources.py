# SPDX-License-Identifier: Apache-2.0
"""What a converter finds in a source, and the files that are made of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Union
from zlib import crc32

from medwsss.study.readers import stem_of, suffix_of


@dataclass(frozen=True)
class Case:
    """One image with what belongs to it."""

    name: str  #: unique in the study; the stem of the output files
    patient: str  #: what a split must not tear apart: patient, scene, photograph
    files: Mapping[str, Union[Path, tuple[Path, ...]]]  #: sources by key (IMAGE, SCRIBBLE, LABEL); several: channels
    section: str | None = None  #: of ``splits.SECTIONS``, where the publisher says so; None: by ``--split``

    @property
    def paths(self) -> list[Path]:
        """All sources."""
        return [path for value in self.files.values() for path in ([value] if isinstance(value, Path) else value)]

    def seed(self, seed: int) -> int:
        """Of what is drawn into the case: by a study's ``seed`` and the case's name, whatever the others."""
        return crc32(f"{seed} {self.name}".encode())


@dataclass(frozen=True)
class File:
    """One file to write."""

    suffix: str  #: ``.nii.gz``, ``.png``, …
    content: Union[bytes, Path]  #: bytes, or the source to copy byte by byte
    beside: Mapping[str, Path] = field(default_factory=dict)  #: more sources, by what follows the stem in their names
    facts: Mapping[str, Any] = field(default_factory=dict)  #: what the data list is to say of it, as JSON

    def read(self) -> bytes:
        """The bytes to write."""
        return self.content.read_bytes() if isinstance(self.content, Path) else self.content


def companions(path: Path) -> dict[str, Path]:
    """``{suffix: path}`` of files beside a TIFF that hold a part of what it states: its mask, its nodata, its place."""
    if suffix_of(path).lower() not in (".tif", ".tiff"):
        return {}
    stem = stem_of(path)
    endings = [suffix_of(path) + more for more in (".msk", ".aux.xml")] + [".tfw", ".TFW", ".tifw", ".wld"]
    beside = {ending.lower(): path.with_name(stem + ending) for ending in reversed(endings)}
    return {ending: beside[ending] for ending in sorted(beside) if beside[ending].exists()}


def copy_of(path: Path, **facts: Any) -> File:
    """A file to copy byte by byte, with its :func:`companions`."""
    return File(suffix_of(path).lower(), path, companions(path), facts)


def visible(folder: Path, pattern: str) -> list[Path]:
    """What in ``folder`` matches a glob pattern, in order, without what is hidden or in hidden folders.

    Names that begin with a dot are left behind by macOS, editors and notebooks (``._case_00.nii.gz``).
    """
    found = folder.glob(pattern)
    return sorted(p for p in found if not any(part.startswith(".") for part in p.relative_to(folder).parts))


def read_text(path: Path) -> str:
    """A text file.

    Raises:
        ValueError: for one that is not in UTF-8.
    """
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(f"expected text in UTF-8, got {path}: {error}") from error


#: A case's files by key (IMAGE, SCRIBBLE, LABEL); a list for the channels of one image.
Files = Mapping[str, Union[File, Sequence[File]]]


@dataclass(frozen=True)
class Dataset:
    """What a converter found, and how to make files of it."""

    name: str
    labels: Sequence[str]  #: names of the classes 0 … K−1
    cases: Sequence[Case]
    make: Callable[[Case], Files]  #: a module's function or a ``functools.partial`` of one: it travels to processes
    roots: Sequence[Path]  #: the source folders, which no source file may leave
    spatial_dims: int = 3
    in_channels: int = 1
    void: bool = False  #: whether labels may hold VOID
    convention: Any = None  #: JSON that a file tells of what values mean: by another one it is another study
    facts: Mapping[str, Any] = field(default_factory=dict)  #: what else the data list is to say, as JSON
