# SPDX-License-Identifier: Apache-2.0
"""An uncaught error of a bundle run ends with the message that helps."""

from __future__ import annotations

import sys

import pytest

from medwsss.bundle.command_line import is_bundle_run, show_cause_last

BUNDLE = "/somewhere/site-packages/monai/bundle/__main__.py"


@pytest.fixture
def hook(monkeypatch):
    monkeypatch.setattr(sys, "argv", [BUNDLE, "run", "training"])
    monkeypatch.setattr(sys, "excepthook", sys.__excepthook__)
    show_cause_last()
    return sys.excepthook


def printed(hook, capsys, error):
    hook(type(error), error, None)
    return capsys.readouterr().err.rstrip().split("\n")


def chain(*errors):
    """Each the cause of the one before."""
    for error, cause in zip(errors, errors[1:]):
        error.__cause__ = cause
    return errors[0]


def test_the_cause_comes_last(hook, capsys):
    error = chain(RuntimeError("Failed to evaluate"), RuntimeError("Failed to instantiate"), ValueError("expected x"))
    lines = printed(hook, capsys, error)
    assert lines[-2:] == ["", "ValueError: expected x"]
    assert lines.count("RuntimeError: Failed to evaluate") == 1  # the report of Python itself stays


def test_what_our_error_was_made_from_is_not_it(hook, capsys):
    error = chain(RuntimeError("Failed to evaluate"), ValueError("expected a list, got a.json"), OSError("number 2"))
    assert printed(hook, capsys, error)[-1] == "ValueError: expected a list, got a.json"


def test_a_plain_error_is_told_once(hook, capsys):
    assert printed(hook, capsys, ValueError("expected x")) == ["ValueError: expected x"]


@pytest.mark.parametrize("argv", [["train.py", "run"], ["pytest"], [""], [BUNDLE], [BUNDLE, "ckpt_export"]])
def test_other_programs_keep_their_hook(argv, monkeypatch):
    assert not is_bundle_run(argv)
    monkeypatch.setattr(sys, "argv", argv)
    before = sys.excepthook
    show_cause_last()
    assert sys.excepthook is before
