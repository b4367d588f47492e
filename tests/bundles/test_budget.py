# SPDX-License-Identifier: Apache-2.0
"""``--minutes``: epochs are what a step's time allows, by a clock on which every look takes a second."""

from __future__ import annotations

import json
import logging
from itertools import count
from types import SimpleNamespace

import pytest

from medwsss.bundle.budget import fit_epochs, shared_out
from medwsss.bundle.command_line import cause_of
from tests.bundles.bundle import TINY, execute, workflow

assert fit_epochs  # which the configuration names
pytestmark = [pytest.mark.filterwarnings("ignore::UserWarning"), pytest.mark.usefixtures("without_pictures")]


@pytest.mark.parametrize(
    ("seconds", "step", "validation", "longest", "expected"),
    [
        (600, 0.5, 0, 1000, (12, 100, 12)),  # nothing to validate
        (600, 0.5, 0, 10, (120, 10, 120)),  # an epoch shows each patch once, at most
        (600, 0.5, 60, 1000, (12, 80, 6)),  # two validations are a fifth of the time; 960 steps
        (600, 0.5, 400, 1000, (12, 33, 12)),  # there is always one; 400 steps
    ],
)
def test_time_is_shared_out(seconds, step, validation, longest, expected):
    epochs, length, interval = shared_out(seconds, step, validation, longest)
    assert (epochs, length, interval) == expected
    validations = -(-epochs // interval) if validation else 0
    assert epochs * length * step + validations * validation == pytest.approx(seconds, rel=0.1)


def test_hardly_any_time():
    with pytest.raises(ValueError, match="expected minutes for 12 steps at least, got 20 s for steps of 2 s"):
        shared_out(20, 2.0, 1.0, 100)


@pytest.fixture
def places(study, tmp_path, monkeypatch):
    ticks = count(100)
    clock = SimpleNamespace(monotonic=lambda: float(next(ticks)))
    for module in ("bundle.budget", "handlers.time_budget"):
        monkeypatch.setattr(f"medwsss.{module}.time", clock)
    options = {name: value for name, value in TINY.items() if name not in ("epochs", "val_interval")}
    return {**options, "dataset_dir": str(study), "output_dir": str(tmp_path), "started": 100.0}


@pytest.mark.slow
def test_training_in_minutes(places, tmp_path, caplog):
    """A step is looked at four times, so it takes three seconds, of which the solve, one of them, is not in warm-up.
    An epoch is looked at fewer times, so that there are more of them in the end."""
    flow = workflow(**places, minutes=1.5)
    flow.initialize()
    value = flow.parser.get_parsed_content
    first = json.loads((tmp_path / "budget.json").read_text())
    assert value("epochs") == first["epochs"] >= 12 and value("epoch_length") == first["epoch_length"] <= 3
    assert value("lr_scheduler").total_iters == first["epochs"] * first["epoch_length"]
    assert first["step"] == pytest.approx(3 - 1 / 40)  # TINY's one epoch of warm-up, of the bundle's forty
    flow.run()
    flow.finalize()
    after = json.loads((tmp_path / "budget.json").read_text())
    trainer = value("train#trainer")
    assert trainer.state.epoch == trainer.state.max_epochs == after["epochs"] > first["epochs"]
    assert abs(after["spent"] - 90) < 9 and value("optimizer").param_groups[0]["lr"] == 0
    with caplog.at_level(logging.INFO):
        again = execute(workflow(**places, minutes=1.5))  # it is finished
    assert again.parser.get_parsed_content("epochs") == after["epochs"]
    assert "minutes were spent already" in caplog.text and "Already finished" in caplog.text


@pytest.mark.parametrize(
    ("argv", "options", "told"),
    [
        (["--minutes", "2", "--epochs", "3"], {"epochs": 3}, "expected --minutes or --epochs, got both"),
        ([], {"labels": "volume"}, "expected --epochs with --labels volume"),
        ([], {"minutes": -1}, "expected --minutes of numbers above 0, got -1"),
    ],
    ids=["epochs", "volumes", "negative"],
)
def test_what_does_not_go_with_minutes(places, monkeypatch, argv, options, told):
    monkeypatch.setattr("sys.argv", ["monai/bundle/__main__.py", "run", "training", *argv])
    with pytest.raises(RuntimeError) as error:
        workflow(**places | {"minutes": 2} | options).initialize()
    assert told in str(cause_of(error.value))
