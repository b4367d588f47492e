# SPDX-License-Identifier: Apache-2.0
"""One job a block: read, compute, write its own chunk, mark it as done; whoever runs it, and however often."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from tqdm import tqdm

from medwsss.blocks.infer import predict_block
from medwsss.blocks.plan import Case, Plan, read_plan
from medwsss.blocks.solve import solve_block
from medwsss.blocks.sources import create_array, open_array
from medwsss.files import delete, read_json, sync, write_json, writing
from medwsss.study.windows import Window

__all__ = ["TASKS", "Job", "begin", "leftovers", "pending", "read_block", "run_job", "run_jobs"]

logger = logging.getLogger(__name__)

#: What makes a block's result, ``K *core``, in what type it is kept.
TASKS: dict[str, tuple[Callable[[Case, Window], np.ndarray], str]] = {
    "labels": (solve_block, "float16"),
    "infer": (predict_block, "float32"),
}

Map = Callable[[Callable[["Job"], None], Sequence["Job"]], Iterable[Any]]

_LOOKS = 16  # at marks at a time
_BREAKS = 3  # of the processes, one after the other with no block done in between


class Job(NamedTuple):
    """A block of a case, by their numbers."""

    case: int
    block: int


def _marker(folder: Path, case: Case, block: int) -> Path:
    return folder / "done" / case.name / f"{block}.json"


def _place(window: Window) -> tuple[slice, ...]:
    return (slice(None), *(slice(*ends) for ends in window.core))


def _array(folder: Path, case: Case) -> Path:
    return folder / f"{case.name}.zarr"


def begin(folder: Path, plan: Plan) -> None:
    """Write the plan, behind arrays that hold nothing yet; what a plan that was not written left there is deleted."""
    delete(folder / "done")
    for case in plan.cases:
        with writing(_array(folder, case)):
            create_array(_array(folder, case), plan.class_names, case.shape, case.core, TASKS[plan.task][1])
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
    mine = every[part[0] :: part[1]]
    with ThreadPoolExecutor(_LOOKS) as pool:  # a URL answers in its own time
        return [job for job, done in zip(mine, pool.map(partial(is_done, folder, plan), mine)) if not done]


def run_job(folder: Path, job: Job) -> None:
    """Do a block, unless it is done."""
    plan = read_plan(folder)
    assert plan is not None
    if is_done(folder, plan, job):
        return
    case, (compute, _) = plan.cases[job.case], TASKS[plan.task]
    window = case.blocks[job.block]
    values = np.ascontiguousarray(compute(case, window))
    path = _array(folder, case)
    with writing(path):
        open_array(str(path), "r+")[_place(window)] = values
    chunk = [low // side for (low, _), side in zip(window.core, case.core)]
    sync(path.joinpath("c", "0", *map(str, chunk)))  # before the mark; nothing but zeros has no file
    mark = {"plan": plan.digest, "sha256": _checksum(values)}
    write_json(mark, _marker(folder, case, job.block))


def read_block(folder: Path, case: Case, block: int) -> np.ndarray | None:
    """A block's result; ``None`` where it is not what was written, and its mark is taken away."""
    marker = _marker(folder, case, block)
    try:
        found: np.ndarray = open_array(str(_array(folder, case)), "r")[_place(case.blocks[block])]
        if read_json(marker, "a block's mark").get("sha256") == _checksum(found):
            return found
    except (OSError, RuntimeError, ValueError):  # a chunk that is cut short cannot be decoded
        pass
    logger.warning("Block %d of %s is damaged on the disk.", block, case.name)
    marker.unlink(missing_ok=True)
    return None


def run_jobs(folder: Path, plan: Plan, run: Map, part: tuple[int, int] = (0, 1)) -> None:
    """All pending blocks of a part; when the process of one is killed, in another.

    Args:
        folder: with the plan.
        plan: what :func:`~medwsss.blocks.plan.read_plan` reads there.
        run: calls a function with each of some jobs, as :func:`medwsss.parallel.parallel_map` does in so many workers.
        part: which of how many.

    Raises:
        RuntimeError: when processes die again and again before any block is done.
    """
    breaks, left = 0, pending(folder, plan, part)
    with tqdm(total=len(left), desc=plan.task, unit="block", disable=None if left else True) as bar:
        while left:
            try:
                for _ in run(partial(run_job, folder), left):
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


def leftovers(folder: Path, case: Case) -> Iterator[Path]:
    """What killed processes had not finished writing; at a URL there is no such thing."""
    if isinstance(folder, Path):
        yield from _array(folder, case).rglob("*.partial")
        yield from (folder / "done" / case.name).glob("*.tmp")
