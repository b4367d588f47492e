# SPDX-License-Identifier: Apache-2.0
"""Consistency with a teacher whose weights are an exponential moving average of the network's."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from ignite.engine import Engine, Events
from monai.engines.utils import IterationEvents
from monai.utils import CommonKeys
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from medwsss.files import bare
from medwsss.keys import PSEUDO_LABEL, SCRIBBLE, VOID
from medwsss.terms.simplex import unlabeled_mask

__all__ = ["MeanTeacherHandler"]


class MeanTeacherHandler:
    """Puts the teacher's class probabilities into the batch's targets as soft pseudo-labels, in place of a solver's.

    ``θ' ← decay θ' + (1 − decay) θ`` after every iteration. With ``quadratic`` as the cross-entropy,
    ``SelfLabelingLoss`` is ``‖σ' − σ‖²``, the consistency of mean teachers. The teacher sees the same image, with noise
    of its own.

    With ``max_entropy`` the teacher looks ``looks`` times more, and where the entropy of the mean ``σ'`` of these is
    above ``(¾ + ¼ exp(−5 (1 − t)²)) max_entropy``, at ``t`` from 0 to 1 of all iterations, a voxel without a seed is
    void in that batch.

    Args:
        network: that is trained.
        decay: of the average.
        noise: standard deviation of the Gaussian noise in what the teacher sees.
        warmup_epochs: epochs on seeds alone, before there are pseudo-labels.
        max_entropy: in nats, from which on the teacher is unsure; ``None``: it is never asked.
        looks: that tell how sure it is.

    Raises:
        ValueError: for a decay outside [0, 1), negative noise or warm-up, an entropy that is not positive, no looks.

    Source: Tarvainen & Valpola, Mean teachers are better role models, NIPS 2017; with scribbles Liu et al.,
    Weakly supervised segmentation of COVID19 infection with scribble annotation on CT images (USTM), Pattern
    Recognition 2022, where ``max_entropy`` is ``ln 2``, ``looks`` 8, and the teacher's image is turned, too.
    """

    def __init__(
        self,
        network: nn.Module,
        decay: float = 0.99,
        noise: float = 0.05,
        warmup_epochs: int = 0,
        max_entropy: float | None = None,
        looks: int = 8,
    ) -> None:
        if not 0 <= decay < 1 or noise < 0 or warmup_epochs < 0:
            raise ValueError(
                "expected a decay in [0, 1), noise >= 0 and warmup_epochs >= 0, "
                f"got {decay}, {noise} and {warmup_epochs}"
            )
        if max_entropy is not None and max_entropy <= 0 or looks < 1:
            raise ValueError(
                f"expected a positive max_entropy or none, and looks from 1, got {max_entropy} and {looks}"
            )
        self.network = bare(network)
        self.teacher = AveragedModel(self.network, multi_avg_fn=get_ema_multi_avg_fn(decay), use_buffers=True)
        self.noise = noise
        self.warmup_epochs = warmup_epochs
        self.max_entropy, self.looks = max_entropy, looks

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
        image, targets = output[CommonKeys.IMAGE], output[CommonKeys.LABEL]
        targets[PSEUDO_LABEL] = self._look(image)
        if self.max_entropy is not None:
            mean = sum(self._look(image) for _ in range(self.looks)) / self.looks
            unsure = torch.special.entr(mean).sum(1, keepdim=True) > self.max_entropy * _ramp(engine)
            targets[SCRIBBLE] = torch.where(unsure & unlabeled_mask(targets[SCRIBBLE]), VOID, targets[SCRIBBLE])

    def _look(self, image: Tensor) -> Tensor:
        """``σ'`` of the image with noise."""
        self.teacher.eval()
        sigma: Tensor = self.teacher(image + self.noise * torch.randn_like(image)).float().softmax(1)
        return sigma

    def _learn(self, engine: Engine) -> None:
        self.teacher.update_parameters(self.network)


def _ramp(engine: Engine) -> float:
    """From ¾ to 1 over all iterations."""
    state: Any = engine.state
    t = state.iteration / (state.max_epochs * state.epoch_length)
    return 0.75 + 0.25 * math.exp(-5 * (1 - t) ** 2)
