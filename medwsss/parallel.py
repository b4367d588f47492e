# SPDX-License-Identifier: Apache-2.0
"""Work in other processes: over many inputs, ended by the first error and with the parent; and what may crash."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from multiprocessing import connection, current_process, get_all_start_methods, get_context, parent_process
from multiprocessing.connection import Connection
from typing import Any, TypeVar

import torch

Input = TypeVar("Input")
Result = TypeVar("Result")

_DAY = 86400.0


def parallel_map(
    function: Callable[[Input], Result], inputs: Sequence[Input], workers: int, ordered: bool = False
) -> Generator[tuple[Input, Result], None, None]:
    """Each input with its result, in the order in which results arrive; with one worker, in this process.

    Args:
        function: what to call with each.
        inputs: the inputs.
        workers: processes.
        ordered: in the order of the inputs.

    Raises:
        Exception: what ``function`` raised first; inputs that nobody has begun with are then given up.
    """
    if workers <= 1 or len(inputs) < 2:
        yield from ((each, function(each)) for each in inputs)
        return
    pool = ProcessPoolExecutor(min(workers, len(inputs)), initializer=_start)
    try:
        futures = {pool.submit(function, each): each for each in inputs}
        for future in _in_order(futures) if ordered else as_completed(futures):
            yield futures.pop(future), future.result()
    finally:
        pool.shutdown(cancel_futures=True)


def _in_order(futures: Mapping[Future[Result], Any]) -> Iterator[Future[Result]]:
    """The first that is left, again and again."""
    while futures:
        yield next(iter(futures))


def allow(seconds: float) -> None:
    """So much more processor time for this process; ``SIGXCPU`` ends it after that, whatever else runs here."""
    import resource  # of Unix

    limit = int(time.process_time() + min(seconds, _DAY)) + 1
    resource.setrlimit(resource.RLIMIT_CPU, (limit, resource.getrlimit(resource.RLIMIT_CPU)[1]))


def contained(function: Callable[[Callable[[float], None]], None]) -> None:
    """Call what a C library may crash in, or never come back from, in a process of its own.

    On systems without ``fork``, and in a daemon, which may have no processes, it is called here.

    Args:
        function: gets :func:`allow`, or where it is called here, what does nothing.

    Raises:
        Exception: what the function raised.
        ValueError: when a signal ended its process, as the one after the time that was allowed.
    """
    if "fork" not in get_all_start_methods() or current_process().daemon:
        return function(lambda seconds: None)
    context = get_context("fork")
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=_tell, args=(function, theirs))
    process.start()
    theirs.close()
    try:
        error = ours.recv()
    except EOFError:
        error = None
    process.join()
    if code := process.exitcode:
        how = signal.Signals(-code).name if code < 0 else f"status {code}"
        raise ValueError(f"expected to come to an end, got {how}: a library crashed or went on for ever")
    if error is not None:
        raise error
    return None


def _tell(function: Callable[[Callable[[float], None]], None], to: Connection) -> None:
    try:
        function(allow)
        to.send(None)
    except Exception as error:
        to.send(error)


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
