# SPDX-License-Identifier: Apache-2.0
"""Lines of runs: what is read out of hand-made ones."""

from __future__ import annotations

import numpy as np
import pytest

from medwsss.reports import results


def line(seed, cases):
    return {"seed": seed, "Dice": {"mean": 0.5}, "cases": {"Dice": cases}}


FIRST = line(0, [[0.4, 0.6], [0.2, None], [0.9, 0.7]])  # 0.5, 0.2, 0.8 by case
SECOND = line(1, [[0.6, 0.8], [None, 0.4], [0.8, 1.0]])  # 0.7, 0.4, 0.9


def test_cases_leave_out_classes_that_are_nowhere():
    np.testing.assert_allclose(results.cases([FIRST]), [0.5, 0.2, 0.8])
    np.testing.assert_allclose(results.cases([FIRST, SECOND]), [0.6, 0.3, 0.85])


@pytest.mark.filterwarnings("error")
def test_a_case_without_any_class_is_nothing_to_warn_of():
    np.testing.assert_allclose(results.cases([line(0, [[None, None], [0.2, 0.6]])]), [np.nan, 0.4])


def test_intersection_over_union_comes_first():
    assert results.score({**FIRST, "IoU": {"mean": 0.3}}) == 0.3 and results.score(FIRST) == 0.5


def test_pairs_are_of_seeds_that_both_have_with_cases():
    blind = {"seed": 0, "cases": {"IoU": [[0.5]]}}
    assert results.same_seeds([FIRST, SECOND], [SECOND]) == ([SECOND], [SECOND])
    assert results.same_seeds([FIRST, SECOND], [blind]) == ([], [])


def test_lines_come_back_with_what_they_left_unsaid(tmp_path):
    path = tmp_path / "results.jsonl"
    results.write_lines(path, [FIRST, {**SECOND, "knob": "lam", "factor": 2.0}])
    first, second = results.read_lines(path)
    assert first == {**FIRST, "study": "", "length": 1.0, "knob": "", "factor": 1.0}
    assert (second["knob"], second["factor"]) == ("lam", 2.0)
    assert results.chosen([first, second], length=1.0) == [first]
    assert results.chosen([first, second], knob="lam") == [second]
