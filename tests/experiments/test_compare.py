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
from medwsss.experiments import compare, grid, runs
from medwsss.experiments.__main__ import main
from tests.bundles import tags
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
    monkeypatch.setattr(compare, "carry_out", lambda given, *_, **options: runs.extend(given) or 0)
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
    files = ["bundles/scribble/train.json", "medwsss/experiments/settings/acdc.json"]
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


def test_tags_have_dice_of_each_case_beside_their_own_figures(tmp_path, planned, monkeypatch):
    """Twelve scenes, eight a batch, of which the incomplete one is left out: an iteration an epoch."""
    monkeypatch.chdir(REPOSITORY)
    scenes = tags.write_study(tmp_path / "scenes") / "dataset.json"
    words = ["--bundle", "image_tags", "--methods", "gap", "isl_fsl", "--seeds", 3, "--iterations", 5]
    assert compared(scenes, *words) == 0
    assert [run.setting.method for run in planned] == ["gap", "isl_fsl"] and planned[0].options["epochs"] == 5
    parser = runs.parsed(planned[1].files, planned[1].options)
    figures = parser.get_parsed_content("figures")
    assert list(figures) == ["IoU", "contour F", "oracle IoU", "tag AUC", "activated", "Dice"]
    metrics = parser.get_parsed_content("validate#additional_metrics")
    assert set(figures.values()) == {"val_mean_iou", *metrics}


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
        (["--budget", "600"], "a budget of iterations or minutes, as in 600it and 10min, got '600'"),
        (["--budget", "0min"], "a budget of iterations or minutes, as in 600it and 10min, got '0min'"),
        (["--budget", "6it", "--iterations", "6"], "--budget or --iterations, got 6it and 6"),
        (["--bundle", "scribbel"], "a bundle of .*, got scribbel"),
        (["--epoch", "3"], "unknown override --epoch, did you mean --epochs"),
        (["--seed", "3"], "got --seed; --seeds says that"),
    ],
)
def test_mistakes_end_in_one_line_before_the_first_run(study, tmp_path, monkeypatch, capsys, words, message):
    monkeypatch.setattr(subprocess, "Popen", None)  # no training
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
    monkeypatch.setattr(subprocess, "Popen", None)
    edit(study, change)
    assert compared(study, "--methods", "pce", "full", "--output", tmp_path / "out") == 1
    assert re.search(message, capsys.readouterr().err)


def line(method, seed, dice, cases):
    figures = {"Dice": {"heart": dice, "mean": dice}, "HD95 (mm)": {"heart": 10 * dice, "mean": 10 * dice}}
    facts = {"study": "heart", "method": method, "seed": seed, "length": 1.0, "knob": "", "factor": 1.0}
    cost = {"cpu_minutes": 2.0, "step_seconds": 0.125, "peak_gib": 0.75}
    return {**facts, **cost, **figures, "cases": {"Dice": [[x] for x in cases]}}


def test_the_table_by_hand():
    lines = [line("pce", 0, 0.4, [0.3, 0.5]), line("gd", 0, 0.5, [0.4, 0.6]), line("gd", 1, 0.7, [0.0, 0.0])]
    titles, rows = compare.rows_of(lines, "pce")
    assert titles == ["method", "Dice", "HD95 (mm)", "Dice − pce", "CPU minutes", "s a step", "GiB", "seeds"]
    assert rows == [
        ["pce", "0.400", "4.000", "–", "2.0", "0.125", "0.75", "1"],
        # seed 1 has no partner
        ["gd", "0.600 ± 0.141", "6.000 ± 1.414", "+0.100 [+0.100, +0.100]", "2.0", "0.125 ± 0.000", "0.75", "2"],
    ]


def test_a_figure_that_one_method_lacks():
    """A network of classes has no score of activation maps."""
    lines = [line("pce", 0, 0.4, [0.3, 0.5]), line("gd", 0, 0.5, [0.4, 0.6])]
    lines[1]["oracle"] = {"mean": 0.7}
    titles, rows = compare.rows_of(lines, "pce")
    assert titles[1:4] == ["Dice", "HD95 (mm)", "oracle"] and [row[3] for row in rows] == ["–", "0.700"]


def fake_runs(monkeypatch, outcomes):
    """Trainings that are not done but have these outcomes, in order: Dice of two cases, or what is raised."""
    done = []

    def run(words, output, threads, device, **facts):
        outcome = outcomes[len(done)]
        done.append((facts["method"], facts["seed"]))
        if isinstance(outcome, type) or isinstance(outcome, BaseException):
            raise outcome
        figures = {"Dice": {"heart": sum(outcome) / 2, "mean": sum(outcome) / 2}}
        line = {**facts, "cpu_minutes": 1.0, "peak_gib": 0.5, "step_seconds": 0.25, **figures}
        runs.write_result({**line, "cases": {"Dice": [[x] for x in outcome]}}, words, output)

    monkeypatch.setattr(grid, "run", run)
    return done


SCORES = [(0.3, 0.5), (0.4, 0.6), (0.5, 0.5), (0.6, 0.4)]  # pce and gd with seed 0, then with seed 1
WORDS = ["--methods", "pce", "gd", "--budget", "8it"]


