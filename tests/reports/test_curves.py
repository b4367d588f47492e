# SPDX-License-Identifier: Apache-2.0
"""Curves of hand-made points."""

from __future__ import annotations

import pytest

from medwsss.reports.curves import curves, deviation, extent


@pytest.mark.parametrize(("bars", "low", "high"), [(extent, 1, 6), (deviation, 3 - 7**0.5, 3 + 7**0.5)])
def test_bars_over_seeds(bars, low, high):
    """1, 2, 6: mean 3, and the deviation is √7."""
    (axes,) = curves({"heart": {"pce": {1.0: [1, 2, 6], 0.5: [4]}}}, "length", "Dice", bars).axes
    (drawn,) = axes.containers
    assert drawn.lines[0].get_xydata().tolist() == [[0.5, 4], [1, 3]]
    segments = drawn.lines[2][0].get_segments()
    assert segments[0][:, 1].tolist() == [4, 4] and segments[1][:, 1].tolist() == pytest.approx([low, high])


def test_panels_levels_and_factors():
    points = {"pce": {1.0: [0.5], 2.0: [0.6]}}
    first, second = curves({"a": points, "b": points}, "x", "y", levels={"b": {"dense": 0.9}}, factors=True).axes
    assert (first.get_title(), second.get_title()) == ("a", "b") and first.get_xscale() == "log"
    assert second.lines[-1].get_label() == "dense" and second.lines[-1].get_ydata()[0] == 0.9
    assert len(first.lines) == len(second.lines) - 1
