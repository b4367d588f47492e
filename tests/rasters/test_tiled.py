# SPDX-License-Identifier: Apache-2.0
"""Parts of a scene are parts of its map, whatever lies where there is no image."""

from __future__ import annotations

import logging

import numpy as np
import pytest
import torch
from monai.networks.nets import UNet
from PIL import Image

from medwsss.inferers import MultiScaleInferer, PaddedInferer
from medwsss.keys import UNLABELED
from medwsss.networks import reach_of
from medwsss.rasters import BandStatistics, Georeference, RasterPredictor
from tests.rasters.scenes import rasterio, write_scene

NAMES = ["a", "b", "c"]
STRIDE = 4
SHAPE = (530, 640)


def network(norm="batch"):
    torch.manual_seed(0)
    return UNet(2, 2, 3, [4, 8, 8], [2, 2], num_res_units=1, norm=norm).eval()


def bands(fill=-9999.0):
    """Noise with a hole of 40 pixels, and a corner that the first band alone lacks."""
    values = np.random.default_rng(0).normal(size=(2, *SHAPE)).astype(np.float32)
    values[:, 300:340, 500:540] = fill
    values[0, :20, :20] = fill
    return values


def predicted(scene, output, model=None, **keywords):
    inferer = MultiScaleInferer(inferer=PaddedInferer(STRIDE))
    statistics = (
        {**BandStatistics.of([scene]).to_dict()} if "statistics" not in keywords else keywords.pop("statistics")
    )
    predict = RasterPredictor(
        model or network(), inferer, statistics, NAMES, ["probabilities"], multiple_of=STRIDE, **keywords
    )
    predict([{"image": str(scene), "output": f"{output}_pred.tif", "output_probabilities": f"{output}_p.tif"}])
    with rasterio.open(f"{output}_pred.tif") as classes, rasterio.open(f"{output}_p.tif") as probabilities:
        return classes.read(1), probabilities.read()


def test_tiles_are_the_whole(tmp_path):
    """By a forward pass of the whole scene; with half of what the network looks at, they are not."""
    scene = write_scene(tmp_path / "a.tif", bands(), nodata=-9999)
    statistics = BandStatistics.of([scene])
    with torch.no_grad():
        image = torch.from_numpy(np.where(bands() == -9999, np.nan, bands()))
        whole = PaddedInferer(STRIDE)(statistics.scale(image)[None], network()).softmax(1)[0].numpy()
    classes, probabilities = predicted(scene, tmp_path / "b", core=512)
    void = np.zeros(SHAPE, bool)
    void[300:340, 500:540] = True
    assert (classes[void] == UNLABELED).all() and np.isnan(probabilities[:, void]).all()
    assert np.abs(probabilities - whole)[:, ~void].max() < 1e-5
    assert (classes == probabilities.argmax(0))[~void].all()
    assert Georeference.of(f"{tmp_path}/b_pred.tif") == Georeference.of(scene)
    _, near = predicted(scene, tmp_path / "c", core=512, halo=STRIDE)
    assert np.abs(near - whole)[:, ~void].max() > 1e-5


@pytest.mark.parametrize("fill", [0.0, 1e30, np.nan])
def test_what_lies_in_nodata_changes_nothing(tmp_path, fill):
    first, second = (
        write_scene(tmp_path / f"{n}.tif", bands(value)[:, 280:360, 480:560], nodata=value)
        for n, value in enumerate((-9999.0, fill))
    )
    classes, probabilities = predicted(first, tmp_path / "a")
    again, others = predicted(second, tmp_path / "b")
    np.testing.assert_array_equal(classes, again)
    np.testing.assert_array_equal(probabilities, others)


def test_bands_by_name_or_in_order(tmp_path):
    values = bands()[:, :64, :64]
    scene = write_scene(tmp_path / "a.tif", values, nodata=-9999)
    with rasterio.open(scene, "r+") as raster:
        raster.descriptions = ("red", "nir")
    statistics = BandStatistics.of([scene]).to_dict()
    expected = predicted(scene, tmp_path / "p", statistics=statistics)[1]
    more = write_scene(tmp_path / "b.tif", np.stack([values[1], values[0] * 0, values[0]]), nodata=-9999)
    with rasterio.open(more, "r+") as raster:
        raster.descriptions = ("nir", "green", "red")
    np.testing.assert_array_equal(predicted(more, tmp_path / "q", statistics=statistics)[1], expected)
    plain = write_scene(tmp_path / "c.tif", values, nodata=-9999)
    np.testing.assert_array_equal(predicted(plain, tmp_path / "r", statistics=statistics)[1], expected)


