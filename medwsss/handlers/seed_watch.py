# SPDX-License-Identifier: Apache-2.0
"""What the network gives to the seeds of each class in an epoch, for handlers that act on it."""

from __future__ import annotations

from typing import Any
from weakref import WeakKeyDictionary

import ignite.distributed as idist
import torch
from ignite.engine import Engine, Events
from monai.engines.utils import IterationEvents
from monai.utils import CommonKeys
from torch import Tensor

from medwsss.keys import SCRIBBLE
from medwsss.metrics.seeds import seeds_by_class

__all__ = ["SeedWatch", "over_processes"]


def over_processes(counts: Tensor) -> Tensor:
    """The sum of ``counts`` over all processes."""
    total: Tensor = idist.all_reduce(counts.to(idist.device()))  # type: ignore[assignment]  # a tensor for a tensor
    return total.cpu()


class SeedWatch:
    """:func:`~medwsss.metrics.seeds_by_class` of an epoch's batches that are finite, summed over all processes.

    A trainer has one, however many handlers read it. They ask for it before they register what reads it when an epoch
    is completed; until the next epoch is, it stays.
    """

    def __init__(self) -> None:
        self.sums = torch.zeros(4, 0, dtype=torch.float64)

    @classmethod
    def of(cls, engine: Engine) -> SeedWatch:
        """That of a MONAI trainer, registered with it when first asked for."""
        if engine not in _WATCHES:
            _WATCHES[engine] = cls()
            _WATCHES[engine]._attach(engine)
        return _WATCHES[engine]

    def _attach(self, engine: Engine) -> None:
        engine.add_event_handler(Events.EPOCH_STARTED, self._reset)
        engine.add_event_handler(IterationEvents.FORWARD_COMPLETED, self._look)
        engine.add_event_handler(Events.EPOCH_COMPLETED, self._conclude)

    def of_classes(self, row: int) -> dict[int, float]:
        """Means over seeds for each class that has some: of ``σ^k`` (row 1) or ``−ln σ^k`` (row 2)."""
        return {k: (self.sums[row, k] / self.sums[0, k]).item() for k in self.sums[0].nonzero().flatten().tolist()}

    def _reset(self) -> None:
        self._running = self.sums.new_zeros(4, 0)

    def _look(self, engine: Engine) -> None:
        output: Any = engine.state.output
        logits, scribble = output[CommonKeys.PRED].detach(), output[CommonKeys.LABEL][SCRIBBLE]
        if not self._running.numel():
            self._running = self.sums.new_zeros(4, logits.shape[1])
        if logits.isfinite().all():
            self._running += seeds_by_class(logits, scribble)

    def _conclude(self) -> None:
        self.sums = over_processes(self._running)


_WATCHES: WeakKeyDictionary[Engine, SeedWatch] = WeakKeyDictionary()
