# SPDX-License-Identifier: Apache-2.0
"""A batch with NaN or infinity must not ruin a run."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

import ignite.distributed as idist
import torch
from ignite.engine import Events
from monai.data import MetaTensor
from monai.engines import SupervisedTrainer
from monai.engines.utils import IterationEvents
from monai.utils import CommonKeys, ensure_tuple
from torch.nn.utils import get_total_norm

logger = logging.getLogger(__name__)


class NonFiniteGuard:
    """Skips the step of a batch whose loss or gradients are not finite; several in a row end training.

    On such a batch every gradient is set to None, which PyTorch's optimizers skip altogether (no momentum, no weight
    decay); with gradient accumulation the whole accumulated step is dropped. The network's buffers, such as the running
    statistics of batch norm, go back to what they were before the batch. The batch is counted in
    ``engine.state.skipped_batches`` and its cases are named in the log: those with non-finite values, else all.
    All processes decide together. Under AMP, where infinite gradients belong to the loss scale's search, the
    ``GradScaler`` skips steps by itself; here only a non-finite loss counts.

    Args:
        patience: number of such batches without a step in between that raises a RuntimeError, at least 1.
    """

    def __init__(self, patience: int = 5) -> None:
        if patience < 1:
            raise ValueError(f"expected a patience of at least 1, got {patience}")
        self.patience = patience
        self._in_a_row = 0
        self._dropping = False  # the rest of an accumulated step
        self._buffers: list[torch.Tensor] = []

    def attach(self, engine: SupervisedTrainer) -> None:
        """Come between the backward pass and the optimizer's step."""
        self._engine = engine
        engine.state.skipped_batches = 0
        engine.add_event_handler(Events.ITERATION_STARTED, self.remember)
        engine.add_event_handler(IterationEvents.BACKWARD_COMPLETED, self)

    def remember(self, engine: SupervisedTrainer) -> None:
        """Copy the network's buffers, which the forward pass is about to change."""
        self._buffers = [buffer.clone() for buffer in engine.network.buffers()]

    def __call__(self, engine: SupervisedTrainer) -> None:
        state = engine.state
        index = (state.iteration - 1) % state.epoch_length if state.epoch_length else state.iteration - 1
        if index % engine.accumulation_steps == 0:
            self._dropping = False

        scaled = engine.scaler is not None and engine.scaler.is_enabled()
        parameters = [p for group in engine.optimizer.param_groups for p in group["params"]]
        worst = state.output[CommonKeys.LOSS].detach().abs()
        if not scaled:
            worst = worst + get_total_norm((p.grad for p in parameters if p.grad is not None), float("inf"))
        # the loss is each process's own, so they must agree
        if idist.all_reduce(float(not worst.isfinite()), "MAX"):
            self._dropping = True
            self._in_a_row += 1
            state.skipped_batches += 1
            for buffer, before in zip(engine.network.buffers(), self._buffers):
                buffer.copy_(before)
            self._report(engine)
        elif not self._dropping:
            self._in_a_row = 0
        if self._dropping and not scaled:
            for parameter in parameters:
                parameter.grad = None

    def _report(self, engine: SupervisedTrainer) -> None:
        state = engine.state
        gathered: Any = idist.all_gather(_case_names(state.batch))
        every, culprits = (list(dict.fromkeys(sum(names, []))) for names in zip(*gathered))
        message = (
            f"expected finite loss and gradients, got others in epoch {state.epoch}, iteration {state.iteration}, "
            f"case {', '.join(culprits or every or ['of unknown name'])}"
        )
        logger.warning("Step skipped (%d so far): %s.", state.skipped_batches, message)
        if self._in_a_row >= self.patience:
            raise RuntimeError(
                f"{message}; such batches: {self._in_a_row} in a row. Checkpoints on disk are untouched and finite. "
                "Look at these cases, or lower the learning rate."
            )

    def state_dict(self) -> dict[str, int]:
        """How many batches were skipped."""
        return {"skipped_batches": self._engine.state.skipped_batches}

    def load_state_dict(self, state_dict: dict[str, int]) -> None:
        """Count on from there."""
        self._engine.state.skipped_batches = state_dict["skipped_batches"]


def _case_names(batch: Any) -> tuple[list[str], list[str]]:
    """File names of all cases of a collated batch, and of those that hold a non-finite value."""
    every: list[str] = []
    culprits: list[str] = []
    for tensor in batch.values() if isinstance(batch, Mapping) else ensure_tuple(batch):
        if isinstance(tensor, MetaTensor) and "filename_or_obj" in tensor.meta:
            names = [str(name) for name in ensure_tuple(tensor.meta["filename_or_obj"])]
            every += names
            culprits += [name for name, sample in zip(names, tensor) if not sample.isfinite().all()]
    return every, culprits