@pytest.mark.parametrize("stopped", range(4))
def test_interrupted_anywhere_it_ends_in_the_same_table(study, tmp_path, monkeypatch, stopped):
    fake_runs(monkeypatch, SCORES)
    assert compared(study, *WORDS, "--output", tmp_path / "whole") == 0
    fake_runs(monkeypatch, [*SCORES[:stopped], KeyboardInterrupt, *SCORES[stopped:]])
    with pytest.raises(KeyboardInterrupt):
        compared(study, *WORDS, "--output", tmp_path / "parts")
    done = fake_runs(monkeypatch, SCORES[stopped:])
    assert compared(study, *WORDS, "--output", tmp_path / "parts") == 0
    assert len(done) == 4 - stopped
    for name in ("comparison.md", "comparison.html"):
        assert (tmp_path / "parts" / name).read_text() == (tmp_path / "whole" / name).read_text()


def test_a_method_that_fails_has_a_row_and_the_others_go_on(study, tmp_path, monkeypatch):
    told = ChildProcessError("expected a training that ends, got signal 9 in log.txt: <killed>")
    done = fake_runs(monkeypatch, [told, SCORES[1], told, SCORES[3]])
    assert compared(study, *WORDS, "--output", tmp_path) == 0 and len(done) == 4
    text, page = (tmp_path / "comparison.md").read_text(), (tmp_path / "comparison.html").read_text()
    assert "| pce | – | – | – | – | – | 0, 2 failed |" in text.splitlines()
    assert "| gd | 0.500 ± 0.000 | – | 1.0 | 0.250 ± 0.000 | 0.50 | 2 |" in text.splitlines()
    assert "- pce, seed 1: expected a training that ends, got signal 9 in log.txt: <killed>" in text.splitlines()
    assert "signal 9 in log.txt: &lt;killed&gt;" in page and "http" not in page.replace("http-equiv", "")
    done = fake_runs(monkeypatch, [])
    assert compared(study, *WORDS, "--output", tmp_path) == 0 and not done  # a failure is kept
    done = fake_runs(monkeypatch, [SCORES[0], SCORES[2]])
    assert compared(study, *WORDS, "--output", tmp_path, "--retry") == 0 and done == [("pce", 0), ("pce", 1)]
    assert "failed" not in (tmp_path / "comparison.md").read_text()


def test_when_all_fail_the_table_still_comes(study, tmp_path, monkeypatch):
    fake_runs(monkeypatch, [ChildProcessError("no")] * 4)
    assert compared(study, *WORDS, "--output", tmp_path) == 0
    assert "0, 2 failed" in (tmp_path / "comparison.md").read_text()


def test_differences_are_over_patients():
    """Two cases of one patient differ by 0.1 and 0.3, the one of another by 0: means 0.2 and 0, and 0.1 of both."""
    lines = [line("pce", 0, 0.4, [0.2, 0.3, 0.5]), line("gd", 0, 0.5, [0.3, 0.6, 0.5])]
    assert compare.rows_of(lines, "pce", ["a", "a", "b"])[1][1][3] == "+0.100 [+0.000, +0.200]"
    assert compare.rows_of(lines, "pce")[1][1][3].startswith("+0.133")


def test_the_list_comes_first_or_by_its_name(study, planned):
    assert main(["compare", str(study), "--methods", "pce", "--seeds", "0", "--budget", "40it"]) == 0
    assert compared(study, "--methods", "pce", "--seeds", 0, "--iterations", 40) == 0
    assert planned[0] == planned[1]


def test_minutes_become_iterations_by_the_time_of_a_step(study, tmp_path, monkeypatch, planned):
    """A quarter of a second a step makes 48 in 0.2 minutes; two volumes, four patches each, four a batch: 24 epochs."""
    done = fake_runs(monkeypatch, [SCORES[0], ChildProcessError("no")])
    words = ["--methods", "pce", "gd", "--budget", "0.2min", "--output", tmp_path / "out"]
    assert compared(study, *words) == 0
    assert done == [("pce", 0), ("gd", 0)] and not (tmp_path / "out").exists()
    assert [run.options["epochs"] for run in planned] == [24, 2, 24, 2]
    done = fake_runs(monkeypatch, [])
    assert compared(study, *words) == 0 and not done  # the same epochs when it is started again


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
    train = subprocess.Popen

    def killed(command, **more):
        if "pce.json" not in str(command):
            raise KeyboardInterrupt
        return train(command, **more)

    monkeypatch.setattr(subprocess, "Popen", killed)
    with pytest.raises(KeyboardInterrupt):
        compared(study, *words)
    lines = (tmp_path / "out" / "results.jsonl").read_text().splitlines()
    assert [json.loads(line)["method"] for line in lines] == ["pce"]

    monkeypatch.setattr(subprocess, "Popen", train)
    assert compared(study, *words) == 0
    text = (tmp_path / "out" / "comparison.md").read_text()
    default = json.loads((tmp_path / "out/heart/default_length1_seed0/result.json").read_text())
    assert default["method"] == "default" and len(default["cases"]["Dice"]) == 2
    assert "decided_by_edges" in default["last_epoch"] and "decided_by_edges" not in json.loads(lines[0])["last_epoch"]
    (row,) = (line for line in text.splitlines() if line.startswith("| default") and "[" in line)
    assert f"| {default['Dice']['mean']:.3f} |" in row
    assert text in capfd.readouterr().out

    monkeypatch.setattr(subprocess, "Popen", None)
    written = os.stat(tmp_path / "out/heart/pce_length1_seed0/result.json").st_mtime_ns
    assert compared(study, *words) == 0 and (tmp_path / "out" / "comparison.md").read_text() == text
    assert os.stat(tmp_path / "out/heart/pce_length1_seed0/result.json").st_mtime_ns == written
