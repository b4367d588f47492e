# SPDX-License-Identifier: Apache-2.0
"""Consistency with a teacher whose weights are an exponential moving average of the network's."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from ignite.engine import Engine, Events
from monai.engines.utils import IterationEvents
from monai.utils import CommonKeys
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from medwsss.files import bare
from medwsss.keys import PSEUDO_LABEL

__all__ = ["MeanTeacherHandler"]


class MeanTeacherHandler:
    """Puts the teacher's class probabilities into the batch's targets as soft pseudo-labels, in place of a solver's.

    ``θ' ← decay θ' + (1 − decay) θ`` after every iteration. With ``quadratic`` as the cross-entropy,
    ``SelfLabelingLoss`` is ``‖σ' − σ‖²``, the consistency of mean teachers. The teacher sees the same image, with noise
    of its own.

    Args:
        network: that is trained.
        decay: of the average.
        noise: standard deviation of the Gaussian noise in what the teacher sees.
        warmup_epochs: epochs on seeds alone, before there are pseudo-labels.

    Raises:
        ValueError: for a decay outside [0, 1), or negative noise or warm-up.

    Source: Tarvainen & Valpola, Mean teachers are better role models, NIPS 2017; with scribbles Liu et al. (USTM),
    Pattern Recognition 2022, which also leaves out voxels of which the teacher is unsure.
    """

    def __init__(self, network: nn.Module, decay: float = 0.99, noise: float = 0.05, warmup_epochs: int = 0) -> None:
        if not 0 <= decay < 1 or noise < 0 or warmup_epochs < 0:
            raise ValueError(
                "expected a decay in [0, 1), noise >= 0 and warmup_epochs >= 0, "
                f"got {decay}, {noise} and {warmup_epochs}"
            )
        self.network = bare(network)
        self.teacher = AveragedModel(self.network, multi_avg_fn=get_ema_multi_avg_fn(decay), use_buffers=True)
        self.noise = noise
        self.warmup_epochs = warmup_epochs

    def attach(self, engine: Engine) -> None:
        """Register with a MONAI trainer."""
        engine.add_event_handler(IterationEvents.FORWARD_COMPLETED, self._teach)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self._learn)

    def state_dict(self) -> dict[str, Any]:
        """The teacher's weights and how often it has learnt."""
        state: dict[str, Any] = self.teacher.state_dict()
        return state

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Take :meth:`state_dict` back."""
        self.teacher.load_state_dict(state_dict)

    @torch.no_grad()
    def _teach(self, engine: Engine) -> None:
        if engine.state.epoch <= self.warmup_epochs or not self.teacher.n_averaged:
            return
        output: Any = engine.state.output
        image = output[CommonKeys.IMAGE]
        self.teacher.eval()
        logits = self.teacher(image + self.noise * torch.randn_like(image))
        output[CommonKeys.LABEL][PSEUDO_LABEL] = logits.float().softmax(1)

    def _learn(self, engine: Engine) -> None:
        self.teacher.update_parameters(self.network)
