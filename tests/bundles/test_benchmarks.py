# SPDX-License-Identifier: Apache-2.0
"""The tables' trainings: each once, resumable, with the command that it was."""

from __future__ import annotations

import json
import shlex
import subprocess
from argparse import Namespace
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch
from monai.bundle import ConfigParser
from PIL import Image

from data_prep.phantom import make_phantom_study
from medwsss.keys import UNLABELED, VOID
from tests.benchmarks import ablation, label_settings, robustness, runs
from tests.benchmarks.ablation import AXES, run_name, shortened, train
from tests.bundles.bundle import REPOSITORY
from tests.bundles.photographs import TINY, write_study


@pytest.fixture
def study(tmp_path):
    folder = write_study(tmp_path / "study")
    content = json.loads((folder / "dataset.json").read_text())
    (folder / "dataset.json").write_text(
        json.dumps({**content, "num_classes": 2, "ignore_value": 255, "void_value": 254})
    )
    return folder / "dataset.json"


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


def test_a_training_that_fails_says_why(tmp_path):
    with pytest.raises(ChildProcessError, match=r"status 1 in .*log.txt: expected lam >= 0, got -1"):
        runs.run(["-c", "raise SystemExit('expected lam >= 0, got -1')"], tmp_path, 1)
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


def test_a_study_that_nothing_makes(study, tmp_path):
    assert runs.prepared(study.parent, []) == study.parent
    with pytest.raises(ValueError, match=f"dataset.json in {tmp_path}, got none"):
        runs.prepared(tmp_path, [])


def test_a_line_of_a_table(study, tmp_path, monkeypatch):
    monkeypatch.chdir(REPOSITORY)
    arguments = Namespace(datalist=study, budget_iterations=2, output=tmp_path / "out", threads=1)
    extra = [word for name in ("patch_size", "device", "amp", "workers") for word in (f"--{name}", str(TINY[name]))]
    row = train(AXES["neighborhoods"][1]["hard (stride 4), 8"], 1.0, 3, arguments, extra)
    folder = tmp_path / "out" / "hard_stride_4_8_length1_seed3"
    assert (row["method"], row["length"], row["seed"]) == ("hard_stride_4_8", 1.0, 3)
    assert list(row["IoU"]) == ["class 0", "class 1", "mean"]
    assert row["IoU"] == json.loads((folder / "report.json").read_text())["validation"]["IoU"]
    assert "item" not in (folder / "log.txt").read_text()  # what a study that is checked says of itself

    monkeypatch.setattr(subprocess, "run", None)  # nothing is trained from here on
    assert train(AXES["neighborhoods"][1]["hard (stride 4), 8"], 1.0, 3, arguments, extra) == row
    with pytest.raises(TypeError):
        train(AXES["neighborhoods"][1]["hard (stride 4), 8"], 1.0, 4, arguments, extra)


def test_shorter_strokes_lie_inside(study):
    assert shortened(study, 1.0) == study
    short = shortened(study, 0.3)
    assert short.parent.name == "study_0.3" and short == shortened(study, 0.3)
    (name,) = {path.name for path in (short.parent / "scribbles").glob("*1*.png")}
    less, more = (
        np.asarray(Image.open(p)) for p in (short.parent / "scribbles" / name, study.parent / "scribble_1.png")
    )
    seeds = less < VOID
    assert 0 < seeds.sum() < (more < VOID).sum() and (less[seeds] == more[seeds]).all()
    assert ((less == VOID) == (more == VOID)).all() and (less == UNLABELED).any()


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
    row = {"IoU": {"mean": 0.40}, "cpu_minutes": 1.4}
    rows = {("P_Q", 0.3): [row, {"IoU": {"mean": 0.42}, "cpu_minutes": 1.6}]}
    lines = ablation.table(["P_Q", "P_CD"], [0.3, 1.0], rows).splitlines()
    assert lines[2] == "| P_Q | 41.0 ± 1.4 | – | 65.34 | 71.05 | 1.5 | 2 |"
    assert lines[3] == "| P_CD | – | – | 65.52 | 71.22 | – | – |"
    (line,) = ablation.table(["P_Q"], [0.3, 1.0], {**rows, ("P_Q", 1.0): [row]}).splitlines()[2:]
    assert line.endswith("| 1–2 |")


