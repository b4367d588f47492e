# SPDX-License-Identifier: Apache-2.0
"""Predictions in blocks are those of the whole scene, and pseudo-labels may start from them."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from monai.networks.nets import UNet

from medwsss.__main__ import main
from medwsss.blocks import read_plan
from medwsss.keys import UNLABELED
from medwsss.rasters import BandStatistics
from tests.blocks.studies import picture, strokes, write_list
from tests.rasters.scenes import rasterio, write_scene

zarr = pytest.importorskip("zarr")

SHAPE = (70, 62)


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """A scene with a hole, strokes, and a network that has never trained."""
    folder = tmp_path_factory.mktemp("study")
    image = picture(SHAPE, 2)
    image[:, 20:40, 30:45] = -9999
    (folder / "scenes").mkdir()
    scene = write_scene(folder / "scenes" / "a.tif", image, nodata=-9999)
    write_scene(folder / "s.tif", strokes(SHAPE)[None], nodata=UNLABELED)
    write_list(folder, {"image": "scenes/a.tif", "scribble": "s.tif"})
    how = {"spatial_dims": 2, "in_channels": 2, "out_channels": 3, "channels": [4, 8], "strides": [2]}
    how |= {"num_res_units": 1, "norm": "batch"}
    torch.manual_seed(0)
    network = UNet(**how)
    statistics = BandStatistics.of([scene]).to_dict()
    settings = {"num_classes": 3, "class_names": ["a", "b", "c"], "spatial_dims": 2, "in_channels": 2}
    settings |= {"statistics": statistics, "channels": [4, 8], "strides": [2], "multiple_of": 2}
    settings |= {"test_scales": [1.0], "test_flip": False, "network_def": {"_target_": "UNet", **how}}
    (folder / "run").mkdir()
    (folder / "run" / "settings.json").write_text(json.dumps({"bundle": "remote_sensing", "settings": settings}))
    torch.save(network.state_dict(), folder / "run" / "model.pt")
    return folder, image, network.eval(), statistics


def infer(folder, output, *more):
    words = [folder / "run", folder / "scenes", "--output", output, "--core", 16, *more]
    return main(["blocks", "infer", *map(str, words)])


def test_blocks_are_the_whole(study, tmp_path):
    folder, image, network, statistics = study
    assert infer(folder, tmp_path / "out") == 0
    missing = (image == -9999).all(0)
    with torch.no_grad():
        scaled = BandStatistics.from_dict(statistics).scale(torch.from_numpy(np.where(missing, np.nan, image)))
        whole = network(scaled[None]).softmax(1)[0].numpy()
    (case,) = read_plan(tmp_path / "out").cases
    assert len(case.blocks) == 20 and 0 < case.halo[0] < 16
    found = zarr.open_array(tmp_path / "out" / "a.zarr")[:]
    assert found.dtype == np.float32 and (found[:, missing] == 0).all()
    assert np.abs(found - whole)[:, ~missing].max() < 1e-5
    with rasterio.open(tmp_path / "out" / "a_infer.tif") as written:
        assert (written.read(1) == np.where(missing, UNLABELED, found.argmax(0))).all()
    infer(folder, tmp_path / "near", "--halo", 0)
    assert np.abs(zarr.open_array(tmp_path / "near" / "a.zarr")[:] - whole)[:, ~missing].max() > 1e-5


def test_labels_of_probabilities(study, tmp_path, capsys):
    """Where nothing pulls but the predictions, labels are theirs."""
    folder, image, _, _ = study
    words = [
        "--core",
        "32",
        "--start",
        "levels",
        "--levels",
        "0",
        "--steps",
        "30",
        "--lam",
        "0",
        "--eta",
        "1",
        "--output",
    ]
    words = ["blocks", "labels", str(folder / "dataset.json"), "--probabilities", str(tmp_path / "out"), *words]
    infer(folder, tmp_path / "out", "--num-parts", 1, "--plan-only")
    assert main([*words, str(tmp_path / "labels")]) == 1
    assert "expected a finished infer" in capsys.readouterr().err
    infer(folder, tmp_path / "out")
    assert main([*words, str(tmp_path / "labels")]) == 0
    sigma, y = (zarr.open_array(tmp_path / name / "a.zarr")[:].astype(np.float32) for name in ("out", "labels"))
    free = (strokes(SHAPE) == UNLABELED) & (image != -9999).all(0)
    assert (y.argmax(0) == sigma.argmax(0))[free].all()


def test_errors(study, tmp_path, capsys):
    folder, *_ = study
    settings = (folder / "run" / "settings.json").read_text()
    other = tmp_path / "run"
    other.mkdir()
    (other / "settings.json").write_text(settings.replace("remote_sensing", "scribble"))
    assert main(["blocks", "infer", str(other), str(folder), "--output", str(tmp_path / "out")]) == 1
    assert "expected a run of bundles/remote_sensing, got one of scribble" in capsys.readouterr().err
    (tmp_path / "scenes").mkdir()
    write_scene(tmp_path / "scenes" / "b.tif", picture((9, 9), 1))
    words = [str(folder / "run"), str(tmp_path / "scenes"), "--output", str(tmp_path / "out")]
    assert main(["blocks", "infer", *words]) == 1
    assert "expected 2 bands" in (err := capsys.readouterr().err) and "b.tif" in err
    assert infer(folder, tmp_path / "out", "--core", -1) == 1
    assert "a core of at least 1 pixel" in capsys.readouterr().err
