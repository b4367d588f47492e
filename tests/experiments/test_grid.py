# SPDX-License-Identifier: Apache-2.0
"""The loop over runs: what is missing, after a look at all of them."""

from __future__ import annotations

import json
from argparse import Namespace
from pathlib import Path

import pytest

from medwsss.experiments import grid
from medwsss.experiments.grid import Run, Setting
from tests.bundles.bundle import REPOSITORY


@pytest.fixture
def done(monkeypatch):
    """Methods in the order of their trainings, which are not done but recorded; ``gd`` fails."""
    monkeypatch.chdir(REPOSITORY)
    trained = []

    def run(words, output, threads, **facts):
        if facts["method"] == "gd" and not trained.count("gd"):
            trained.append("gd")
            raise KeyboardInterrupt
        trained.append(facts["method"])
        output.mkdir(parents=True)
        (output / "result.json").write_text(json.dumps({**facts, "command": words}))

    monkeypatch.setattr(grid, "run", run)
    return trained


def runs(*methods, files=("bundles/scribble/train.json",)):
    return [Run(Setting("heart", method, 0), files) for method in methods]


def report(lines, output):
    return "+".join(line["method"] for line in lines)


def arguments(folder, *overrides):
    return Namespace(output=folder, threads=1, overrides=list(overrides))


def test_folders_tell_runs_apart():
    assert Setting("heart", "pce", 7).folder == Path("heart/pce_length1_seed7")
    assert Setting("heart", "default", 7, 0.3, "lam", 0.5).folder == Path("heart/default_length0.3_lam0.5_seed7")


def test_only_what_is_missing_is_run_after_an_interruption(tmp_path, done, capsys):
    with pytest.raises(KeyboardInterrupt):
        grid.carry_out(runs("pce", "gd", "full"), report, arguments(tmp_path))
    assert done == ["pce", "gd"] and len((tmp_path / "results.jsonl").read_text().splitlines()) == 1
    for _ in range(2):  # the second time nothing is left to do, and the report is the same
        assert grid.carry_out(runs("pce", "gd", "full"), report, arguments(tmp_path)) == 0
        assert done == ["pce", "gd", "gd", "full"] and capsys.readouterr().out == "full+gd+pce\n"
    lines = [json.loads(text) for text in (tmp_path / "results.jsonl").read_text().splitlines()]
    assert lines[0].items() >= {"study": "heart", "method": "full", "length": 1.0, "knob": "", "factor": 1.0}.items()


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (("--epoch", "3"), "unknown override --epoch, did you mean --epochs"),
        (("--seed", "3"), "overrides that all runs may share, got --seed; --seeds says that"),
        (("--dataset_dir", "data/mine"), "got --dataset_dir; the data list says that"),
        (("mistake",), "as --name value, got mistake"),
    ],
)
def test_overrides_that_cannot_work_end_it_before_the_first_run(tmp_path, done, overrides, message):
    with pytest.raises(ValueError, match=message):
        grid.carry_out(runs("pce"), report, arguments(tmp_path, *overrides))
    assert not done and not any(tmp_path.iterdir())


def test_a_folder_of_another_command_ends_it_before_the_first_run(tmp_path, done):
    grid.carry_out(runs("full"), report, arguments(tmp_path))
    with pytest.raises(ValueError, match="another --output keeps both"):
        grid.carry_out(runs("pce", "full"), report, arguments(tmp_path, "--lam", "3"))
    assert done == ["full"]


def test_a_budget_counts_the_overrides_batches(photographs):
    files = ["bundles/scribble_2d/train.json", "bundles/scribble_2d/small.json"]
    options = {"dataset_dir": str(photographs.parent)}  # four items, batches of four
    for overrides, epochs in (([], 8), (["--batch_size", "2"], 4), (["--samples_per_volume", "2"], 4)):
        given = Namespace(iterations=None, overrides=overrides)
        assert grid.budget(files, options, 8, given) == {"epochs": epochs}
    assert grid.budget(files, options, 8, Namespace(iterations=20, overrides=[])) == {"epochs": 20}
