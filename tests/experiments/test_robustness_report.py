# SPDX-License-Identifier: Apache-2.0
"""Table, correlation and curves of hand-made lines, worked by hand."""

from __future__ import annotations

import pytest

from medwsss.experiments import robustness_report as report
from medwsss.reports.results import read_lines
from tests.bundles.bundle import REPOSITORY


def line(method, seed, figure, cases, study="heart", **more):
    """What a run leaves, as far as the report looks."""
    facts = {"knob": "", "factor": 1.0, "length": 1.0, "cpu_minutes": 2.0, "last_epoch": {}, **more}
    return {"study": study, "method": method, "seed": seed, "Dice": {"mean": figure}, "cases": {"Dice": cases}, **facts}


DEFAULT = line("default", 0, 0.5, [[0.4, 0.6], [0.2, None], [0.9, 0.7]])  # 0.5, 0.2, 0.8 by case
PCE = line("pce", 0, 0.4, [[0.4, 0.4], [0.1, None], [0.7, 0.7]])  # 0.4, 0.1, 0.7


def test_the_table_pairs_runs_of_the_same_seeds():
    second = line("default", 1, 0.7, [[0.0, 0.0], [0.0, None], [0.0, 0.0]])  # no pce has this seed
    varied = line("default", 0, 0.9, [[1.0, 1.0], [1.0, None], [1.0, 1.0]], knob="lam", factor=2.0)
    header, _, row = report.table([DEFAULT, PCE, second, varied]).splitlines()
    cells = dict(zip((cell.strip() for cell in header.split("|")), (cell.strip() for cell in row.split("|"))))
    assert cells["study"] == "heart, length 1"
    assert (cells["seeds only"], cells["default"], cells["dense"]) == ("0.400", "0.600 ± 0.141", "–")
    assert cells["default − seeds only"] == "+0.100 [+0.100, +0.100]" and cells["default − dense"] == "–"
    assert (cells["CPU minutes"], cells["seeds"]) == ("2.0", "2")


def test_a_new_method_is_a_column():
    header, _, row = report.table([DEFAULT, {**PCE, "method": "rival"}]).splitlines()
    cells = dict(zip((cell.strip() for cell in header.split("|")), (cell.strip() for cell in row.split("|"))))
    assert (cells["rival"], cells["default − rival"]) == ("0.400", "+0.100 [+0.100, +0.100]")
    assert cells["seeds only"] == "–"


@pytest.mark.parametrize("name", ["robustness", "lengths", "sensitivity", "sensitivity_unsmoothed"])
def test_recorded_runs_give_the_documents_figures(name, tmp_path):
    """The recorded lines are read, and their table is the one that the document shows."""
    lines = read_lines(REPOSITORY / f"bundles/scribble/docs/{name}.jsonl")
    text = report.render(lines, tmp_path)
    assert (name == "robustness") or (tmp_path / f"{name.partition('_')[0]}.png").exists()
    document = (REPOSITORY / "docs/evidence.md").read_text()
    assert name != "robustness" or text in document


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
