# SPDX-License-Identifier: Apache-2.0
"""What longer trainings come to, by those that were measured."""

from __future__ import annotations

from collections.abc import Mapping

import torch

__all__ = ["MEASURED", "outlook"]

#: Mean Dice of the default by minutes of training on one core. ACDC's of the network that ``check`` plans:
#: ``docs/benchmarks`` ``ingredients.jsonl``, ``planned.jsonl`` (two seeds, and one of 20 minutes, which is of more
#: solver steps). Hippocampus': ``bundles/scribble/docs`` ``grids.jsonl``, ``robustness.jsonl`` (three and two seeds),
#: ``longer.jsonl`` (one).
MEASURED: Mapping[str, Mapping[int, float]] = {
    "ACDC's slices": {2: 0.625, 5: 0.700, 20: 0.776},
    "Hippocampus": {1: 0.753, 3: 0.783, 30: 0.782},
}


def outlook(minutes: float | None, device: torch.device | str) -> str | None:
    """The measured studies' Dice by minutes, for a training that is given some on a CPU; ``None`` for others.

    Example:
        >>> outlook(5.0, "cpu").split("; ")[0]
        "on one core, ACDC's slices came to Dice 0.625, 0.700, 0.776 after 2, 5, 20 minutes"
        >>> outlook(5.0, torch.device("cuda")) is None
        True
    """
    if minutes is None or torch.device(device).type != "cpu":
        return None
    curves = []
    for study, dice in MEASURED.items():
        values = ", ".join(f"{value:.3f}" for value in dice.values())
        curves.append(f"{study} came to Dice {values} after {', '.join(map(str, dice))} minutes")
    return f"on one core, {'; '.join(curves)}"
