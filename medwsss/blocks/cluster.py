# SPDX-License-Identifier: Apache-2.0
"""Dask's workers, here or on a cluster, in the place of processes of our own."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from monai.utils import optional_import

from medwsss.blocks.jobs import Job

distributed, has_distributed = optional_import("distributed")

__all__ = ["connected", "dask_map"]

_RETRIES = 10  # of a block that went down with its worker
LOCAL = "local"  #: in place of an address: workers on this machine


@contextmanager
def connected(scheduler: str, workers: int) -> Iterator[Any]:
    """A client of the scheduler at an address; of ``"local"``, with so many workers of its own.

    Raises:
        ImportError: with the command that installs what is missing.
        OSError: where there is no scheduler.
    """
    if not has_distributed:
        raise ImportError("a scheduler needs Dask: pip install 'medwsss[dask]', or distributed")
    if scheduler != LOCAL:
        with distributed.Client(scheduler, timeout="30s") as client:
            yield client
        return
    with distributed.LocalCluster(n_workers=workers, threads_per_worker=1, dashboard_address=None) as cluster:
        with distributed.Client(cluster) as client:
            yield client


def dask_map(
    function: Callable[[Job], None], jobs: Sequence[Job], client: Any
) -> Generator[tuple[Job, None], None, None]:
    """As :func:`medwsss.parallel.parallel_map`: a task a block, whose data goes through files.

    Raises:
        BrokenProcessPool: for a block whose workers died time and again.
    """
    of = dict(zip(client.map(partial(_alone, function), jobs, pure=False, retries=_RETRIES), jobs))
    try:
        for future in distributed.as_completed(list(of)):
            yield of[future], future.result()
    except distributed.KilledWorker as error:
        raise BrokenProcessPool(str(error)) from error
    finally:
        client.cancel(list(of))


def _alone(function: Callable[[Job], None], job: Job) -> None:
    torch.set_num_threads(1)  # there are as many workers as somebody wants to be busy
    function(job)
