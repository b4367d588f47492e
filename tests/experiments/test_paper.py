# SPDX-License-Identifier: Apache-2.0
"""The paper's tables: each run once, beside the paper's numbers."""

from __future__ import annotations

import json
import subprocess
from argparse import Namespace
from pathlib import Path

import pytest

from medwsss.experiments import paper
from medwsss.experiments.__main__ import main
from medwsss.experiments.paper import AXES, run_name
from medwsss.reports.results import read_lines
from tests.bundles.bundle import REPOSITORY
from tests.bundles.photographs import TINY

FILES = [f"bundles/scribble_2d/{name}.json" for name in ("train", "small", "gd")]


def words(*axes, datalist, output, lengths=("1",)):
    options = [word for name in ("patch_size", "device", "amp", "workers") for word in (f"--{name}", str(TINY[name]))]
    asked = ["--axes", *axes, "--lengths", *lengths, "--seeds", "3", "--iterations", "2", "--output", str(output)]
    return ["paper", "--datalist", str(datalist), *asked, *options]


@pytest.mark.longest
def test_a_line_of_a_table(photographs, tmp_path, monkeypatch):
    methods = {name: AXES["neighborhoods"][1][name] for name in ("hard (stride 4), 8",)}
    monkeypatch.setitem(AXES, "neighborhoods", ("Table 4", methods))
    given = words("neighborhoods", datalist=photographs, output=tmp_path / "out")
    assert main(given) == 0
    folder = tmp_path / "out" / "study" / "hard_stride_4_8_length1_seed3"
    row = json.loads((tmp_path / "out" / "results.jsonl").read_text())
    assert (row["method"], row["length"], row["seed"]) == ("hard_stride_4_8", 1.0, 3)
    assert list(row["IoU"]) == ["class 0", "class 1", "mean"]
    assert row["IoU"] == json.loads((folder / "report.json").read_text())["validation"]["IoU"]
    assert "item" not in (folder / "log.txt").read_text()  # what a study that is checked says of itself

    monkeypatch.setattr(subprocess, "Popen", None)  # nothing is trained from here on
    before = {path: path.read_bytes() for path in (tmp_path / "out").glob("*.*")}
    assert {path.name for path in before} == {"results.jsonl", "paper.md", "paper.png"}
    assert main(given) == 0 and all(path.read_bytes() == content for path, content in before.items())
    with pytest.raises(TypeError):
        main([*given, "--seeds", "4"])


def test_all_runs_are_planned_once(photographs, tmp_path, monkeypatch):
    done = []
    monkeypatch.setattr(paper, "carry_out", lambda runs, report, arguments: done.extend(runs) or 0)
    assert main(words(*AXES, datalist=photographs, output=tmp_path, lengths=("0.3", "1"))) == 0
    # Tables 3 and Figure 5 share P_Q, and all of Table 4 is of whole scribbles
    assert len(done) == 2 * (6 + 3 - 1) + (8 - 1) and len({run.setting.folder for run in done}) == len(done)
    (run,) = (run for run in done if run.setting.method == "GD_8")
    assert list(run.files) == FILES and run.options["connectivity"] == 2 and run.options["seed"] == 3
    short = {run.options["dataset_dir"] for run in done if run.setting.length == 0.3}
    assert short == {str(photographs.parent.with_name("study_0.3"))}
    assert {run.setting.study for run in done} == {"study"}


def test_the_grid_is_the_papers():
    assert {axis: len(methods) for axis, (_, methods) in AXES.items()} == {
        "relaxations": 6,
        "cross_entropies": 3,
        "neighborhoods": 8,
    }


def test_a_run_that_two_tables_ask_for_is_one():
    names = {(axis, line): run_name(method) for axis, (_, methods) in AXES.items() for line, method in methods.items()}
    shared = {("relaxations", "P_Q"), ("cross_entropies", "H_CCE"), ("neighborhoods", "soft, 4")}
    assert {key for key, name in names.items() if name == "P_Q"} == shared
    assert len(set(names.values())) == 6 + 3 + 8 - 2


def test_table_3_beside_the_papers():
    methods = {name: AXES["relaxations"][1][name] for name in ("P_Q", "P_CD")}
    lines = [
        {"method": "P_Q", "length": 0.3, "IoU": {"mean": 0.40}, "cpu_minutes": 1.4},
        {"method": "P_Q", "length": 0.3, "IoU": {"mean": 0.42}, "cpu_minutes": 1.6},
    ]
    rows = paper.table(lines, methods, [0.3, 1.0]).splitlines()
    assert rows[0] == "| | 0.3 | 1 | paper, 0.3 | paper, 1 | CPU minutes | seeds |"
    assert rows[2] == "| P_Q | 41.0 ± 1.4 | – | 65.34 | 71.05 | 1.5 | 2 |"
    assert rows[3] == "| P_CD | – | – | 65.52 | 71.22 | – | – |"
    (line,) = paper.table([*lines, lines[0] | {"length": 1.0}], {"P_Q": methods["P_Q"]}, [0.3, 1.0]).splitlines()[2:]
    assert line.endswith("| 1–2 |")


def test_recorded_runs_give_the_documents_tables(tmp_path):
    docs = REPOSITORY / "bundles/scribble_2d/docs"
    lines = [{**line, "study": "camvid_scribbles"} for line in read_lines(docs / "ablation.jsonl")]
    given = {"axes": ["relaxations", "cross_entropies"], "lengths": [0.3, 1.0]}
    paper.write(Namespace(datalist=Path("data/camvid_scribbles/dataset.json"), **given), lines, tmp_path)
    assert (tmp_path / "paper.md").read_text() == (docs / "ablation.md").read_text()


def test_curves_are_of_what_was_run():
    lines = [{"method": "P_Q", "length": x, "IoU": {"mean": y}} for x, y in ((1.0, 0.5), (0.3, 0.2), (0.3, 0.4))]
    first, second = paper.plot(lines, ["relaxations", "cross_entropies"], [0.3, 1.0]).axes
    (bars,) = first.containers
    assert bars.get_label() == "P_Q" and second.containers[0].get_label() == "H_CCE"
    assert bars.lines[0].get_xydata().tolist() == [[0.3, pytest.approx(30)], [1.0, 50]]
    low, high = bars.lines[2][0].get_segments()[0][:, 1]
    assert (low, high) == (pytest.approx(30 - 200**0.5), pytest.approx(30 + 200**0.5))  # deviation of 20 and 40
