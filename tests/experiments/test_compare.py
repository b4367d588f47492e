# SPDX-License-Identifier: Apache-2.0
"""Methods side by side on a user's own data: what is trained, what is refused before it, and the table."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys

import pytest

from data_prep.phantom import make_phantom_study
from medwsss.experiments import compare
from medwsss.experiments.__main__ import main
from tests.bundles.bundle import REPOSITORY, TINY


@pytest.fixture
def study(tmp_path, monkeypatch):
    """The data list of two volumes for training and two for validation."""
    monkeypatch.chdir(REPOSITORY)
    return make_phantom_study(tmp_path / "heart", training=2, validation=2, shape=(24, 24, 8))


@pytest.fixture
def planned(monkeypatch):
    """The runs that a command would do."""
    runs = []
    monkeypatch.setattr(compare, "carry_out", lambda given, report, arguments: runs.extend(given) or 0)
    return runs


def compared(datalist, *words):
    return main(["compare", "--datalist", str(datalist), *map(str, words)])


def edit(datalist, function):
    content = json.loads(datalist.read_text())
    function(content)
    datalist.write_text(json.dumps(content))


def test_every_method_gets_the_same_budget_and_the_lists_classes(study, planned, tmp_path):
    mine = tmp_path / "mine.json"
    mine.write_text('{"lam": 3.0}')
    words = ["--methods", "pce", "default", mine, "--overlays", "acdc", "--iterations", 10, "--batch_size", 2]
    assert compared(study, *words) == 0
    assert [(run.setting.method, run.setting.seed) for run in planned] == [
        (method, seed) for seed in (0, 1) for method in ("pce", "default", "mine")
    ]
    files = ["bundles/scribble/train.json", "bundles/scribble/acdc.json"]
    assert [run.files for run in planned[:3]] == [[*files, "bundles/scribble/pce.json"], files, [*files, str(mine)]]
    for run in planned:
        assert run.setting.study == "heart" and run.options["dataset_dir"] == str(study.parent)
        # two volumes, nine patches each (acdc.json), two a batch: 9 iterations an epoch; 2 epochs are the least
        assert (run.options["epochs"], run.options["val_interval"]) == (2, "@epochs")
        # acdc.json says 4 and [4]; the list knows better
        assert (run.options["num_classes"], run.options["ignore_values"]) == (5, [255])


def test_what_the_list_does_not_say_is_the_bundles(study, planned):
    edit(study, lambda content: [content.pop(key) for key in list(content) if key not in ("training", "validation")])
    renamed = study.rename(study.with_name("mine.json"))
    assert compared(renamed, "--methods", "pce", "--seeds", 7) == 0
    assert planned[0].options == {
        "dataset_dir": str(study.parent), "datalist": str(renamed), "val_interval": "@epochs", "seed": 7
    }  # fmt: skip


def test_photographs_have_dice_of_each_case(photographs, planned):
    assert compared(photographs, "--methods", "gd", "--bundle", "scribble_2d", "--overlays", "small") == 0
    assert planned[0].files == [f"bundles/scribble_2d/{name}.json" for name in ("train", "small", "gd")]
    assert planned[0].options["figures"] == {"IoU": "@key_name", "Dice": "val_mean_dice"}
    assert (planned[0].options["ignore_values"], planned[0].options["void_values"]) == ([255], [254])


def test_overrides_of_what_makes_a_method_are_pointed_out(study, planned):
    with pytest.warns(UserWarning, match=r"replace what bundles/scribble/pce.json says of warmup_epochs$"):
        assert compared(study, "--methods", "pce", "default", "--warmup_epochs", 3, "--lam", 3) == 0


def test_dense_masks_are_found_where_the_list_has_them(study, planned):
    assert compared(study, "--methods", "full", "pce") == 0
    assert planned[0].options["annotation_key"] == "label" and "annotation_key" not in planned[1].options
    edit(
        study, lambda content: [item.update(mask=item["label"], label=item["scribble"]) for item in content["training"]]
    )
    assert compared(study, "--methods", "full") == 0 and planned[-1].options["annotation_key"] == "mask"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--methods", "pce", "rivl"], "a JSON file or one of .*'pce'.*, got 'rivl'"),
        (["--methods", "gd", "gd"], "methods with names of their own, got gd gd"),
        (["--methods", "gd", "--reference", "pce"], "a --reference among the methods gd, got 'pce'"),
        (["--bundle", "scribbel"], "a bundle of .*, got scribbel"),
        (["--epoch", "3"], "unknown override --epoch, did you mean --epochs"),
        (["--seed", "3"], "got --seed; --seeds says that"),
    ],
)
def test_mistakes_end_in_one_line_before_the_first_run(study, tmp_path, monkeypatch, capsys, words, message):
    monkeypatch.setattr(subprocess, "run", None)  # no training
    assert compared(study, *words, "--output", tmp_path / "out") == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: expected ")
    assert re.search(message, line)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda content: content.pop("validation"), "expected a section 'validation'"),
        (lambda content: content["training"][1].pop("label"), r"a dense mask in every .*, got none in training\[1\]"),
        (lambda content: content["training"][0].update(image="gone.nii.gz"), "an existing file, got .*gone.nii.gz"),
        (lambda content: content.update(schema="acdcc"), "expected a schema of .*, got 'acdcc'"),
    ],
)
def test_lists_that_do_not_do_end_it_before_the_first_run(study, tmp_path, monkeypatch, capsys, change, message):
    monkeypatch.setattr(subprocess, "run", None)
    edit(study, change)
    assert compared(study, "--methods", "pce", "full", "--output", tmp_path / "out") == 1
    assert re.search(message, capsys.readouterr().err)


def test_the_table_by_hand():
    def line(method, seed, dice, cases):
        figures = {"Dice": {"heart": dice, "mean": dice}, "HD95 (mm)": {"heart": 10 * dice, "mean": 10 * dice}}
        facts = {"study": "heart", "method": method, "seed": seed, "length": 1.0, "knob": "", "factor": 1.0}
        return {**facts, "cpu_minutes": 2.0, **figures, "cases": {"Dice": [[x] for x in cases]}}

    lines = [line("pce", 0, 0.4, [0.3, 0.5]), line("gd", 0, 0.5, [0.4, 0.6]), line("gd", 1, 0.7, [0.0, 0.0])]
    assert compare.table(lines, "pce").splitlines() == [
        "| method | Dice | HD95 (mm) | Dice − pce | CPU minutes | seeds |",
        "|---|---|---|---|---|---|",
        "| pce | 0.400 | 4.000 | – | 2.0 | 1 |",
        "| gd | 0.600 ± 0.141 | 6.000 ± 1.414 | +0.100 [+0.100, +0.100] | 2.0 | 2 |",  # seed 1 has no partner
    ]


def test_help_imports_no_command():
    code = "import sys; from medwsss.experiments.__main__ import main\ntry: main(['--help'])\nexcept SystemExit: pass\n"
    found = subprocess.run(
        [sys.executable, "-c", code + "print('torch' in sys.modules)"], capture_output=True, text=True, cwd=REPOSITORY
    ).stdout
    assert "compare" in found and found.endswith("False\n")


@pytest.mark.slow
def test_a_comparison_is_continued_and_done_once(study, tmp_path, monkeypatch, capfd):
    """Killed in its second training, then continued; the third call trains nothing."""
    # warm-up is what tells these two apart, and one epoch is the default's
    options = [word for name in TINY.keys() - {"warmup_epochs"} for word in (f"--{name}", str(TINY[name]))]
    words = ["--methods", "pce", "default", "--seeds", "0", "--output", tmp_path / "out", *options]
    train = subprocess.run

    def killed(command, **more):
        if "pce.json" not in str(command):
            raise KeyboardInterrupt
        return train(command, **more)

    monkeypatch.setattr(subprocess, "run", killed)
    with pytest.raises(KeyboardInterrupt):
        compared(study, *words)
    lines = (tmp_path / "out" / "results.jsonl").read_text().splitlines()
    assert [json.loads(line)["method"] for line in lines] == ["pce"]

    monkeypatch.setattr(subprocess, "run", train)
    assert compared(study, *words) == 0
    text = (tmp_path / "out" / "comparison.md").read_text()
    default = json.loads((tmp_path / "out/heart/default_length1_seed0/result.json").read_text())
    assert default["method"] == "default" and len(default["cases"]["Dice"]) == 2
    assert "decided_by_edges" in default["last_epoch"] and "decided_by_edges" not in json.loads(lines[0])["last_epoch"]
    (row,) = (line for line in text.splitlines() if line.startswith("| default") and "[" in line)
    assert f"| {default['Dice']['mean']:.3f} |" in row
    assert text in capfd.readouterr().out

    monkeypatch.setattr(subprocess, "run", None)
    written = os.stat(tmp_path / "out/heart/pce_length1_seed0/result.json").st_mtime_ns
    assert compared(study, *words) == 0 and (tmp_path / "out" / "comparison.md").read_text() == text
    assert os.stat(tmp_path / "out/heart/pce_length1_seed0/result.json").st_mtime_ns == written
