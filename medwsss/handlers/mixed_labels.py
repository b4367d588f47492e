# SPDX-License-Identifier: Apache-2.0
"""Hard pseudo-labels of two decoders' probabilities, mixed at random."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from ignite.engine import Engine
from monai.engines.utils import IterationEvents
from monai.utils import CommonKeys
from torch.nn import functional as F

from medwsss.keys import LOGITS, OTHER_LOGITS, PSEUDO_LABEL

__all__ = ["MixedLabelHandler"]


class MixedLabelHandler:
    """Takes the output of :class:`~medwsss.networks.TwoDecoders` apart, and makes pseudo-labels of it.

    ``y_i`` is the class of the largest ``α σ_i + (1 − α) σ'_i``, with ``α`` drawn anew from [0, 1) for each batch. The
    second decoder's logits join the targets, under ``other_logits``, for :class:`~medwsss.losses.MixedLabelLoss`.

    Args:
        warmup_epochs: epochs on seeds alone, before there are pseudo-labels.

    Raises:
        ValueError: for a negative warm-up.

    Source: Luo et al., Scribble-supervised medical image segmentation via dual-branch network and dynamically mixed
    pseudo labels supervision, MICCAI 2022, and the authors' code.
    """

    def __init__(self, warmup_epochs: int = 0) -> None:
        if warmup_epochs < 0:
            raise ValueError(f"expected warmup_epochs >= 0, got {warmup_epochs}")
        self.warmup_epochs = warmup_epochs

    def attach(self, engine: Engine) -> None:
        """Come between the forward pass and whatever reads predictions."""
        engine.add_event_handler(IterationEvents.FORWARD_COMPLETED, self)

    def state_dict(self) -> dict[str, Any]:
        """Nothing: ``α`` is drawn from PyTorch's generator, which is set for each epoch."""
        return {}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Take :meth:`state_dict` back."""

    def __call__(self, engine: Engine) -> None:
        """Of one batch."""
        state: Any = engine.state
        both, targets = state.output[CommonKeys.PRED], state.output[CommonKeys.LABEL]
        state.output[CommonKeys.PRED], targets[OTHER_LOGITS] = both[LOGITS], both[OTHER_LOGITS]
        if state.epoch <= self.warmup_epochs:
            return
        alpha = torch.rand(()).item()
        sigma, other = (both[key].detach().float().softmax(1) for key in (LOGITS, OTHER_LOGITS))
        classes = (alpha * sigma + (1 - alpha) * other).argmax(1)
        targets[PSEUDO_LABEL] = F.one_hot(classes, sigma.shape[1]).movedim(-1, 1).to(sigma.dtype)
