# SPDX-License-Identifier: Apache-2.0
"""A training for a table: once, resumable, with the command that it was."""

from __future__ import annotations

import fcntl
import json

import pytest
from monai.bundle import ConfigParser

from medwsss.experiments import runs

# stands in for a training: a report of how often it was done, and on how many threads
SCRIPT = """
import json, os, pathlib, sys
folder = pathlib.Path(sys.argv[1])
times = folder / "times"
times.write_text(times.read_text() + "x" if times.exists() else "x")
figures = {"IoU": {"mean": len(times.read_text())}}
report = {"validation": figures, "cases": {}, "last_epoch": os.environ["OMP_NUM_THREADS"], "advice": []}
(folder / "report.json").write_text(json.dumps(report))
"""


def test_a_run_is_done_once(tmp_path):
    outputs = [tmp_path / name for name in ("b", "a", "b")]
    rows = [runs.run(["-c", SCRIPT, str(output)], output, 3, seed=5) for output in outputs]
    assert rows[0] == rows[2] and rows[0]["IoU"] == {"mean": 1}
    assert rows[0]["seed"] == 5 and rows[0]["last_epoch"] == "3" and rows[0]["command"][0] == "-c"
    assert runs.finished(tmp_path) == [rows[1], rows[0]]


def test_another_command_does_not_take_over_a_folder(tmp_path):
    (tmp_path / "log.txt").write_text("-m training --epochs 2\nkilled\n")
    with pytest.raises(ValueError, match="--epochs 3 in .* got that of -m training --epochs 2"):
        runs.run(["-m", "training", "--epochs", "3"], tmp_path, 1)
    row = {"command": ["-m", "training", "--epochs", "4"]}
    (tmp_path / "result.json").write_text(json.dumps(row))
    with pytest.raises(ValueError, match="got that of -m training --epochs 4"):
        runs.run(["-m", "training", "--epochs", "2"], tmp_path, 1)
    assert runs.run(["-m", "training", "--epochs", "4"], tmp_path, 1) == row


def test_a_training_that_is_still_running_is_left_alone(tmp_path):
    with (tmp_path / "log.txt").open("a") as log:  # as an orphan of a killed command has it
        fcntl.flock(log, fcntl.LOCK_EX)
        with pytest.raises(ValueError, match=f"one training at a time in {tmp_path}, got one that is still running"):
            runs.run(["-c", SCRIPT, str(tmp_path)], tmp_path, 1)
    assert runs.run(["-c", SCRIPT, str(tmp_path)], tmp_path, 1)["IoU"] == {"mean": 1}


@pytest.mark.parametrize(("device", "seen"), [("", "2"), ("0", "0"), ("cpu", "")])
def test_the_gpu_that_a_training_sees(tmp_path, monkeypatch, device, seen):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2")
    script = SCRIPT.replace("OMP_NUM_THREADS", "CUDA_VISIBLE_DEVICES")
    assert runs.run(["-c", script, str(tmp_path)], tmp_path, 1, device)["last_epoch"] == seen


def test_a_training_that_fails_says_why(tmp_path):
    with pytest.raises(ChildProcessError, match=r"status 1 in .*log.txt: expected lam >= 0, got -1"):
        runs.run(["-c", "raise SystemExit('expected lam >= 0, got -1')"], tmp_path, 1)
    assert not (tmp_path / "result.json").exists()


@pytest.mark.parametrize("end", ["os.kill(os.getpid(), signal.SIGTERM)", "sys.exit(143)", "raise KeyboardInterrupt"])
def test_a_training_that_is_asked_to_end_has_not_failed(tmp_path, end):
    with pytest.raises(InterruptedError, match=f"in {tmp_path} was asked to end; the same command continues it"):
        runs.run(["-c", f"import os, signal, sys; {end}"], tmp_path, 1)
    assert not (tmp_path / "result.json").exists()


@pytest.mark.parametrize(
    ("items", "samples", "batch", "iterations", "expected"),
    [
        (8, 1, 4, 10, 5),
        (9, 1, 4, 10, 5),  # the ninth is dropped
        (8, 3, 4, 18, 3),
        (367, 1, 4, 600, 7),  # CamVid: 91 an epoch, 600 / 91 = 6.6
        (8, 1, 4, 1, 2),
        (3, 1, 4, 6, 6),  # a batch of three
    ],
)
def test_epochs_of_a_budget(items, samples, batch, iterations, expected):
    parser = ConfigParser({"train_items": [{}] * items, "samples_per_volume": samples, "batch_size": batch})
    assert runs.epochs(parser, iterations) == expected


def test_a_data_list_that_cannot_be_read_is_named_without_wrappers(tmp_path):
    items = f"$__import__('medwsss.study.datalist').study.datalist.load_datalist('{tmp_path}/none.json')"
    parser = ConfigParser({"train_items": items, "samples_per_volume": 1, "batch_size": 1})
    with pytest.raises(ValueError, match=f"^expected a data list in JSON, got {tmp_path}/none.json"):
        runs.epochs(parser, 10)


def test_overrides_are_read_as_monai_reads_them():
    words = ["--lam", "3", "--strides", "[[2, 2, 1]]", "--amp=False", "--val_interval", "@epochs", "--x#y", "-1.5"]
    expected = {"lam": 3, "strides": [[2, 2, 1]], "amp": False, "val_interval": "@epochs", "x#y": -1.5}
    assert runs.overrides(words) == expected and runs.overrides([]) == {}
    with pytest.raises(ValueError, match="as --name value, got stray 4"):
        runs.overrides(["stray", "4", "--lam", "3"])