def test_one_bad_file_does_not_stop_the_others(tmp_path):
    scene = write_scene(tmp_path / "a.tif", bands()[:, :64, :64], nodata=-9999)
    other = write_scene(tmp_path / "b.tif", np.zeros((1, 9, 9), np.float32))
    (tmp_path / "c.tif").write_bytes(b"II*\0 no more")
    statistics = BandStatistics.of([scene]).to_dict()
    predict = RasterPredictor(
        network(), MultiScaleInferer(inferer=PaddedInferer(STRIDE)), statistics, NAMES, multiple_of=STRIDE
    )
    images = [tmp_path / "c.tif", other, tmp_path / "d.nii", scene]
    with pytest.raises(ValueError, match="1 predicted, 3 failed") as caught:
        predict([{"image": str(image), "output": f"{image}_pred.tif"} for image in images])
    assert "expected 2 bands (band 1, band 2), as the network was trained with, got 1 (band 1)" in str(caught.value)
    assert all(str(image) in str(caught.value) for image in images[:3])
    assert sorted(p.name for p in tmp_path.glob("*_pred*")) == ["a.tif_pred.tif", "a.tif_pred.tif.aux.xml"]


def test_a_picture_has_the_map_of_the_same_pixels_on_the_earth(tmp_path, caplog):
    pixels = np.random.default_rng(0).integers(0, 256, (3, 40, 50)).astype(np.uint8)
    scene = write_scene(tmp_path / "a.tif", pixels)
    Image.fromarray(pixels.transpose(1, 2, 0)).save(tmp_path / "b.png")
    statistics = BandStatistics.of([tmp_path / "b.png"])
    assert statistics == BandStatistics.of([scene])
    model = UNet(2, 3, 3, [4, 8, 8], [2, 2], norm="batch").eval()
    with caplog.at_level(logging.INFO):
        files = (scene, tmp_path / "b.png")
        maps = [predicted(f, f.with_suffix(""), model, statistics=statistics.to_dict())[0] for f in files]
    np.testing.assert_array_equal(*maps)
    assert [r.message for r in caplog.records if "no reference system" in r.message] == [
        "1 of them say no reference system: their maps lie on their pixels, not on the earth."
    ]
    assert Georeference.of(tmp_path / "b_pred.tif") == Georeference((40, 50))
    with pytest.raises(ValueError, match="expected a reference system for polygons, got none in .*b.png"):
        predicted(files[1], tmp_path / "c", model, statistics=statistics.to_dict(), polygons=True)
    assert not (tmp_path / "c_pred.tif").exists()


def test_options(tmp_path):
    statistics = BandStatistics.of([write_scene(tmp_path / "a.tif", bands()[:, :9, :9])]).to_dict()
    for wrong in ({"core": 500}, {"core": 0}, {"halo": -1}, {"maps": ["entropy"]}):
        with pytest.raises(ValueError, match="expected a (core|halo)"):
            RasterPredictor(network(), PaddedInferer(), statistics, NAMES, multiple_of=STRIDE, **wrong)


def test_reach_of_a_network():
    """Convolutions add up, strides double, and what looks at everything is told of."""
    assert reach_of(torch.nn.Conv2d(2, 1, 7, padding=3), 2) == 3
    assert (
        reach_of(
            torch.nn.Sequential(torch.nn.Conv2d(2, 3, 3, padding=1), torch.nn.Conv2d(3, 1, (1, 9), padding=(0, 4))), 2
        )
        == 5
    )
    assert reach_of(network(), 2, step=STRIDE) < 40
    assert reach_of(network("instance"), 2, step=STRIDE, most=64) is None
    model = network().train()
    assert reach_of(model, 2, step=STRIDE) and model.training
