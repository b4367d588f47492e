# SPDX-License-Identifier: Apache-2.0
"""How many steps a plan gives the solver: few where coarse grids find the object, many where they cannot see it."""

from __future__ import annotations

import numpy as np
import pytest

from medwsss.study import read_recipe
from tests.study.study_folder import StudyFolder

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")

SHAPE = (32, 32, 32)


def study_of(folder, inside, stroke):
    """Four noisy volumes with a bright object, strokes in it and on one face of the volume."""
    study = StudyFolder(folder)
    study.content = {"num_classes": 2, "ignore_value": 4, "training": []}
    for i in range(4):
        noise = np.random.default_rng(i).normal(0, 0.01, SHAPE)
        seeds = np.full(SHAPE, 4)
        seeds[:, :, 0], seeds[stroke] = 0, 1
        study.write(f"image{i}.nii.gz", (inside + noise).astype(np.float32), np.eye(4))
        study.write(f"scribble{i}.nii.gz", seeds, np.eye(4))
        study.content["training"].append({"image": f"image{i}.nii.gz", "scribble": f"scribble{i}.nii.gz"})
    return study


def planned(study):
    """``solver_steps`` of the recipe, and how far labels are from settled after 3, 8 and 15 steps."""
    assert study.command()[0] == 0
    recipe = read_recipe(study.folder / "recipe.json")
    *shares, last = recipe.study.settling
    assert last == 0 and shares == sorted(shares, reverse=True)
    assert f"{100 * shares[0]:.2g}, " in recipe.reasons["solver_steps"] and recipe.edited == {}
    return recipe.settings["solver_steps"], shares


def test_a_ball_settles_at_once(tmp_path):
    """Eight cells of the first coarser grid wide."""
    axes = np.meshgrid(*(np.arange(side) - 16 for side in SHAPE), indexing="ij")
    inside = sum(axis**2 for axis in axes) < 8**2
    steps, shares = planned(study_of(tmp_path, inside, np.s_[14:18, 16, 16]))
    assert steps == 3 and shares[0] < 0.05


def test_a_wire_a_voxel_thick_does_not(tmp_path):
    """Cells of coarser grids are mostly what is around it; along the wire a label goes on by a voxel a step."""
    inside = np.zeros(SHAPE, bool)
    inside[:, 16, 16] = True
    steps, shares = planned(study_of(tmp_path, inside, np.s_[:2, 16, 16]))
    assert steps > 3 and shares[0] > 0.2


def test_dense_masks_need_no_steps(tmp_path):
    study = study_of(tmp_path, np.ones(SHAPE, bool), np.s_[:, :, 1:])
    assert study.command("--dense", "--annotation-key", "scribble")[0] == 0
    recipe = read_recipe(study.folder / "recipe.json")
    assert recipe.study.settling is None and "solver_steps" not in recipe.settings
