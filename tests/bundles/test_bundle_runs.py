# SPDX-License-Identifier: Apache-2.0
"""The tables' trainings: each once, resumable, with a command that repeats it."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys

import numpy as np
import pytest
import torch
from PIL import Image

from medwsss.keys import UNLABELED, VOID
from tests.benchmarks import ablation, bundle_runs, camvid
from tests.benchmarks.bundle_runs import Bench, Method, shortened
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


EXTRA = {key: TINY[key] for key in ("patch_size", "device", "amp", "workers")}


def test_a_run_is_done_once_and_its_command_repeats_it(study, tmp_path, monkeypatch):
    bench = Bench(2, tmp_path / "out", EXTRA)
    row = bench.run(Method(["pce"]), study, seed=3)
    assert row["iterations"] == 2 and list(row["IoU"]) == ["class 0", "class 1", "mean"]
    assert len((tmp_path / "out" / "runs.jsonl").read_text().splitlines()) == 1

    words = shlex.split(row["command"])
    assert words[0] == "python"
    environment = {**os.environ, "OMP_NUM_THREADS": str(torch.get_num_threads())}  # sums round by their number
    command = [sys.executable, *words[1:], "--output_dir", str(tmp_path / "again")]
    subprocess.run(command, check=True, cwd=REPOSITORY, env=environment, capture_output=True)
    again = json.loads((tmp_path / "again" / "report.json").read_text())
    assert again["validation"]["IoU"] == row["IoU"]

    monkeypatch.setattr(bundle_runs, "ConfigWorkflow", None)  # nothing is trained from here on
    assert bench.run(Method(["pce"]), study, seed=3) == row
    with pytest.raises(TypeError):
        bench.run(Method(["pce"]), study, seed=4)
    assert Bench(2, tmp_path / "out", EXTRA).run(Method(["pce"]), study, seed=3) == row


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


@pytest.mark.parametrize("axis", list(ablation.AXES))
def test_the_grid_is_the_papers(axis):
    sizes = {"relaxations": 6, "cross_entropies": 3, "neighborhoods": 8}
    assert len(ablation.AXES[axis][1]) == sizes[axis]


def test_table_3_beside_the_papers():
    rows = {("P_Q", 0.3): [{"IoU": {"mean": m}, "cpu_seconds": 90} for m in (0.40, 0.42)]}
    lines = ablation.table(["P_Q", "P_CD"], [0.3, 1.0], rows).splitlines()
    assert lines[2] == "| P_Q | 41.0 ± 1.4 | – | 65.34 | 71.05 | 1.5 |"
    assert lines[3] == "| P_CD | – | – | 65.52 | 71.22 | – |"


def test_table_of_camvid():
    rows = {("blocks", "pce"): [{"IoU": {"mean": 0.25}, "cpu_seconds": 60}]}
    assert "| pce | 25.0 | 1.0 | – | – | 1 |" in camvid.table(rows)