def test_robustness_writes_the_default_out(study, tmp_path, monkeypatch):
    done = []
    photographs = {
        "bundle": "bundles/scribble_2d",
        "options": {"num_classes": 2},
        "grey_levels": 255,
        "paper": {"bandwidth": 9.0},
    }
    row = robustness.Row(str(study.parent), ["small"], 6, **photographs)
    monkeypatch.chdir(REPOSITORY)
    monkeypatch.setitem(robustness.ROWS, "study", row)
    monkeypatch.setattr(robustness, "run", lambda words, output, threads, **facts: done.append((words, output)))
    arguments = Namespace(iterations=None, held_out=0.1, output=Path("out"), threads=1)
    for method in ("pce", "default", "paper"):
        robustness.Job("study", method, 7, 1.0).train(arguments, ["--lam", "3"])
    files = [f"bundles/scribble_2d/{name}.json" for name in ("train", "small", "pce")]
    (pce, output), (default, _), (paper, _) = done
    assert output == Path("out/study/pce_length1_seed7")
    assert shlex.join(pce) == (
        f"-m monai.bundle run training --config_file {shlex.quote(str(files))} --output_dir {output} "
        f"--dataset_dir {study.parent} --num_classes 2 --held_out_share 0.1 --epochs 6 --seed 7 --lam 3"
    )
    train_json = json.loads((REPOSITORY / "bundles/scribble/train.json").read_text())
    values = dict(zip(default[4::2], default[5::2]))
    assert values["--bandwidth"] == str(255 * train_json["bandwidth"])
    assert values["--warmup_epochs"] == "1"  # a quarter of 6, rounded down
    assert default[default.index("--eta") + 1] == str(train_json["eta"])
    assert "'bundles/scribble/paper.json'" in paper[5] and paper[paper.index("--bandwidth") + 1] == "9.0"
    assert default[-4:] == ["--seed", "7", "--lam", "3"]  # the last one counts


def write_run(folder, files, options):
    """What ``runs.run`` leaves of its command."""
    folder.mkdir()
    words = runs.command([f"bundles/{name}.json" for name in files], folder, options)
    (folder / "result.json").write_text(json.dumps({"command": [*words, "--eta", "1.0"]}))
    return folder


def test_a_runs_command_is_read_back(tmp_path):
    options = {"eta": 0.3, "warmup_loss": None, "val_interval": "@epochs", "strides": [[2, 2, 1]], "seed": 0}
    files, found = label_settings.read_command(
        write_run(tmp_path / "run", ["scribble/train", "scribble/acdc"], options)
    )
    assert files == ["bundles/scribble/train.json", "bundles/scribble/acdc.json"]
    assert found == {**options, "eta": 1.0, "output_dir": str(tmp_path / "run")}  # the last one counts
    with pytest.raises(ValueError, match="bundles/scribble in .*other, got one of bundles/scribble_2d/train.json"):
        label_settings.read_command(write_run(tmp_path / "other", ["scribble_2d/train"], {}))


@pytest.mark.parametrize("axes", [2, 3])
def test_a_runs_training_cases(axes, tmp_path, monkeypatch):
    monkeypatch.chdir(REPOSITORY)
    folder = make_phantom_study(tmp_path / "study", training=4, validation=1, shape=(24, 20, 8)).parent
    options = {"dataset_dir": str(folder), "spatial_dims": axes, "channels": [4, 8], "patch_size": [16, 16, 8][:axes]}
    run = write_run(tmp_path / "run", ["scribble/train"], {**options, "held_out_share": 0.5})
    network = runs.parsed(["bundles/scribble/train.json"], options).get_parsed_content("network_def")
    torch.save(network.state_dict(), run / "model.pt")
    cases, title = label_settings.cases(run, 2)
    assert title == f"no network, study, {axes}-D"
    for case, index in zip(cases, (0, 2), strict=True):
        assert case.spacing == pytest.approx([1, 1, 2.5][:axes])
        assert case.logits.shape == ((8, 5, 24, 20) if axes == 2 else (1, 5, 24, 20, 8))
        for key, x in {"scribble": case.scribble, "label": case.truth}.items():
            volume = nib.load(folder / f"{key}s/training_{index:03d}.nii.gz").get_fdata()
            np.testing.assert_array_equal(x.movedim(0, -1).squeeze(0) if axes == 2 else x[0, 0], volume)
    monkeypatch.setattr(label_settings, "SETTINGS", {"centre": label_settings.CENTRE | {"lam": 0.0}})
    sure = [torch.nn.functional.one_hot(case.truth.squeeze(1).long(), 5).movedim(-1, 1) * 100.0 for case in cases]
    column = label_settings.column([case._replace(logits=logits) for case, logits in zip(cases, sure, strict=True)])
    assert column == {"network": 1, "centre": 1, "centre, volume": 1}
