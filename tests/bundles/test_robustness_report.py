# SPDX-License-Identifier: Apache-2.0
"""Table, correlation and curves of hand-made lines, worked by hand."""

from __future__ import annotations

import numpy as np
import pytest

from tests.benchmarks import robustness_report as report


def line(method, seed, figure, cases, study="heart", **more):
    """What a run leaves, as far as the report looks."""
    facts = {"knob": "", "factor": 1.0, "length": 1.0, "cpu_minutes": 2.0, "last_epoch": {}, **more}
    return {"study": study, "method": method, "seed": seed, "Dice": {"mean": figure}, "cases": {"Dice": cases}, **facts}


DEFAULT = line("default", 0, 0.5, [[0.4, 0.6], [0.2, None], [0.9, 0.7]])  # 0.5, 0.2, 0.8 by case
PCE = line("pce", 0, 0.4, [[0.4, 0.4], [0.1, None], [0.7, 0.7]])  # 0.4, 0.1, 0.7


def test_cases_leave_out_classes_that_are_nowhere():
    other = line("default", 1, 0.6, [[0.6, 0.8], [None, 0.4], [0.8, 1.0]])
    np.testing.assert_allclose(report.cases([DEFAULT]), [0.5, 0.2, 0.8])
    np.testing.assert_allclose(report.cases([DEFAULT, other]), [0.6, 0.3, 0.85])


def test_a_difference_that_every_case_has_is_certain():
    assert report.paired(np.array([0.5, 0.2, 0.8]), np.array([0.4, 0.1, 0.7])) == "+0.100 [+0.100, +0.100]"
    text = report.paired(np.array([1.0, 0.0, 0.0]), np.zeros(3))
    assert text == "+0.333 [+0.000, +1.000]"  # all three draws are the first in 1/27 of the resamples, over 2.5 %


def test_the_table_pairs_runs_of_the_same_seeds():
    second = line("default", 1, 0.7, [[0.0, 0.0], [0.0, None], [0.0, 0.0]])  # no pce has this seed
    varied = line("default", 0, 0.9, [[1.0, 1.0], [1.0, None], [1.0, 1.0]], knob="lam", factor=2.0)
    header, _, row = report.table([DEFAULT, PCE, second, varied]).splitlines()
    cells = dict(zip((cell.strip() for cell in header.split("|")), (cell.strip() for cell in row.split("|"))))
    assert cells["study"] == "heart, length 1"
    assert (cells["seeds only"], cells["default"], cells["dense"]) == ("0.400", "0.600 ± 0.141", "–")
    assert cells["default − seeds only"] == "+0.100 [+0.100, +0.100]" and cells["default − dense"] == "–"
    assert (cells["CPU minutes"], cells["seeds"]) == ("2.0", "2")


def test_intersection_over_union_comes_first():
    assert report.score({**DEFAULT, "IoU": {"mean": 0.3}}) == 0.3 and report.score(DEFAULT) == 0.5


@pytest.mark.parametrize(("recalls", "rho"), [((0.1, 0.2, 0.9), "1.00"), ((0.9, 0.2, 0.1), "-1.00")])
def test_correlation_is_of_ranks_within_a_study(recalls, rho):
    lines = [line("pce", 0, x, [], last_epoch={"held_out_network": y}) for x, y in zip((0.1, 0.5, 0.6), recalls)]
    of_other = line("pce", 0, 0.2, [], study="other")  # held out nothing
    assert report.correlation([*lines, of_other]).splitlines()[2:] == [f"| heart | 3 | {rho} |"]


def test_pictures_are_of_what_was_run(tmp_path):
    report.render([DEFAULT, PCE], tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"robustness.md"}
    lines = [DEFAULT, PCE, line("default", 0, 0.3, DEFAULT["cases"]["Dice"], length=0.0), line("full", 0, 0.8, [[1.0]])]
    (axes,) = report.by_length(lines, ["heart"]).axes
    curves = {bars.get_label(): bars.lines[0].get_xydata().tolist() for bars in axes.containers}
    assert curves == {"seeds only": [[1, 0.4]], "default": [[0, 0.3], [1, 0.5]]}
    assert axes.lines[-1].get_label() == "dense" and axes.lines[-1].get_ydata()[0] == 0.8

    doubled = line("default", 0, 0.55, DEFAULT["cases"]["Dice"], knob="lam", factor=2.0)
    (axes,) = report.by_knob([DEFAULT, doubled], ["heart"]).axes
    curves = {bars.get_label(): bars.lines[0].get_xydata().tolist() for bars in axes.containers}
    assert curves["lam"] == [[1, 0.5], [2, 0.55]] and curves["eta"] == [[1, 0.5]]
    report.render([*lines, doubled], tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"robustness.md", "lengths.png", "sensitivity.png"}
