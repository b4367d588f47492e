# SPDX-License-Identifier: Apache-2.0
"""``medwsss``: a door to what there is, fast as long as nobody goes through."""

from __future__ import annotations

import json
import subprocess
import sys
from configparser import ConfigParser
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from medwsss.__main__ import COMMANDS, main
from tests.bundles.runs import write_run
from tests.toy_training import Typed

REPOSITORY = Path(__file__).parents[1]


def test_help_needs_nothing_heavy():
    code = "import sys, medwsss.__main__ as m\ntry: m.main(['--help'])\nfinally: print('torch' in sys.modules)"
    ended = subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True)
    assert ended.returncode == 0 and ended.stdout.endswith("False\n")
    assert all(name in ended.stdout for name in COMMANDS)


def test_the_script_is_this_function():
    setup = ConfigParser()
    setup.read(REPOSITORY / "setup.cfg")
    assert setup["options.entry_points"]["console_scripts"].strip() == "medwsss = medwsss.__main__:main"


def test_prepare_and_check(tmp_path, capsys):
    study = tmp_path / "study"
    assert main(["prepare", "phantom", "--output", str(study), "--training", "1", "--validation", "1"]) == 0
    assert capsys.readouterr().out.strip() == str(study / "dataset.json")
    assert main(["check", str(study / "dataset.json")]) == 0
    assert "2 cases, 0 errors" in capsys.readouterr().out
    content = json.loads((study / "dataset.json").read_text())
    (study / "dataset.json").write_text(json.dumps({**content, "numTraining": 3}))
    assert main(["check", str(study / "dataset.json")]) == 1


def test_compare_goes_to_experiments(tmp_path, capsys):
    assert main(["compare", "--datalist", str(tmp_path / "none.json"), "--methods", "pce"]) == 1
    assert str(tmp_path / "none.json") in capsys.readouterr().err
    with pytest.raises(SystemExit) as ended:
        main(["compare", "--help"])
    assert ended.value.code == 0 and "usage: medwsss compare" in capsys.readouterr().out


@pytest.mark.parametrize("words", [[], ["nothing"]])
def test_a_line_that_asks_for_nothing_ends_with_its_usage(capsys, words):
    with pytest.raises(SystemExit) as ended:
        main(words)
    assert ended.value.code == 2 and "usage: medwsss" in capsys.readouterr().err


@pytest.mark.parametrize(("command", "usage"), [("prepare", "medwsss prepare"), ("bundle", "medwsss bundle")])
def test_behind_the_door_help_knows_where_it_is(capsys, command, usage):
    with pytest.raises(SystemExit) as ended:
        main([command, "--help"])
    assert ended.value.code == 0 and f"usage: {usage}" in capsys.readouterr().out


@pytest.mark.slow
def test_infer_from_anywhere_with_a_bad_file_among_good_ones(tmp_path):
    """The others are predicted, the last line names it, and the exit status says so."""
    run = write_run(tmp_path / "run")
    (tmp_path / "images").mkdir()
    for name in "ab":
        nib.save(nib.Nifti1Image(np.ones((9, 8, 3), np.int16), np.eye(4)), tmp_path / "images" / f"{name}.nii.gz")
    damaged = tmp_path / "images" / "a.nii.gz"
    damaged.write_bytes(damaged.read_bytes()[:-9])
    words = ["medwsss", "infer", run, "images", "--output_dir", "20240501", "--device", "cpu"]
    ended = Typed(words, tmp_path)
    _, errors = ended.communicate()
    assert ended.returncode == 1
    last = errors.rstrip().splitlines()[-1]
    assert last.startswith("error: 1 predicted, 1 failed: ") and "a.nii.gz" in last
    assert [path.name for path in (tmp_path / "20240501").iterdir()] == ["b_pred.nii.gz"]


def test_infer_names_what_is_missing(tmp_path, capsys):
    assert main(["infer", str(tmp_path), str(tmp_path)]) == 1
    assert f"got no file {tmp_path / 'settings.json'}" in capsys.readouterr().err
