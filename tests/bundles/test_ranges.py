# SPDX-License-Identifier: Apache-2.0
"""Images of another range or kind than a bundle takes end a run before work starts, with the override that helps."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from PIL import Image

from medwsss.bundle.command_line import cause_of
from tests.bundles.photographs import TINY, workflow

pytestmark = pytest.mark.filterwarnings("ignore:training starts from random weights")


@pytest.fixture
def study(tmp_path):
    """Three pictures of three channels, from 0 to 1, as rasters."""
    rasterio = pytest.importorskip("rasterio")
    rng, items = np.random.default_rng(0), []
    place = rasterio.transform.from_origin(5e5, 5e6, 10, 10)
    for index in range(3):
        size = {"count": 3, "height": 24, "width": 32, "dtype": "float32", "transform": place}
        with rasterio.open(tmp_path / f"image{index}.tif", "w", "GTiff", **size) as raster:
            raster.write((0.05 + 0.9 * rng.random((3, 24, 32))).astype("float32"))
        label = rng.integers(0, 2, (24, 32)).astype(np.uint8)
        Image.fromarray(np.where(label * rng.random(label.shape) > 0.8, label, 255).astype(np.uint8)).save(
            tmp_path / f"scribble{index}.png"
        )
        Image.fromarray(label).save(tmp_path / f"label{index}.png")
        items.append(
            {key: f"{key}{index}.{'tif' if key == 'image' else 'png'}" for key in ("image", "scribble", "label")}
        )
    (tmp_path / "dataset.json").write_text(json.dumps({"training": items[:2], "validation": items[2:]}))
    return tmp_path


def cause(flow):
    with pytest.raises(RuntimeError) as error:
        flow.initialize()
    return str(cause_of(error.value))


@pytest.mark.filterwarnings("ignore:expected seeds of every class")
def test_refused_by_training_and_evaluation_unless_declared(study, tmp_path):
    weights = tmp_path / "model.pt"  # which an evaluation looks at before images
    where = {**TINY, "dataset_dir": str(study), "output_dir": str(tmp_path / "out"), "model_file": str(weights)}
    network = workflow("train", "small", **where).parser.get_parsed_content("network_def")
    torch.save(network.state_dict(), weights)
    for names in (("train", "small"), ("train", "small", "evaluate")):
        told = cause(workflow(*names, **where))
        assert told.startswith("expected intensities of about 0 to 255") and "--intensity_range '[0.0" in told
    four = {"in_channels": 4, "mean": [0] * 4, "std": [1] * 4}
    assert "images of 4 channels, got 3: --in_channels 3" in cause(workflow("train", "small", **four, **where))
    assert "they take --in_channels 3" in cause(workflow("train", "small", "evaluate", **four, **where))
    workflow("train", "small", intensity_range=[0, 1], **where).initialize()
