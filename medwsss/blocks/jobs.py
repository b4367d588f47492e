# SPDX-License-Identifier: Apache-2.0
"""One job a block: read, compute, write its own chunk, mark it as done; whoever runs it, and however often."""

from __future__ import annotations

import logging
import os
import shutil
from collections.abc import Callable, Iterator
from concurrent.futures.process import BrokenProcessPool
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

import numpy as np
from tqdm import tqdm

from medwsss.blocks.labels import solve_block
from medwsss.blocks.plan import Case, Plan, read_plan
from medwsss.blocks.sources import require_zarr
from medwsss.files import read_json, write_json
from medwsss.parallel import parallel_map
from medwsss.study.windows import Window

__all__ = ["TASKS", "Job", "begin", "leftovers", "pending", "read_block", "run_job", "run_jobs"]

logger = logging.getLogger(__name__)

#: What makes a block's result, ``K *core``, in what type it is kept.
TASKS: dict[str, tuple[Callable[[Case, Window], np.ndarray], str]] = {"labels": (solve_block, "float16")}

_BREAKS = 3  # of the processes, one after the other with no block done in between


class Job(NamedTuple):
    """A block of a case, by their numbers."""

    case: int
    block: int


def _marker(folder: Path, case: Case, block: int) -> Path:
    return folder / "done" / case.name / f"{block}.json"


def _place(window: Window) -> tuple[slice, ...]:
    return (slice(None), *(slice(*ends) for ends in window.core))


def _path(folder: Path, case: Case) -> Path:
    return folder / f"{case.name}.zarr"


def begin(folder: Path, plan: Plan) -> None:
    """Write the plan, behind arrays that hold nothing yet; what a plan that was not written left there is deleted."""
    zarr = require_zarr()
    shutil.rmtree(folder / "done", ignore_errors=True)
    for case in plan.cases:
        chunks = (len(plan.class_names), *case.core)
        zarr.create_array(
            _path(folder, case),
            shape=(len(plan.class_names), *case.shape),
            chunks=chunks,
            dtype=TASKS[plan.task][1],
            attributes={"class_names": list(plan.class_names)},
            overwrite=True,
        )
    plan.write(folder)


def is_done(folder: Path, plan: Plan, job: Job) -> bool:
    """Whether a block of this plan is marked.

    Raises:
        ValueError: for the mark of another plan.
    """
    marker = _marker(folder, plan.cases[job.case], job.block)
    if not marker.exists():
        return False
    if read_json(marker, "a block's mark").get("plan") != plan.digest:
        raise ValueError(f"expected blocks of the plan in {folder}, got another's in {marker}: delete that folder")
    return True


def pending(folder: Path, plan: Plan, part: tuple[int, int] = (0, 1)) -> list[Job]:
    """Blocks of a part of all that are not marked."""
    every = [Job(case, block) for case, each in enumerate(plan.cases) for block in range(len(each.blocks))]
    return [job for job in every[part[0] :: part[1]] if not is_done(folder, plan, job)]


def run_job(folder: Path, job: Job) -> None:
    """Do a block, unless it is done."""
    plan = read_plan(folder)
    assert plan is not None
    if is_done(folder, plan, job):
        return
    case, (compute, _) = plan.cases[job.case], TASKS[plan.task]
    window = case.blocks[job.block]
    values = np.ascontiguousarray(compute(case, window))
    require_zarr().open_array(_path(folder, case), mode="r+")[_place(window)] = values
    _sync(_path(folder, case), case, window)
    mark = {"plan": plan.digest, "sha256": _checksum(values)}
    write_json(mark, _marker(folder, case, job.block))


def read_block(folder: Path, case: Case, block: int) -> np.ndarray | None:
    """A block's result; ``None`` where it is not what was written, and its mark is taken away."""
    marker = _marker(folder, case, block)
    try:
        found: np.ndarray = require_zarr().open_array(_path(folder, case), mode="r")[_place(case.blocks[block])]
        if read_json(marker, "a block's mark").get("sha256") == _checksum(found):
            return found
    except (OSError, RuntimeError, ValueError):  # a chunk that is cut short cannot be decoded
        pass
    logger.warning("Block %d of %s is damaged on the disk.", block, case.name)
    marker.unlink(missing_ok=True)
    return None


def run_jobs(folder: Path, plan: Plan, workers: int = 1, part: tuple[int, int] = (0, 1)) -> None:
    """All pending blocks of a part, in processes; when some of these are killed, in others.

    Raises:
        RuntimeError: when processes die again and again before any block is done.
    """
    breaks, left = 0, pending(folder, plan, part)
    with tqdm(total=len(left), desc=plan.task, unit="block", disable=None if left else True) as bar:
        while left:
            try:
                for _ in parallel_map(partial(run_job, folder), left, workers):
                    bar.update()
            except BrokenProcessPool:
                logger.warning("A process was killed; its block is done anew by another.")
            before, left = len(left), pending(folder, plan, part)
            bar.n = bar.total - len(left)
            breaks = breaks + 1 if len(left) == before else 0
            if breaks == _BREAKS:
                raise RuntimeError(
                    f"expected blocks of {list(plan.cases[left[0].case].core)} to be done, got processes that were "
                    "killed, as happens where memory does not suffice: fewer workers, or a smaller core, need less"
                )


def _checksum(values: np.ndarray) -> str:
    return sha256(np.ascontiguousarray(values).data).hexdigest()


def _sync(path: Path, case: Case, window: Window) -> None:
    """A mark must not reach the disk before its chunk."""
    index = [low // side for (low, _), side in zip(window.core, case.core)]
    chunk = path.joinpath("c", "0", *map(str, index))
    if chunk.exists():  # zarr leaves out what holds nothing but zeros
        with open(chunk, "rb") as file:
            os.fsync(file.fileno())


def leftovers(folder: Path, case: Case) -> Iterator[Path]:
    """What killed processes had not finished writing."""
    yield from _path(folder, case).rglob("*.partial")
    yield from (folder / "done" / case.name).glob("*.tmp")
