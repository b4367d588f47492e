# SPDX-License-Identifier: Apache-2.0
"""Cells of tables, worked by hand."""

from __future__ import annotations

import numpy as np
import pytest

from medwsss.reports import tables


def test_spread_is_of_a_sample():
    """1, 2, 6: mean 3, squares 4 + 1 + 9 = 14, over n − 1 = 2: √7 = 2.646."""
    assert tables.spread([1, 2, 6], 2) == "3.00 ± 2.65"
    assert tables.spread([0.25], 3) == "0.250" and tables.spread([], 3) == "–"
    assert tables.spread([None, 0.25], 3) == "0.250" and tables.spread([None], 3) == "–"  # nothing was measured


def test_a_case_that_one_cannot_measure_is_no_difference():
    assert tables.paired(np.array([0.5, np.nan, 0.5]), np.array([0.25, 0.5, 0.25])) == "+0.250 [+0.250, +0.250]"
    assert tables.paired(np.array([np.nan]), np.array([0.5])) == "–"


def test_a_difference_that_every_case_has_is_certain():
    assert tables.paired(np.array([0.5, 0.2, 0.8]), np.array([0.4, 0.1, 0.7])) == "+0.100 [+0.100, +0.100]"
    text = tables.paired(np.array([1.0, 0.0, 0.0]), np.zeros(3))
    assert text == "+0.333 [+0.000, +1.000]"  # all three draws are the first in 1/27 of the resamples, over 2.5 %


def test_the_interval_is_that_of_the_binomial():
    """Of 100 cases half differ by 1: a resample's mean is Binomial(100, ½) / 100, with quantiles 0.40 and 0.60."""
    low, high = tables.interval(np.arange(100) % 2.0)
    assert (low, high) == (pytest.approx(0.40, abs=0.011), pytest.approx(0.60, abs=0.011))


def test_a_difference_is_of_seeds_that_both_have():
    first = [{"seed": seed, "cases": {"Dice": [[value], [value]]}} for seed, value in ((0, 0.5), (1, 0.9))]
    second = [{"seed": 0, "cases": {"Dice": [[0.25], [0.25]]}}]
    assert tables.difference(first, second) == "+0.250 [+0.250, +0.250]"
    assert tables.difference(second, first) == "-0.250 [-0.250, -0.250]"
    assert tables.difference(first[1:], second) == tables.difference(first, []) == "–"


def test_markdown():
    text = tables.markdown(["", "score"], [["pce", "0.5"], ["gd", "–"]])
    assert text == "| | score |\n|---|---|\n| pce | 0.5 |\n| gd | – |"


def test_cost_and_seeds():
    lines = [{"seed": seed, "cpu_minutes": minutes} for seed, minutes in ((0, 1.0), (1, 2.5), (1, 2.5))]
    assert (tables.minutes(lines), tables.seeds(lines)) == ("2.0", "2")
    assert (tables.minutes([]), tables.seeds([])) == ("–", "0")
