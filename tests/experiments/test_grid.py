# SPDX-License-Identifier: Apache-2.0
"""The loop over runs: what is missing, after a look at all of them."""

from __future__ import annotations

import json
import threading
from argparse import Namespace
from pathlib import Path

import pytest

from medwsss.experiments import grid
from medwsss.experiments import runs as trainings
from medwsss.experiments.grid import Run, Setting
from tests.bundles.bundle import REPOSITORY


@pytest.fixture
def done(monkeypatch):
    """Methods in the order of their trainings, which are not done but recorded; ``gd`` fails."""
    monkeypatch.chdir(REPOSITORY)
    trained = []

    def run(words, output, threads, device, **facts):
        assert device == ""
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
    return Namespace(output=folder, threads=1, devices=[""], overrides=list(overrides))


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


def test_as_many_runs_at_a_time_as_devices(tmp_path, monkeypatch):
    """Of five runs two wait for each other on two devices, and none for more than one other."""
    monkeypatch.chdir(REPOSITORY)
    both, used = threading.Barrier(2, timeout=60), []

    def run(words, output, threads, device, **facts):
        used.append(device)
        if facts["method"] in ("pce", "gd"):
            both.wait()
        output.mkdir(parents=True)
        trainings.write_result(facts, words, output)

    monkeypatch.setattr(grid, "run", run)
    given = arguments(tmp_path)
    given.devices = ["0", "cpu"]
    assert grid.carry_out(runs("pce", "gd", "full", "entropy", "hard"), report, given) == 0
    assert sorted(used[:2]) == ["0", "cpu"] and len(used) == 5
    assert len((tmp_path / "results.jsonl").read_text().splitlines()) == 5


def test_an_interruption_ends_the_runs_beside_it_and_none_of_them_has_failed(tmp_path, monkeypatch):
    """One of two trainings would take an hour; it is killed, and its folder waits to be continued."""
    begun = threading.Event()

    def run(words, output, threads, device, **facts):
        if facts["method"] == "gd":
            begun.wait(60)
            raise KeyboardInterrupt
        script = "import pathlib, sys, time; pathlib.Path(sys.argv[1]).touch(); time.sleep(3600)"
        original = trainings.subprocess.Popen
        monkeypatch.setattr(trainings.subprocess, "Popen", lambda *a, **k: [original(*a, **k), begun.set()][0])
        trainings.run(["-c", script, str(tmp_path / "begun")], output, threads, device, **facts)

    monkeypatch.chdir(REPOSITORY)
    monkeypatch.setattr(grid, "run", run)
    given = arguments(tmp_path)
    given.devices = ["cpu", "cpu"]
    with pytest.raises(KeyboardInterrupt):
        grid.carry_out(runs("pce", "gd", "full"), report, given, keep_going=True)
    assert not list(tmp_path.rglob("result.json")) and len(list(tmp_path.rglob("log.txt"))) == 1
    assert not trainings._TRAINING


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
