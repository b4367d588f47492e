# SPDX-License-Identifier: Apache-2.0
"""From a folder to a checked study, a trained network and its figures, with no option but the folder."""

from __future__ import annotations

import json
import shutil

import pytest

from data_prep.__main__ import main
from medwsss.study import read_recipe
from tests.bundles.bundle import execute, workflow

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore::UserWarning")]


def test_training_and_evaluation_read_the_recipe(study, tmp_path, caplog):
    """With as few epochs as possible, which is told; slices of 24 x 24 pixels."""
    folder = shutil.copytree(study, tmp_path / "study")
    assert main(["check", str(folder / "dataset.json"), "--spatial-dims", "2"]) == 0
    recipe = read_recipe(folder / "recipe.json")
    where = {"dataset_dir": str(folder), "output_dir": str(tmp_path / "run"), "device": "cpu", "amp": False}
    flow = execute(workflow(**where, epochs=1, samples_per_volume=4, val_interval=1))
    assert "epochs is 1, as the command or an overlay says" in caplog.text
    trained = json.loads((tmp_path / "run" / "settings.json").read_text())["settings"]
    same = {name: recipe.settings[name] for name in trained.keys() & recipe.settings.keys()}
    assert {"spatial_dims", "patch_size", "channels"} <= same.keys() and {name: trained[name] for name in same} == same
    assert flow.parser.get_parsed_content("train#dataloader").batch_size == recipe.settings["batch_size"]
    evaluation = workflow("train", "evaluate", **where)
    evaluation.initialize()  # loads the weights
    assert evaluation.parser.get_parsed_content("validate#inferer").inferer.roi_size == recipe.settings["patch_size"]
