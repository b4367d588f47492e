# SPDX-License-Identifier: Apache-2.0
"""Means over patients and their intervals, by hand and against SciPy's bootstrap."""

from __future__ import annotations

import csv
import json
import math

import numpy as np
import pytest
from scipy import stats

from medwsss.files import write_json
from medwsss.reports.scores import Scores, summary_of

NAN = float("nan")


@pytest.fixture
def scores():
    """Three cases, two of them one patient's; the second class is missing from the first two, and one counts all."""
    return Scores(
        cases=["a_1", "b", "a_2"],
        patients=["a", "b", "a"],
        class_names=["background", "organ", "vessel"],
        figures={
            "Dice": np.array([[0.2, NAN], [0.9, NAN], [0.4, 0.5]]),
            "IoU": np.array([[0.5, 0.25, NAN]]),
        },
    )


def test_a_patient_counts_once(scores):
    rows = {(row["figure"], row["class"]): row for row in scores.summary()}
    organ, vessel, mean = (rows["Dice", name] for name in ("organ", "vessel", "mean"))
    assert organ["mean"] == pytest.approx((0.3 + 0.9) / 2) and organ["patients"] == 2  # not the mean of three cases
    assert (organ["low"], organ["high"]) == pytest.approx((0.3, 0.9))
    assert vessel["mean"] == 0.5 and vessel["patients"] == 1 and math.isnan(vessel["low"])
    assert mean["mean"] == pytest.approx(((0.3 + 0.5) / 2 + 0.9) / 2)


def test_a_figure_of_all_cases_has_no_interval(scores):
    rows = {row["class"]: row for row in scores.summary() if row["figure"] == "IoU"}
    assert [rows[name]["mean"] for name in ("background", "organ", "mean")] == [0.5, 0.25, 0.375]
    assert math.isnan(rows["vessel"]["mean"]) and math.isnan(rows["organ"]["low"]) and rows["organ"]["patients"] == 2


def test_intervals_are_those_of_scipy():
    values = np.random.default_rng(1).normal(size=30)
    found = summary_of(np.append(values, NAN))
    expected = stats.bootstrap((values,), np.mean, method="percentile", n_resamples=20_000, rng=2).confidence_interval
    assert (found["low"], found["high"]) == pytest.approx((expected.low, expected.high), abs=0.03)
    assert found == summary_of(np.append(values, NAN))  # the same draws every time
    assert found["median"] == np.median(values) and found["patients"] == 30


def test_files(scores, tmp_path):
    scores.write_csv(tmp_path / "cases.csv")
    with open(tmp_path / "cases.csv") as file:
        rows = list(csv.DictReader(file))
    assert [list(row.values()) for row in rows] == [
        ["a_1", "a", "organ", "0.2"],
        ["a_1", "a", "vessel", ""],
        ["b", "b", "organ", "0.9"],
        ["b", "b", "vessel", ""],
        ["a_2", "a", "organ", "0.4"],
        ["a_2", "a", "vessel", "0.5"],
    ]
    write_json(scores.summary(), tmp_path / "summary.json")
    assert json.loads((tmp_path / "summary.json").read_text(), parse_constant=pytest.fail)[1]["low"] is None
