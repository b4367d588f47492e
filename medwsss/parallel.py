# SPDX-License-Identifier: Apache-2.0
"""A function over many inputs in several processes that stop with the first error and die with their parent."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import connection, parent_process
from typing import TypeVar

import torch

Input = TypeVar("Input")
Result = TypeVar("Result")


def parallel_map(
    function: Callable[[Input], Result], inputs: Sequence[Input], workers: int
) -> Generator[tuple[Input, Result], None, None]:
    """Each input with its result, in the order in which results arrive; with one worker, in this process.

    Raises:
        Exception: what ``function`` raised first; inputs that nobody has begun with are then given up.
    """
    if workers <= 1 or len(inputs) < 2:
        yield from ((each, function(each)) for each in inputs)
        return
    pool = ProcessPoolExecutor(min(workers, len(inputs)), initializer=_start)
    try:
        futures = {pool.submit(function, each): each for each in inputs}
        for future in as_completed(futures):
            yield futures[future], future.result()
    finally:
        pool.shutdown(cancel_futures=True)


def _start() -> None:
    torch.set_num_threads(1)  # there are as many processes as cores, and a forked one waits forever for its own threads
    _end_with_parent()


def _end_with_parent() -> None:
    """Without this, workers of a killed process wait for work forever."""
    parent = parent_process()
    assert parent is not None

    def watch(sentinel: int) -> None:
        connection.wait([sentinel])
        os._exit(1)

    threading.Thread(target=watch, args=(parent.sentinel,), daemon=True).start()
