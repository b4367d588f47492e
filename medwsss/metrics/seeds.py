# SPDX-License-Identifier: Apache-2.0
"""Whether the network has learnt its seeds, class by class."""

from __future__ import annotations

import torch
from torch import Tensor

from medwsss.terms.simplex import seed_mask

__all__ = ["seeds_by_class"]


def seeds_by_class(logits: Tensor, scribble: Tensor) -> Tensor:
    """For each class ``k``, with ``S_k`` its seeds: ``|S_k|``, ``Σ_{i∈S_k} σ_i^k``, ``−Σ_{i∈S_k} ln σ_i^k``, and hits.

    Hits are seeds whose likeliest class is their own. Sums, so that those of batches and processes add up. The second
    over the first is how much the network gives to the right class in arithmetic mean, and ``exp(−third / first)`` in
    geometric mean.

    Shape:
        - logits: ``B K *S``.
        - scribble: ``B 1 *S``.
        - output: ``4 K``, float64 on the CPU.

    Example:
        >>> seeds_by_class(torch.zeros(1, 2, 4), torch.tensor([[[0, 0, 255, 254]]])).round(decimals=3).tolist()
        [[2.0, 0.0], [1.0, 0.0], [1.386, 0.0], [2.0, 0.0]]
    """
    num_classes, seeds = logits.shape[1], seed_mask(scribble).squeeze(1)
    classes = scribble.squeeze(1)[seeds].long().cpu()
    of_seeds = logits.movedim(1, -1)[seeds].double().log_softmax(1).cpu()
    log_sigma = of_seeds.gather(1, classes[:, None]).squeeze(1)
    rows = torch.stack(
        [torch.ones_like(log_sigma), log_sigma.exp(), -log_sigma, (of_seeds.argmax(1) == classes).double()]
    )
    return torch.zeros(4, num_classes, dtype=torch.float64).index_add_(1, classes, rows)
