# SPDX-License-Identifier: Apache-2.0
"""Regions of fields that are painted by hand."""

from __future__ import annotations

import numpy as np

from medwsss.advice import find_regions

UNITS = (1.0, 1.0, 1.0)


def painted(shape, *boxes):
    """A low background that does not count, and boxes of a value; what is not painted stays below the highest 2 %."""
    score = np.full(shape, 1e-3)
    for value, *box in boxes:
        score[tuple(slice(*side) for side in box)] = value
    return score


def test_regions_come_by_their_sums_and_stay_on_their_slices():
    score = painted((40, 40, 3), (0.5, (2, 5), (2, 5), (0, 1)), (0.9, (30, 32), (30, 32), (0, 2)))
    regions = find_regions(score, UNITS, 0, 9)  # sums: 4.5 of nine voxels, twice 3.6 of four
    assert [(regions == k).sum() for k in range(1, 5)] == [9, 4, 4, 0]
    assert (regions[2:5, 2:5, 0] == 1).all() and {*regions[30:32, 30:32].ravel()} == {0, 2, 3}
    assert (find_regions(score, UNITS, 0, 2) == np.where(regions < 3, regions, 0)).all()


def test_voxels_that_touch_at_a_corner_are_one_region():
    score = painted((20, 20, 1), (0.9, (3, 4), (3, 4), (0, 1)), (0.9, (4, 5), (4, 5), (0, 1)))
    assert (find_regions(score, UNITS, 0, 9) == (score > 0.5)).all()


def test_what_an_earlier_stroke_reaches_is_passed_over():
    """The best lies on slice 1; its twin on slice 2 is 3 units away, that on slice 3 is 6."""
    place = (8, 11), (8, 11)
    score = painted((30, 30, 4), (0.9, *place, (1, 2)), (0.8, *place, (2, 4)))
    numbers = [find_regions(score, (1, 1, 3), reach, 9)[9, 9].tolist() for reach in (2.9, 3, 6)]
    assert numbers == [[0, 1, 2, 3], [0, 1, 0, 2], [0, 1, 0, 0]]


def test_a_region_that_loses_less_than_half_stays():
    """Rows from 4 on, 1 and 2 beyond the first stroke, which takes two of five."""
    boxes = (0.9, (0, 3), (3, 9), (0, 1)), (0.9, (4, 9), (3, 5), (0, 1))
    assert {*find_regions(painted((40, 40, 1), *boxes), UNITS, 3, 9).ravel()} == {0, 1, 2}
    assert {*find_regions(painted((40, 40, 1), *boxes), UNITS, 4, 9).ravel()} == {0, 1}


def test_what_is_too_small_for_a_stroke_is_none():
    score = painted((20, 20, 1), (0.9, (3, 5), (3, 4), (0, 1)), (0.5, (15, 18), (15, 16), (0, 1)))
    assert [find_regions(score, UNITS, reach, 9).max() for reach in (2, 3, 4)] == [2, 1, 0]


def test_no_doubt_is_no_region():
    assert not find_regions(np.zeros((4, 4, 2)), UNITS, 4, 5).any()
