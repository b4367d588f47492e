# SPDX-License-Identifier: Apache-2.0
"""Training that ends when its time is over, with the schedule finished and the last epoch validated."""

from __future__ import annotations

import logging
import os
import time
from collections import deque
from pathlib import Path
from typing import Any

import ignite.distributed as idist
import torch
from ignite.engine import Engine, Events
from monai.engines import Evaluator, Workflow
from torch.optim.lr_scheduler import PolynomialLR

from medwsss.files import read_json, write_json

__all__ = ["TimeBudget"]

logger = logging.getLogger(__name__)

_RECENT = 8  # epochs whose mean time is that of the next ones


class TimeBudget:
    """Holds a trainer to a time: after each epoch, ``max_epochs`` is what the time that is left allows.

    The learning rate goes down to where its schedule ends, whatever that number becomes: the decay of ``PolynomialLR``,

        lr ← lr · ((T − t − 1) / (T − t))^power        at step t of T,

    goes on from its present rate with another ``T``. The handler also validates: every ``interval`` epochs, after the
    last one, and not right before it. In place of MONAI's ``ValidationHandler``, whose interval is fixed.

    The file says how much time is spent, so that a run that goes on has what is left.

    Args:
        path: JSON with ``minutes`` in all, ``spent`` seconds of earlier processes and ``validation``, the seconds that
            one takes; kept up to date.
        started: ``time.monotonic()`` at the beginning of this process.
        lr_scheduler: stepped after each iteration.
        validator: run on the validation cases, if there are any.
        interval: epochs from one validation to the next.

    Raises:
        ValueError: for another kind of schedule.
    """

    def __init__(
        self,
        path: str | os.PathLike,
        started: float,
        lr_scheduler: PolynomialLR,
        validator: Evaluator | None = None,
        interval: int = 1,
    ) -> None:
        if not isinstance(lr_scheduler, PolynomialLR):
            raise ValueError(f"expected PolynomialLR with minutes, got {type(lr_scheduler).__name__}")
        self.path, self.started = Path(path), started
        self.lr_scheduler, self.validator, self.interval = lr_scheduler, validator, interval
        self._file: dict[str, Any] = {}
        self._earlier = 0.0  # seconds
        self._mark = 0.0  # the end of the last epoch, validation included
        self._epochs: deque[float] = deque(maxlen=_RECENT)

    def attach(self, engine: Workflow) -> None:
        """Look at the clock at the trainer's start and after its epochs."""
        engine.add_event_handler(Events.STARTED, self.begin)
        engine.add_event_handler(Events.EPOCH_COMPLETED, self)

    def begin(self) -> None:
        """Take what is in the file."""
        self._file = read_json(self.path, "the time of a run")
        self._earlier = float(self._file["spent"])
        self._mark = time.monotonic()
        self._epochs.clear()

    def __call__(self, engine: Engine) -> None:
        """Plan the epochs that are left, validate if it is time to, and take down what is spent."""
        state: Any = engine.state
        now = time.monotonic()
        self._epochs.append(now - self._mark)
        if state.epoch < state.max_epochs:
            self._plan(state, now)
        last = state.epoch == state.max_epochs
        near = 2 * (state.max_epochs - state.epoch) < self.interval
        if self.validator is not None and (last or state.epoch % self.interval == 0 and not near):
            self.validator.run(state.epoch)
            self._file["validation"] = time.monotonic() - now
        self._mark = time.monotonic()
        self._file |= {"epochs": state.max_epochs, "spent": self._spent(self._mark)}
        if idist.get_rank() == 0:
            write_json(self._file, self.path)
        if last:
            logger.info("%.3g of %.3g minutes are spent.", self._spent(self._mark) / 60, self._file["minutes"])

    def _plan(self, state: Any, now: float) -> None:
        validation = self._file["validation"] if self.validator is not None else 0.0
        recent = list(self._epochs)[1 if len(self._epochs) > 1 and state.epoch <= _RECENT else 0 :]  # warm-up is faster
        epoch = sum(recent) / len(recent)
        left = 60 * self._file["minutes"] - self._spent(now) - validation  # of the last epoch
        further = left / (epoch + validation / self.interval)
        planned = state.epoch + max(round(float(torch.as_tensor(idist.broadcast(further, src=0)))), 1)
        if planned != state.max_epochs:
            state.max_epochs = planned
            self.lr_scheduler.total_iters = planned * state.epoch_length

    def _spent(self, now: float) -> float:
        return self._earlier + now - self.started
