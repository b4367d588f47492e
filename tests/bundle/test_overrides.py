# SPDX-License-Identifier: Apache-2.0
"""A mistyped override is refused with the name that was probably meant."""

from __future__ import annotations

import json

import fire
import pytest
from monai.bundle import ConfigParser, update_kwargs

from medwsss.bundle.overrides import check_override_names, take_names
from tests.toy_training import Typed

BUNDLE = "/somewhere/site-packages/monai/bundle/__main__.py"


@pytest.fixture
def configs(tmp_path):
    train, overlay = tmp_path / "train.json", tmp_path / "overlay.json"
    train.write_text(json.dumps({"epochs": 1, "batch_size": 2, "net": {"channels": 1}, "broken": "$1/0"}))
    overlay.write_text(json.dumps({"sigma": 3, "net#channels": 2}))
    (tmp_path / "args.json").write_text(json.dumps({"config_file": str(train), "epochs": 7}))
    (tmp_path / "bad_args.json").write_text(json.dumps({"config_file": str(train), "epoch": 7}))
    return {"train": str(train), "overlay": str(overlay), "folder": str(tmp_path)}


@pytest.mark.parametrize(
    "command",
    [
        "run training --config_file {train} --epochs 3",
        "run training --config_file={train} --epochs=3 --batch-size 4",
        "run --run_id training --config_file ['{train}','{overlay}'] --sigma 1 --epochs 2",
        "run training --config_file {train},{overlay} --sigma 1",
        "run training --config_file {train} --net#channels 3 --net::chanels 3",
        "run training --config_file {train} --meta_file m --logging_file False --workflow_type train",
        "run training --config_file {train} --tracking mlflow --experiment_name x",
        "run training --args_file {folder}/args.json --batch_size 3",
        "run training --epoch 3",  # no config: MONAI's business
        "ckpt_export --epoch 3 --config_file {train}",
    ],
)
def test_accepted(command, configs):
    check_override_names([BUNDLE, *command.format(**configs).split(" ")])


@pytest.mark.parametrize(
    "command, told",
    [
        ("run training --config_file {train} --epoch 3", "unknown override --epoch, did you mean --epochs?"),
        ("run training --config_file={train} --epoch=3", "unknown override --epoch, did you mean --epochs?"),
        ("run training --epoch 3 --config_file ['{train}','{overlay}']", "--epoch, did you mean --epochs?"),
        ("run training --config_file {train} --batchsize 3", "--batchsize, did you mean --batch_size?"),
        ("run training --config_file {train} --sigma 3", "unknown override --sigma"),  # only in the overlay
        ("run training --config_file {train} --experiment_name x", "unknown override --experiment_name"),
        ("run training --config_files {train} --config_file {train}", "--config_files, did you mean --config_file?"),
        ("run training --args_file {folder}/bad_args.json", "--epoch, did you mean --epochs?"),
        ("run training --config_file {train} --batch_size None", "--batch_size None, which MONAI drops: write '$None'"),
        ("run training --config_file {train} --net#channels=None", "--net#channels None, which MONAI drops"),
        ("run training --config_file {train} --epoch 3 --sgma 1", "--epoch, did you mean --epochs?; unknown"),
    ],
)
def test_refused(command, told, configs):
    with pytest.raises(ValueError, match="expected overrides") as error:
        check_override_names([BUNDLE, *command.format(**configs).split(" ")])
    assert told in str(error.value)


@pytest.mark.parametrize("argv", [["train.py", "run", "--epoch", "3"], ["pytest"], [""], [BUNDLE]])
def test_other_commands_are_left_alone(argv):
    check_override_names(argv)


CONFIG = {
    "dataset_dir": "data",
    "output_dir": None,
    "datalist": "$@dataset_dir + '/dataset.json'",
    "initialize": ["$take()", "$print(@datalist)"],
}


def named(**values):
    """``dataset_dir`` and ``datalist`` once names have been taken, and what else a caller in Python gives."""
    parser = ConfigParser({**CONFIG, **values}, globals={"take": lambda: take_names("dataset_dir", "output_dir", "no")})
    parser.get_parsed_content("initialize#0")
    return parser.get_parsed_content("dataset_dir"), parser.get_parsed_content("datalist")


