# SPDX-License-Identifier: Apache-2.0
"""The bundle for scenes: complete, and from a scene and a layer to a map in its place."""

from __future__ import annotations

import json
import logging

import numpy as np
import pytest
import torch
from monai.bundle import ConfigParser, ConfigWorkflow

from data_prep.__main__ import main as data_prep
from medwsss.bundle import infer
from medwsss.keys import UNLABELED
from medwsss.networks.reach import reach_of
from medwsss.rasters import Georeference
from tests.bundles.bundle import REPOSITORY, assert_all_is_there, execute
from tests.rasters.scenes import pixels, pyogrio, rasterio, shapely, write_layer, write_scene

BUNDLE = REPOSITORY / "bundles" / "remote_sensing"
NAMES = sorted(path.stem for path in BUNDLE.glob("*.json"))
TINY = {
    "epochs": 2,
    "warmup_epochs": 1,
    "val_interval": 2,
    "channels": [4, 8],
    "patch_size": [16, 16],
    "samples_per_volume": 2,
    "batch_size": 2,
    "device": "cpu",
    "amp": False,
    "workers": 0,
}


def config(*names):
    return [str(BUNDLE / f"{name}.json") for name in names]


def test_pixels_is_a_network_of_single_pixels():
    parser = ConfigParser(ConfigParser.load_config_files(config("train", "pixels")))
    parser.update({"num_classes": 4, "in_channels": 6})
    network = parser.get_parsed_content("network_def")
    assert reach_of(network, 6, 2, 1) == 0
    assert network.eval()(torch.rand(1, 6, 5, 7)).shape == (1, 4, 5, 7)


def workflow(*names, **overrides):
    return ConfigWorkflow(config(*names), workflow_type="train", logging_file=False, **overrides)


def test_the_bundle_is_complete():
    expected = {"train", "evaluate", "inference", "metadata", "multi_gpu_train", "pce", "gd", "full", "small", "pixels"}
    assert expected == set(NAMES)
    assert (BUNDLE / "LICENSE").read_text() == (REPOSITORY / "LICENSE").read_text()
    links = sorted((BUNDLE / "configs").iterdir())
    assert [link.name for link in links] == sorted([*(f"{name}.json" for name in NAMES), "logging.conf"])
    assert all(link.resolve() == (BUNDLE / link.name).resolve() for link in links)


@pytest.mark.parametrize("name", ["train", "evaluate", "inference"])
def test_what_it_shares_is_there(name):
    assert_all_is_there(config("train", name) if name == "evaluate" else config(name))


def test_training_and_inference_agree():
    train, inference = (json.loads((BUNDLE / f"{name}.json").read_text()) for name in ("train", "inference"))
    for name in ("channels", "multiple_of", "network_def", "test_scales", "test_flip", "spatial_dims"):
        assert train[name] == inference[name]
    assert train["validate"]["whole"] == inference["whole"]
    assert set(train["trained"]) - set(inference) <= {"patch_size"}  # for export


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """A scene of two halves that differ in the second of four bands, with a column without data, and a layer."""
    folder = tmp_path_factory.mktemp("scenes")
    bands = np.random.default_rng(0).normal(1000, 30, (4, 60, 70))
    bands[1, :, 35:] += 500
    bands[:, :, :2] = -1
    scene = write_scene(folder / "in" / "scene.tif", bands.astype(np.int16), nodata=-1)
    boxes = [(c, r) for r in (5, 25, 45) for c in (10, 50)]
    shapes = [shapely.Polygon(pixels((c, r), (c + 5, r), (c + 5, r + 4), (c, r + 4))) for c, r in boxes]
    layer = write_layer(folder / "strokes.gpkg", shapes, ["dark", "bright"] * 3, "EPSG:4326")
    words = [
        "rasters",
        "--images",
        scene,
        "--strokes",
        layer,
        "--class-attribute",
        "class",
        "--classes",
        "dark",
        "bright",
    ]
    more = ["--split", "features", "--folds", "3", "--gap", "2", "--workers", "1", "--output", folder / "study"]
    assert data_prep([str(word) for word in (*words, *more)]) == 0
    return folder / "study", scene


def test_from_a_scene_to_a_map(study, tmp_path, monkeypatch, caplog, capsys):
    """Training, evaluation and inference, each by its command's configuration."""
    folder, scene = study
    monkeypatch.chdir(REPOSITORY)
    options = {"dataset_dir": str(folder), "output_dir": str(tmp_path / "run")}
    execute(workflow("train", **TINY, **options))
    assert "pair weights: median" in capsys.readouterr().out
    settings = json.loads((tmp_path / "run" / "settings.json").read_text())["settings"]
    assert settings["class_names"] == ["dark", "bright"] and len(settings["statistics"]["low"]) == 4

    flow = workflow("train", "evaluate", dataset_dir=str(folder), run_dir=str(tmp_path / "run"), workers=0)
    execute(flow)
    assert (tmp_path / "run" / "evaluation" / "report.html").is_file()

    with caplog.at_level(logging.INFO):
        words = [str(tmp_path / "run"), str(scene.parent), "--output_dir", str(tmp_path / "maps")]
        words += ["--uncertainty", "True", "--polygons", "gpkg"]
        assert infer.main([*words, "--device", "cpu"], "infer") == 0
    path = tmp_path / "maps" / "scene_pred.tif"
    assert Georeference.of(path) == Georeference.of(scene)
    with rasterio.open(path) as raster, rasterio.open(tmp_path / "maps" / "scene_uncertainty.tif") as uncertainty:
        labels, doubt = raster.read(1), uncertainty.read(1)
        assert raster.tags(1)["CLASS_1"] == "bright" and raster.tags(ns="IMAGE_STRUCTURE")["LAYOUT"] == "COG"
    assert (labels[:, :2] == UNLABELED).all() and set(np.unique(labels[:, 2:])) <= {0, 1}
    polygons = shapely.from_wkb(pyogrio.raw.read(tmp_path / "maps" / "scene_polygons.gpkg")[2])
    assert shapely.area(polygons).sum() == (labels < UNLABELED).sum() * 30 * 30
    assert np.isnan(doubt[:, :2]).all() and (doubt[:, 2:] <= 1.00001).all()


def test_a_dead_guide_is_refused_before_training(study, tmp_path, monkeypatch):
    monkeypatch.chdir(REPOSITORY)
    options = {"dataset_dir": str(study[0]), "output_dir": str(tmp_path / "run"), "bandwidth": 1e-3}
    with pytest.raises(Exception) as caught:
        workflow("train", **TINY, **options).initialize()
    assert "expected pairs of pixels that weigh something" in str(caught.value.__cause__ or caught.value)
    assert not (tmp_path / "run" / "model.pt").exists()
