# SPDX-License-Identifier: Apache-2.0
"""One stage in place of two: score maps become seeds and a prior for the other head, batch by batch."""

from __future__ import annotations

import math
from typing import Any

import torch
from ignite.engine import Engine
from monai.engines.utils import IterationEvents
from monai.utils import CommonKeys

from medwsss.keys import LOGITS, PRIOR, SCORES, SCRIBBLE, TAGS, VOID
from medwsss.networks.resampling import resample
from medwsss.terms.activation_maps import max_normalize, present_classes, prior_map, seed_map
from medwsss.terms.pooling import average

__all__ = ["CamSeedHandler"]


class CamSeedHandler:
    """Takes the output of :class:`~medwsss.networks.TwoHeads` apart, and makes scribbles and priors of its score maps.

    Logits stay as the prediction and score maps join the targets, under ``scores``, for
    :class:`~medwsss.losses.ScoresLoss`. Once warm-up is over, ``scribble`` and ``prior`` of the targets are those of
    :func:`~medwsss.terms.activation_maps.seed_map` and :func:`~medwsss.terms.activation_maps.prior_map`, of the classes
    that the tags name. No gradient goes through them. A :class:`~medwsss.handlers.PseudoLabelHandler` that is attached
    after this one solves for pseudo-labels from them, as from what was drawn.

    Args:
        warmup_epochs: epochs in which the score maps train alone.
        foreground: activation from which a voxel is a seed of its class, in the last epoch.
        start: the same after warm-up; it falls along a cosine.
        low: of ``seed_map``, largest activation of a seed of the background; ``None``: where no class is there.
        background: whether class 0 is one.
        kind: of the prior's background score.
        alpha: of the prior's background score.

    Raises:
        ValueError: for thresholds out of order.

    Source: the falling threshold is that of Wu et al., DuPL, CVPR 2024.
    """

    def __init__(
        self,
        warmup_epochs: int = 0,
        foreground: float = 0.4,
        start: float = 0.7,
        low: float | None = None,
        background: bool = True,
        kind: str = "power",
        alpha: float = 4.0,
    ) -> None:
        if not 0 <= (low or 0) < foreground <= start <= 1:
            raise ValueError(f"expected 0 <= low < foreground <= start <= 1, got {low}, {foreground} and {start}")
        if warmup_epochs < 0:
            raise ValueError(f"expected warmup_epochs >= 0, got {warmup_epochs}")
        self.warmup_epochs, self.foreground, self.start, self.low = warmup_epochs, foreground, start, low
        self.background, self.kind, self.alpha = background, kind, alpha

    def attach(self, engine: Engine) -> None:
        """Come between the forward pass and whatever reads predictions."""
        engine.add_event_handler(IterationEvents.FORWARD_COMPLETED, self)

    def threshold(self, epoch: int, epochs: int) -> float:
        """Of seeds, in an epoch of so many; epochs count from 1."""
        first = self.warmup_epochs + 1
        done = (epoch - first) / (epochs - first) if epochs > first else 1.0
        return self.foreground + (self.start - self.foreground) * (1 + math.cos(math.pi * done)) / 2

    @torch.no_grad()
    def __call__(self, engine: Engine) -> None:
        """Of one batch."""
        state: Any = engine.state
        heads, targets = state.output[CommonKeys.PRED], state.output[CommonKeys.LABEL]
        state.output[CommonKeys.PRED], targets[SCORES] = heads[LOGITS], heads[SCORES]
        if state.epoch <= self.warmup_epochs or not heads[SCORES].isfinite().all():
            return  # what is not finite is the guard's to skip and to name
        size, tags, exists = list(heads[LOGITS].shape[2:]), targets[TAGS], targets[SCRIBBLE] != VOID
        scores = resample(heads[SCORES][:, -tags.shape[1] :].float(), size, align_corners=False)
        present = present_classes(average(scores, exists), tags)
        cam = max_normalize(scores, exists) * present.reshape(*present.shape, *[1] * len(size))
        foreground = self.threshold(state.epoch, state.max_epochs)
        seeds = seed_map(cam, present, foreground, self.low, self.background).to(torch.uint8)
        targets[PRIOR] = prior_map(cam, present, self.kind, self.alpha, self.background)
        targets[SCRIBBLE] = torch.where(exists, seeds, VOID)