def typed(monkeypatch, *words):
    """The same of a command."""
    monkeypatch.setattr("sys.argv", [BUNDLE, "run", "training", *words])
    options = fire.Fire(lambda *_, **options: options, command=list(words), serialize=lambda _: None)
    return named(**update_kwargs(**options))  # as MONAI's run does


NAMES = ["20240501", "2024_05", "1e3", "0x10", "007", "-5", "None", "True", "[v1]", "{a}", "(a)", "a,b", "out#1"]
NAMES += [
    "...",
    "a b",
    "a ",
    " a",
    "a-b",
    "b'x'",
    "a:b",
    "1.50",
    "nan",
    "~a",
    "./@x",
    "data/$x",
    "ü",
    "a'b",
    "/a/run #2",
    "$x",
    "$",
    "@x",
    "@",
]


def test_nothing_is_no_name(monkeypatch):
    """``$None`` is how MONAI is told of nothing, and other than ``$x`` it is no folder's name."""
    monkeypatch.setattr("sys.argv", [BUNDLE, "run", "training", "--output_dir", "$None"])
    parser = ConfigParser({**CONFIG, "output_dir": "$None"}, globals={"take": lambda: take_names("output_dir")})
    parser.get_parsed_content("initialize#0")
    assert parser.get_parsed_content("output_dir") is None


@pytest.mark.parametrize("name", NAMES)
def test_names_are_names(monkeypatch, name):
    assert typed(monkeypatch, "--dataset_dir=" + name) == (name, f"{name}/dataset.json")
    if not name.startswith("-"):  # Fire takes that for an option
        assert typed(monkeypatch, "--dataset-dir", name)[0] == name


@pytest.mark.parametrize("name", ["", " "])
def test_an_empty_name_is_refused(monkeypatch, name):
    """``/model.pt`` would be written at the root."""
    with pytest.raises(RuntimeError) as error:
        typed(monkeypatch, f"--dataset_dir={name}")
    assert f"expected a name for --dataset_dir, got {name!r}" in str(error.value.__cause__)


@pytest.mark.parametrize(
    "word, expected",
    [
        ("'20240501'", "20240501"),  # quoted for Fire, as one had to
        ("$'a' + str(@epochs)", "a7"),
        ("@other", "there"),
    ],
)
def test_the_language_of_configurations_still_works(monkeypatch, word, expected):
    monkeypatch.setitem(CONFIG, "epochs", 7)
    monkeypatch.setitem(CONFIG, "other", "there")
    assert typed(monkeypatch, "--dataset_dir", word)[0] == expected


def test_nothing_stays_nothing_where_it_is_the_default(monkeypatch):
    monkeypatch.setitem(CONFIG, "dataset_dir", None)
    monkeypatch.setitem(CONFIG, "datalist", None)
    assert typed(monkeypatch, "--dataset_dir", "None") == (None, None)


def test_names_from_python_and_from_files(tmp_path):
    assert named(dataset_dir=tmp_path)[1] == f"{tmp_path}/dataset.json"
    assert named(dataset_dir=20240501)[1] == "20240501/dataset.json"
    with pytest.raises(RuntimeError) as error:
        named(dataset_dir=1e3)
    assert str(error.value.__cause__) == "expected text for dataset_dir, got 1000.0: put it in quotes"


@pytest.mark.slow
def test_in_the_real_command(tmp_path):
    config = {
        "epochs": 1,
        "imports": ["$from medwsss.bundle.overrides import check_override_names"],
        "initialize": ["$check_override_names()"],
        "training": ["$print('epochs', @epochs)"],
    }
    (tmp_path / "train.json").write_text(json.dumps(config))
    command = ["monai.bundle", "run", "training", "--config_file", str(tmp_path / "train.json")]
    good, bad = Typed([*command, "--epochs", "3"]), Typed([*command, "--epoch", "3"])
    printed, _ = good.communicate()
    assert good.returncode == 0 and "epochs 3" in printed
    _, errors = bad.communicate()
    assert bad.returncode == 1 and "unknown override --epoch, did you mean --epochs?" in errors
