# SPDX-License-Identifier: Apache-2.0
"""A bandwidth that suits a study, and that one that switches the pair term off is told of before training."""

from __future__ import annotations

import pytest
import torch
from monai.data import MetaTensor

from medwsss.keys import UNLABELED, VOID
from medwsss.rasters import check_guide, study_bandwidth
from medwsss.terms import GridNeighborhood


def case(scale, void=0):
    """A ramp of steps of ``scale``; the last columns are missing."""
    guide = torch.arange(64.0).reshape(1, 8, 8) * scale
    scribble = torch.full((1, 8, 8), UNLABELED)
    if void:
        scribble[..., -void:], guide[..., -void:] = VOID, 1e6
    return {"image": MetaTensor(guide, meta={"filename_or_obj": "a.tif"}), "guide": guide, "scribble": scribble}


def test_dead_weights_are_refused():
    """Steps of 100 and 800 with a bandwidth of 9 weigh exp(−61) and less."""
    with pytest.raises(ValueError, match="got 100.0% of them below 0.001 in a.tif: --bandwidth auto"):
        check_guide([case(100.0)], GridNeighborhood(bandwidth=9.0))


def test_living_weights_are_told():
    """Steps of 1 along a row weigh exp(−1/2), those of 8 across rows exp(−32): one half of the pairs is dead."""
    assert check_guide([case(1.0)], GridNeighborhood(bandwidth=1.0)) == "pair weights: median 0.000, 50.0% below 0.001"
    assert "0.0% below" in check_guide([case(1e5)], GridNeighborhood(bandwidth="auto"))


def test_missing_pixels_do_not_count():
    assert check_guide([case(0.0, void=7)], GridNeighborhood(bandwidth=1.0)).startswith(
        "pair weights: median 1.000, 0.0%"
    )


def test_nothing_to_look_at():
    assert "not looked at" in check_guide([], GridNeighborhood())
    check_guide([case(1.0, void=8)], GridNeighborhood())


def test_a_study_s_bandwidth_is_half_the_median_contrast():
    """Of 56 steps of 1 and 56 of 8, the lower middle one; without three columns, 32 and 35; of two cases, both."""
    assert study_bandwidth([case(1.0)]) == 0.5
    assert study_bandwidth([case(1.0, void=3)]) == 4
    assert study_bandwidth([case(1.0), case(1.0), case(3.0, void=7)]) == 0.5 * 8
    assert study_bandwidth([case(1e4)]) == 5e3
    flat = case(1.0) | {"guide": torch.zeros(3, 8, 8)}
    assert study_bandwidth([flat, case(1.0)]) == 0.5
    with pytest.raises(ValueError, match="in which neighbouring pixels differ, got none: --bandwidth"):
        study_bandwidth([flat])
