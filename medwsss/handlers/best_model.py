# SPDX-License-Identifier: Apache-2.0
"""The weights of the best validation, or of the last epoch where there is none."""

from __future__ import annotations

import logging
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import ignite.distributed as idist
import torch
from ignite.engine import Events
from monai.engines import Workflow

from medwsss.files import bare, save_atomically, write_json
from medwsss.keys import SETTINGS

logger = logging.getLogger(__name__)


class BestModel:
    """Keeps the weights of the best validation so far as a bare ``state_dict``, for ``bundle.load``.

    What is best is MONAI's own ``engine.state.best_metric`` (first key metric, ``metric_cmp_fn``). List this in the
    evaluator's ``val_handlers``, and in the ``save_dict`` of :class:`~medwsss.handlers.FullCheckpoint` so that the best
    value survives a resume.

    Args:
        network: whose weights to keep.
        path: the file to write, such as ``models/model.pt``.
        settings: what is to be known of the network, written as ``settings.json`` beside it; default: nothing is.
    """

    def __init__(
        self, network: torch.nn.Module, path: str | os.PathLike, settings: Mapping[str, Any] | None = None
    ) -> None:
        self.network = network
        self.path = path
        self.settings = settings

    def attach(self, engine: Workflow) -> None:
        """Look at the key metric at the end of each of the evaluator's epochs."""
        self._engine = engine
        engine.add_event_handler(Events.EPOCH_COMPLETED, self)

    def __call__(self, engine: Workflow) -> None:
        state = engine.state
        if state.best_metric_epoch != state.epoch:
            return
        if math.isnan(state.best_metric):
            # nothing compares greater than NaN: as "best" it would stay there for good
            text = "Validation metric %s is NaN in epoch %d, whose weights are kept until one can be measured."
            logger.warning(text, state.key_metric_name, state.epoch)
            state.best_metric_epoch = -1
        if idist.get_rank() == 0:
            _save(self.network, self.path, self.settings)

    def state_dict(self) -> dict[str, float]:
        """The best value and its epoch."""
        state = self._engine.state
        return {"best_metric": float(state.best_metric), "best_metric_epoch": state.best_metric_epoch}

    def load_state_dict(self, state_dict: dict[str, float]) -> None:
        """Give them back to the evaluator, so that only a better one is kept; not where its weights are gone."""
        epoch = state_dict["best_metric_epoch"]
        if epoch != -1 and not os.path.exists(self.path):
            logger.warning(
                "No %s with the weights of epoch %d, the best: the next validation writes it.", self.path, epoch
            )
            return
        for name, value in state_dict.items():
            setattr(self._engine.state, name, value)


class LastModel:
    """Keeps the weights of the last epoch, as :class:`BestModel` does those of the best, where nothing is validated.

    Args:
        network: whose weights to keep.
        path: the file to write.
        settings: as :class:`BestModel`'s.
    """

    def __init__(
        self, network: torch.nn.Module, path: str | os.PathLike, settings: Mapping[str, Any] | None = None
    ) -> None:
        self.network = network
        self.path = path
        self.settings = settings

    def attach(self, engine: Workflow) -> None:
        """Write at the end of each of the trainer's epochs."""
        engine.add_event_handler(Events.EPOCH_COMPLETED, self)

    @idist.one_rank_only()
    def __call__(self, engine: Workflow) -> None:
        """Write."""
        _save(self.network, self.path, self.settings)


def _save(network: torch.nn.Module, path: str | os.PathLike, settings: Mapping[str, Any] | None) -> None:
    if settings is not None:
        write_json(settings, Path(path).with_name(SETTINGS))
    save_atomically(bare(network).state_dict(), path)
