# SPDX-License-Identifier: Apache-2.0
"""The solver's η growing while the network gets better, as an overlay of a training::

    {"continuation": {"_target_": "tests.benchmarks.continuation.Continuation", "energy": "@energy", "last": 0.1},
     "+train#handlers": ["@continuation"]}

What came of it is in ``docs/evidence.md``.
"""

from __future__ import annotations

from ignite.engine import Engine, Events

from medwsss.terms import SelfLabelingEnergy


class Continuation:
    """``η_t = η_0 (η_T / η_0)^{t / T}`` in iteration ``t`` of ``T``.

    Args:
        energy: whose ``η`` it is; ``η_0`` is the one that it comes with.
        last: ``η_T``.
    """

    def __init__(self, energy: SelfLabelingEnergy, last: float) -> None:
        self.energy, self.first, self.last = energy, energy.eta, last

    def attach(self, engine: Engine) -> None:
        """To a trainer."""
        engine.add_event_handler(Events.ITERATION_STARTED, self)

    def __call__(self, engine: Engine) -> None:
        """Before an iteration."""
        total = (engine.state.max_epochs or 1) * (engine.state.epoch_length or 1)
        self.energy.eta = self.first * (self.last / self.first) ** ((engine.state.iteration - 1) / total)
