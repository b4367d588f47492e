# SPDX-License-Identifier: Apache-2.0
"""What is to be done in blocks, with every figure that looks at a whole case: measured once, frozen in a file.

=============================  ==================================================================
``folder/plan.json``           the plan
``folder/CASE_start.zarr``     coarse labels that blocks of it start from
``folder/CASE.zarr``           what comes out, ``K *S``, a chunk a block
``folder/done/CASE/N.json``    block ``N`` is on the disk: of which plan, and a checksum
``folder/CASE_labels.*``       classes, in the format of the image, once all blocks are there
=============================  ==================================================================
"""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any

from medwsss.blocks.sources import is_zarr
from medwsss.files import read_json, write_json
from medwsss.study.windows import Window, windows

__all__ = ["Case", "Plan", "read_plan"]

FILE = "plan.json"


@dataclass(frozen=True)
class Case:
    """An image, the blocks it is cut into, and figures of all of it."""

    name: str
    files: Mapping[str, Any]  #: ``image``, ``scribble`` …: a path, or paths of channels
    shape: Sequence[int]
    core: Sequence[int]  #: voxels of a block along each axis
    halo: Sequence[int]  #: voxels around it that are looked at
    figures: Mapping[str, Any] = field(default_factory=dict)  #: whatever a task measures

    def sizes(self) -> dict[str, int]:
        """Bytes of its files."""
        names = [name for value in self.files.values() for name in ([value] if isinstance(value, str) else value)]
        return {name: Path(name).stat().st_size for name in names if not is_zarr(name)}

    @property
    def blocks(self) -> list[Window]:
        """All of them; their number is their name."""
        return _blocks(tuple(self.shape), tuple(self.core), tuple(self.halo))


@functools.lru_cache(maxsize=8)  # not in the case, which goes to other processes block by block
def _blocks(*cut: tuple[int, ...]) -> list[Window]:
    return list(windows(*cut))


@dataclass(frozen=True)
class Plan:
    """Everything that blocks depend on, beside the files."""

    task: str  #: of :data:`medwsss.blocks.jobs.TASKS`
    options: Mapping[str, Any]  #: as they were given
    class_names: Sequence[str]
    cases: Sequence[Case]

    @functools.cached_property
    def digest(self) -> str:
        """Of all there is."""
        return sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()

    def write(self, folder: Path) -> None:
        """Whole, or not at all."""
        write_json(asdict(self), folder / FILE)

    def check(self, task: str, options: Mapping[str, Any], folder: Path) -> None:
        """Refuse to go on with something else than the plan was made for.

        Raises:
            ValueError: naming what differs.
        """
        planned, asked = {"task": self.task, **self.options}, {"task": task, **options}
        changed = [name for name in {**planned, **asked} if planned.get(name) != asked.get(name)]
        if changed:
            before, now = (", ".join(f"{name} {each.get(name)}" for name in changed) for each in (planned, asked))
            raise ValueError(
                f"expected {before}, as in {folder / FILE}, got {now}: give another output, or delete that folder"
            )
        for case in self.cases:
            if (sizes := case.sizes()) != case.figures.get("bytes"):
                raise ValueError(f"expected files of {case.figures.get('bytes')} bytes, as planned, got {sizes}")


def read_plan(folder: Path) -> Plan | None:
    """The plan in a folder; ``None`` where there is none.

    Raises:
        ValueError: naming the file, for something else.
    """
    path = folder / FILE
    return _read(path, path.stat().st_mtime_ns) if path.exists() else None


@functools.lru_cache(maxsize=2)
def _read(path: Path, changed: int) -> Plan:
    content = read_json(path, "a plan of blocks")
    try:
        cases = [Case(**each) for each in content.pop("cases")]
        return Plan(**content, cases=cases)
    except (TypeError, KeyError, AttributeError) as error:
        raise ValueError(f"expected a plan of blocks, got something else in {path}: {error}") from error
