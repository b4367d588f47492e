# SPDX-License-Identifier: Apache-2.0
"""Plans of all kinds of studies are such as the bundles can train with; each value has its reason."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import pytest
from monai.bundle import ConfigParser
from monai.networks.nets import UNet

from medwsss.bundle.limits import check_network
from medwsss.study import check_patch_size, facts_of, plan_training, read_recipe
from medwsss.study.plan.facts import STEPS
from tests.study.plan.studies import PHOTOGRAPHS, VOLUMES, facts
from tests.study.study_folder import three_patients

BUNDLES = Path(__file__).parents[3] / "bundles"
THICK = facts([200.0, 220.0, 9.0], [1.5, 1.5, 10.0], items=104, turned=3)
RASTER = {"range": [0.0, 9400.0], "channels": 12, "mean": [1000.0] * 12, "std": [500.0] * 12}
STUDIES = {
    "thick slices": (THICK, {"spatial_dims": 2, "patch_size": [160, 160], "batch_size": 8, "samples_per_volume": 9}),
    "thick slices in 3-D": (
        replace(THICK, spatial_dims=3),
        {"spatial_dims": 3, "strides": [[2, 2, 1], [2, 2, 1], 2], "patch_size": [72, 80, 8]},
    ),
    "slices of three millimetres": (facts([64.0, 64.0, 28.0], [1.0, 1.0, 2.9]), {"spatial_dims": 3}),
    "one slice": (facts([256.0, 256.0, 1.0]), {"spatial_dims": 2, "patch_size": [160, 160], "samples_per_volume": 7}),
    "512 x 512 x 300": (
        facts([512.0, 512.0, 300.0], [0.8, 0.8, 1.0], hounsfield=True, foreground=[-57.0, 163.0], items=100),
        # half of 16 GiB, by 100 volumes of 78,643,200 voxels of 9 bytes
        {"spatial_dims": 3, "batch_size": 2, "cache_rate": 0.12, "strides": [2, 2, 2]},
    ),
    "36 x 50 x 36": (VOLUMES, {"spatial_dims": 3, "patch_size": [32, 48, 32], "batch_size": 2, "learning_rate": 0.003}),
    "one volume": (facts([384.0, 384.0, 19.0], [0.5, 0.5, 3.0], items=1), {"samples_per_volume": 128, "epochs": 88}),
    "tiny": (facts([6.0, 5.0, 9.0]), {"patch_size": [8, 8, 8], "strides": [2]}),
    "photographs": (
        PHOTOGRAPHS,
        {"patch_size": [240, 176], "scales": [0.375, 0.75], "test_scales": [0.5], "batch_size": 4, "bandwidth": 9.0},
    ),
    "raster": (
        facts([128.0, 128.0], [10.0, 10.0], **RASTER),
        # to 255 of 9,400: (1000, 500) · 0.0271 and of no ImageNet
        {"in_channels": 12, "intensity_range": [0, 9400], "mean": [27.128] * 12, "test_scales": [1.0]},
    ),
    "orthophoto": (facts([4000.0, 5000.0], channels=1), {"test_scales": [1.0], "samples_per_volume": 8}),
}


@pytest.mark.parametrize("study, expected", STUDIES.values(), ids=STUDIES)
def test_a_plan_can_be_trained(study, expected):
    recipe = plan_training(study)
    assert {name: recipe.settings[name] for name in expected} == expected
    assert recipe.reasons.keys() == recipe.settings.keys() and all(recipe.reasons.values())
    bundled = ConfigParser()
    bundled.read_config(str(BUNDLES / recipe.bundle / "train.json"))
    assert set(recipe.settings) <= set(bundled.get())
    assert recipe.bundle != "scribble" or bundled["solver_steps"] == STEPS[-1]  # where labels do not settle sooner
    value = recipe.settings.get
    axes, strides, channels = (
        len(value("patch_size")),
        value("strides", [2, 2, 2]),
        value("channels", [16, 32, 64, 128]),
    )
    check_patch_size(value("patch_size"), axes, channels, strides)
    network = UNet(axes, value("in_channels"), study.num_classes, channels, strides, num_res_units=1)
    check_network(
        network,
        study.items * value("samples_per_volume"),
        value("batch_size"),
        value("in_channels"),
        value("patch_size"),
    )
    assert study.items * value("samples_per_volume") >= 16 * value("batch_size")
    assert value("epochs") % value("val_interval") == 0
    text = str(recipe)
    assert all(name in text and reason in text for name, reason in recipe.reasons.items())


def test_a_window_is_for_measures_alone():
    scale = plan_training(STUDIES["512 x 512 x 300"][0]).settings["scale_intensity"]
    assert (scale["a_min"], scale["a_max"]) == (-60, 170)
    assert "scale_intensity" not in plan_training(VOLUMES).settings


@pytest.mark.parametrize(
    "noise, value", [(None, 0.02), (0.015, 0.02), (0.06, 0.02), (0.09, 0.03), (0.5, 0.04), (0.0, 0.01)]
)
def test_the_bandwidth_follows_noise_out_of_the_common(noise, value):
    assert plan_training(replace(VOLUMES, noise=noise)).settings["bandwidth"] == value


def test_bands_of_other_ranges_keep_the_bandwidth_of_the_bundle():
    assert "bandwidth" not in plan_training(STUDIES["raster"][0]).settings


@pytest.mark.parametrize(
    "settling, steps",
    [(None, None), ([0.05, 0.02, 0.01, 0.0], 3), ([0.06, 0.05, 0.01, 0.0], 8), ([0.2, 0.13, 0.07, 0.0], 30)],
)
def test_steps_are_as_few_as_settle_labels(settling, steps):
    recipe = plan_training(replace(VOLUMES, settling=settling))
    assert recipe.settings.get("solver_steps") == steps
    if settling:
        shares = ", ".join(f"{100 * share:.2g}" for share in settling[:3])
        assert f"in {shares} % of the objects" in recipe.reasons["solver_steps"]


def test_a_gpu_takes_more():
    small, large = (plan_training(replace(THICK, device=device)).settings for device in ("cpu", "cuda"))
    assert math.prod(large["patch_size"]) > math.prod(small["patch_size"]) and large["channels"][0] == 32
    photographs = plan_training(replace(PHOTOGRAPHS, device="cuda"))
    assert photographs.overlays == [] and "patch_size" not in photographs.settings


def test_what_cannot_be_planned():
    with pytest.raises(ValueError, match="2 or 3 axes to plan for, got 2 for 3"):
        plan_training(replace(PHOTOGRAPHS, spatial_dims=3))


def test_a_recipe_comes_back_as_it_was(tmp_path):
    recipe = plan_training(VOLUMES)
    recipe.write(tmp_path / "recipe.json")
    assert read_recipe(tmp_path / "recipe.json") == recipe and recipe.edited == {}


def test_facts_are_those_of_the_files(tmp_path):
    """Axes of 4, 5 and 6 voxels, 10 mm apart along the first in the file, which training has last."""
    study = three_patients(tmp_path, (6, 5, 4))
    found = facts_of(study.check(sections=("training",)).sections["training"])
    assert (found.items, found.channels, found.num_classes, found.axes) == (2, 1, 2, 3)
    assert found.shape == [6, 5, 4] and found.spacing == [1.5, 1.5, 10] and found.turned == 0
    assert found.seeds == [8, 8] and found.labeled == pytest.approx(16 / 240, abs=1e-6)  # along four slices each
    assert json.loads(json.dumps(found.plain())) == found.plain() and type(found).of(found.plain()) == found
