# SPDX-License-Identifier: Apache-2.0
"""What one may choose of the term beside nnU-Net's loss, in its plan and in the environment."""

from __future__ import annotations

import difflib
import json
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

__all__ = ["PLAN_KEY", "VARIABLE", "Settings", "read_settings"]

PLAN_KEY = "self_labeling"  #: of the settings in a plan
VARIABLE = "nnUNet_self_labeling"  #: of the environment, a JSON object; comes before the plan


@dataclass(frozen=True)
class Settings:
    """Of the pseudo-labels, named and meant as in the bundles, and of nnU-Net's own schedule.

    Args:
        eta: ``η`` of the network's term; 0 leaves it out, and pseudo-labels with it.
        cross_entropy: ``H``, of the network's term and of the solver.
        class_balance: ``γ`` of :class:`~medwsss.losses.SelfLabelingLoss`.
        solver_eta, lam, relaxation: ``η``, ``λ`` and ``P`` of the energy.
        bandwidth: ``β``, as a share of the range of intensities (0.5 to 99.5 %) of the training images.
        smoothing: of the guide, see :class:`~medwsss.terms.GridNeighborhood`.
        connectivity: of the neighbourhood.
        solver_steps: at most.
        warmup_loss: pseudo-labels begin after the first epoch in which the mean of ``−ln σ_i^k`` over the seeds of
            every class ``k`` is at most this.
        epochs, iterations, val_iterations: of the training and of an epoch of it; nnU-Net's own where not given.
    """

    eta: float = 1.0
    cross_entropy: str = "cross_entropy"
    class_balance: float = 0.5
    solver_eta: float = 0.005
    lam: float = 6.0
    relaxation: str = "log_quadratic"
    bandwidth: float = 0.02
    smoothing: float = 0.5
    connectivity: int = 1
    solver_steps: int = 30
    warmup_loss: float = math.log(2)
    epochs: int | None = None
    iterations: int | None = None
    val_iterations: int | None = None


def read_settings(plans: Mapping[str, Any]) -> Settings:
    """The settings of a plan, and over them those of the environment.

    Raises:
        ValueError: naming the place, for what is no JSON object, for unknown names and for values of another kind.

    Example:
        >>> read_settings({"self_labeling": {"lam": 3, "iterations": 100}}).lam
        3.0
    """
    chosen: dict[str, Any] = {}
    for place, content in ((f"{PLAN_KEY} of the plan", plans.get(PLAN_KEY, {})), (VARIABLE, _of_environment())):
        if not isinstance(content, Mapping):
            raise ValueError(f'expected {place} as a JSON object, {{"lam": 6}}, got {content!r}')
        chosen |= {name: _checked(name, value, place) for name, value in content.items()}
    return Settings(**chosen)


def _of_environment() -> Any:
    text = os.environ.get(VARIABLE, "{}")
    try:
        return json.loads(text)
    except ValueError:
        return text


def _checked(name: str, value: Any, place: str) -> Any:
    known: dict[str, Any] = {each.name: each.default for each in fields(Settings)}
    if name not in known:
        close = difflib.get_close_matches(name, known, n=1)
        hint = f", did you mean {close[0]}?" if close else ""
        raise ValueError(f"expected {', '.join(known)} in {place}, got {name}{hint}")
    kind: Any = int if known[name] is None else type(known[name])
    number = isinstance(value, int) and not isinstance(value, bool)
    if not (isinstance(value, kind) or (kind is float and number)) or isinstance(value, bool):
        raise ValueError(f"expected {kind.__name__} as {name} in {place}, got {value!r}")
    if kind is not str and not (math.isfinite(value) and (value > 0 if kind is int else value >= 0)):
        raise ValueError(f"expected {name} {'> 0' if kind is int else '>= 0'} in {place}, got {value}")
    return kind(value)
