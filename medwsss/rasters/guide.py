# SPDX-License-Identifier: Apache-2.0
"""How far apart in a guide two pixels of one thing may lie, and whether any pass; looked at before training begins."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from medwsss.keys import GUIDE, IMAGE, SCRIBBLE, VOID
from medwsss.terms.neighborhoods import GridNeighborhood, Neighborhood, OffsetNeighborhood, pairs

__all__ = ["DEAD", "check_guide", "study_bandwidth"]

DEAD = 1e-3  #: a pair that weighs less is none
_LOOKED_AT = 4  # cases, evenly spread
_MEASURED = 16  # the same, for a bandwidth
_MOST = 0.9  # share of dead pairs beyond which the pair term is off


def study_bandwidth(cases: Sequence[Mapping[str, Any]]) -> float:
    """``β`` for a study: half the median of ``‖I_i − I_j‖`` over neighbouring pixels that exist and differ.

    The mean square (``bandwidth="auto"``) is that of a few strong edges: with it, the middle pair of every scene that
    was looked at weighs 0.85 to 0.98 and hardly a border stops a label. With this, a pair of the median contrast weighs
    ``exp(−2)``, in whatever units bands are.

    Args:
        cases: with a guide, ``C *S``, and a scribble, ``1 *S``; up to 16 of them are looked at, evenly spread.

    Raises:
        ValueError: where no two neighbours differ.
    """
    found = [torch.zeros(0)]
    for index in _some(len(cases), _MEASURED):
        guide, exists = _batch(cases[index])
        for offset in GridNeighborhood(connectivity=1).offsets(guide.ndim - 2):
            (a, b), (first, second) = pairs(guide, offset), pairs(exists, offset)
            found.append((a - b).float().square().sum(1, keepdim=True).sqrt()[first & second])
    contrasts = torch.cat(found)
    contrasts = contrasts[contrasts > 0]
    if not len(contrasts):
        raise ValueError("expected images in which neighbouring pixels differ, got none: --bandwidth")
    return float(contrasts.median()) / 2


def check_guide(cases: Sequence[Mapping[str, Any]], neighborhood: Neighborhood) -> str:
    """Weights of some cases' pairs of existing pixels, in a line.

    A bandwidth for grey levels of 0 to 255 means nothing for reflectances: all weights are 0 and the pair term is off
    without a word, or all are 1 and no border stops a label.

    Args:
        cases: with a guide, ``C *S``, and a scribble, ``1 *S``.
        neighborhood: whose weights they are; nothing is said of one without offsets.

    Raises:
        ValueError: naming the image, where more than 90 % of the pairs weigh less than 0.001.
    """
    if not isinstance(neighborhood, OffsetNeighborhood) or not len(cases):
        return "pair weights: not looked at"
    found = []
    for index in _some(len(cases), _LOOKED_AT):
        case = cases[index]
        guide, exists = _batch(case)
        both = neighborhood.iter_weights(torch.zeros_like(guide), exists)  # without contrast: 0 where a pixel is void
        kept = [w[full > 0] for w, full in zip(neighborhood.iter_weights(guide, exists), both)]
        found.append(torch.cat(kept) if kept else torch.ones(0))
        dead = float((found[-1] < DEAD).float().mean()) if len(found[-1]) else 0.0
        if dead > _MOST:
            name = getattr(case[IMAGE], "meta", {}).get("filename_or_obj", f"case {index}")
            raise ValueError(
                f"expected pairs of pixels that weigh something, got {dead:.1%} of them below {DEAD:g} in {name}: "
                "--bandwidth auto suits any unit, --guide chooses bands"
            )
    weights = torch.cat(found)
    share, middle = float((weights < DEAD).float().mean()), float(weights.median()) if len(weights) else 0.0
    return f"pair weights: median {middle:.3f}, {share:.1%} below {DEAD:g}"


def _some(number: int, most: int) -> range:
    """Of so many, at most so many, evenly spread."""
    return range(0, number, -(-number // most) or 1)


def _batch(case: Mapping[str, Any]) -> tuple[Tensor, Tensor]:
    """Guide ``1 C *S``, and which pixels exist, ``1 1 *S``."""
    guide, scribble = (torch.as_tensor(case[key]).as_subclass(Tensor)[None] for key in (GUIDE, SCRIBBLE))
    return guide, scribble != VOID
