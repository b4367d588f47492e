# SPDX-License-Identifier: Apache-2.0
"""The default against all else: commands as they were recorded, and those of a study on photographs."""

from __future__ import annotations

import json
import shlex
from argparse import Namespace
from pathlib import Path

import pytest

from medwsss.experiments import robustness
from medwsss.experiments.grid import Setting
from medwsss.experiments.runs import overrides
from medwsss.reports.results import read_lines
from tests.bundles.bundle import REPOSITORY

LATER = {"normalization": "means", "trust": "everywhere"}  #: than most recorded commands, in which they were so


def arguments(*words, data="", iterations=None):
    return Namespace(iterations=iterations, held_out=0.1, output=Path("out"), threads=1, data=data, overrides=words)


def test_the_default_is_written_out(photographs, monkeypatch):
    options = {"bundle": "scribble_2d", "options": {"num_classes": 2}, "grey_levels": 255, "paper": {"bandwidth": 9.0}}
    monkeypatch.setitem(robustness.ROWS, "study", robustness.Row(str(photographs.parent), ["small"], 6, **options))
    given = arguments("--lam", "3")
    pce, default, paper = (
        robustness.configured(Setting("study", method, 7), given).words(given) for method in ("pce", "default", "paper")
    )
    files = [f"bundles/scribble_2d/{name}.json" for name in ("train", "small", "pce")]
    assert shlex.join(pce) == (
        f"-m monai.bundle run training --config_file {shlex.quote(str(files))} "
        f"--output_dir out/study/pce_length1_seed7 --dataset_dir {photographs.parent} "
        "--num_classes 2 --held_out_share 0.1 --epochs 6 --seed 7 --lam 3"
    )
    train_json = json.loads((REPOSITORY / "bundles/scribble/train.json").read_text())
    values = dict(zip(default[4::2], default[5::2]))
    assert values["--bandwidth"] == str(255 * train_json["bandwidth"])
    assert values["--warmup_epochs"] == "1"  # a quarter of 6, rounded down
    assert default[default.index("--eta") + 1] == str(train_json["eta"])
    assert "'bundles/scribble/paper.json'" in paper[5] and paper[paper.index("--bandwidth") + 1] == "9.0"
    assert default[-4:] == ["--seed", "7", "--lam", "3"]  # the last one counts


@pytest.mark.parametrize(("name", "iterations"), [("robustness", None), ("sensitivity", 300)])
def test_recorded_commands_are_made_again(shared_data, name, iterations, monkeypatch):
    """Every run on ACDC's own list that the documents show figures of."""
    monkeypatch.chdir(REPOSITORY)
    recorded = [line for line in read_lines(Path(f"bundles/scribble/docs/{name}.jsonl")) if "acdc_" in line["study"]]
    assert len(recorded) >= 10
    for line in recorded:
        facts = (line[name] for name in ("study", "method", "seed", "length", "knob", "factor"))
        given = arguments(data="../shared/data", iterations=iterations)
        made = overrides(robustness.configured(Setting(*facts), given).words(given)[4:])
        before = overrides(line["command"][4:])
        # recorded runs lay in folders of their day, and in the same places within
        assert Path(before.pop("output_dir")).parts[-2:] == Path(made.pop("output_dir")).parts[-2:]
        if line["method"] == "default":
            before = LATER | before
            if name == "sensitivity":  # of the default of its day
                made |= {"eta": made["eta"] / 4}
        assert made == before
    assert {line["command"][3] for line in recorded} == {"training"}


def test_settings_of_the_three_studies():
    given = {"seeds": [0, 1], "rows": ["hippocampus"], "methods": ["pce", "full"]}
    table = list(robustness.settings(Namespace(**given, lengths=False, sensitivity=False)))
    assert [(s.method, s.seed, s.length) for s in table] == [(m, s, 0.3) for s in (0, 1) for m in ("pce", "full")]
    lengths = list(robustness.settings(Namespace(**given, lengths=True, sensitivity=False)))
    assert [s.length for s in lengths] == 2 * [0.0, 0.3, 0.5, 1.0, 0.3]
    knobs = list(robustness.settings(Namespace(**given, lengths=False, sensitivity=True)))
    assert len(knobs) == 2 * (1 + 6 * 2) and len({s.folder for s in knobs}) == len(knobs)
