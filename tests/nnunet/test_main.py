# SPDX-License-Identifier: Apache-2.0
"""The command that says where nnU-Net finds the trainer."""

from __future__ import annotations

import importlib.util
from pathlib import Path

from medwsss.__main__ import main
from medwsss.nnunet.settings import VARIABLE


def test_it_prints_the_folder_with_the_trainer(capsys, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: name)
    assert main(["nnunet"]) == 0
    (file,) = Path(capsys.readouterr().out.strip()).glob("[!_]*.py")
    assert "nnUNetTrainerSelfLabeling" in file.read_text()


def test_without_nnunet_it_says_how_to_install_it(capsys, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert main(["nnunet"]) == 1 and 'pip install "medwsss[nnunet]"' in capsys.readouterr().err


def test_settings_that_the_trainer_would_refuse_are_refused_here(capsys, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: name)
    monkeypatch.setenv(VARIABLE, '{"lambda": 3}')
    assert main(["nnunet"]) == 1 and VARIABLE in capsys.readouterr().err
