# SPDX-License-Identifier: Apache-2.0
"""Whether a guide lets labels pass from pixel to pixel at all, looked at before training begins."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from medwsss.keys import GUIDE, IMAGE, SCRIBBLE, VOID
from medwsss.terms.neighborhoods import Neighborhood, OffsetNeighborhood

__all__ = ["DEAD", "check_guide"]

DEAD = 1e-3  #: a pair that weighs less is none
_LOOKED_AT = 4  # cases, evenly spread
_MOST = 0.9  # share of dead pairs beyond which the pair term is off


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
    for index in range(0, len(cases), -(-len(cases) // _LOOKED_AT)):
        case = cases[index]
        guide = torch.as_tensor(case[GUIDE])[None]
        exists = (torch.as_tensor(case[SCRIBBLE]) != VOID)[None]
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
