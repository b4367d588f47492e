# SPDX-License-Identifier: Apache-2.0
"""Statistics of what exists, worked by hand, and scale and guide that depend on nothing else."""

from __future__ import annotations

import json

import numpy as np
import pytest
import rasterio
import torch
from monai.data import MetaTensor

from medwsss.rasters import BandStatistics, GuideBandsd, ScaleBandsd, read_bands
from medwsss.rasters.bands import band_numbers
from tests.rasters.scenes import write_scene

RAMP = np.arange(101, dtype=np.float32)  # percentiles 2 and 98 are 2 and 98


def scene(tmp_path, *bands, name="a.tif", **profile):
    return write_scene(tmp_path / name, np.stack(bands)[:, None].astype(np.float32), **profile)


def test_percentiles_are_those_of_what_exists(tmp_path):
    holes = np.concatenate([RAMP, np.full(99, -9999)])
    path = scene(tmp_path, holes, np.full(200, -9999), np.full(200, 7), nodata=-9999)
    statistics = BandStatistics.of([path])
    assert statistics.low == [2, 0, 7] and statistics.high == [98, 0, 7]
    assert statistics.valid == [101 / 200, 0, 1]
    assert statistics.names == ["band 1", "band 2", "band 3"] and statistics.dead == ["band 2", "band 3"]


@pytest.mark.parametrize("fill", [0, -9999, 1e30, np.nan])
def test_what_fills_nodata_changes_nothing(tmp_path, fill):
    values = np.where(np.arange(101) % 3, RAMP, np.float32(fill))
    other = np.where(np.arange(101) % 3, RAMP, np.float32(-5))
    first, second = (
        BandStatistics.of([scene(tmp_path, each, name=f"{n}.tif", nodata=nodata)]).to_dict()
        for n, (each, nodata) in enumerate(((values, fill), (other, -5)))
    )
    assert first == second


def test_a_nodata_value_that_the_file_has_not_got(tmp_path):
    path = scene(tmp_path, np.concatenate([RAMP, np.zeros(50) - 1]))
    assert BandStatistics.of([path], nodata=-1).low == [2]
    assert BandStatistics.of([path]).low == [-1]


def test_chosen_bands(tmp_path):
    path = scene(tmp_path, RAMP, RAMP * 10, RAMP * 100)
    assert BandStatistics.of([path], bands=[3, 1]).high == [9800, 98]


def test_bands_of_one_name_are_told_apart_by_number(tmp_path):
    path = scene(tmp_path, RAMP, RAMP + 1, RAMP + 2)
    with rasterio.open(path, "r+") as raster:
        raster.descriptions = ("reflectance", "height", "reflectance")
    statistics = BandStatistics.of([path])
    assert statistics.names == ["band 1", "height", "band 3"] and statistics.low == [2, 3, 4]
    assert band_numbers(path, statistics.names) == (1, 2, 3)


def test_large_rasters_are_looked_at_in_places(tmp_path):
    rows, columns = np.mgrid[:600, :700]
    path = write_scene(tmp_path / "a.tif", (rows + columns)[None].astype(np.uint16), tiled=True)
    statistics = BandStatistics.of([path])
    exact = np.percentile(rows + columns, [2, 98])
    assert np.allclose([statistics.low[0], statistics.high[0]], exact, atol=0.05 * 1298) and statistics.valid == [1.0]


def test_rasters_of_other_bands(tmp_path):
    paths = [scene(tmp_path, RAMP), scene(tmp_path, RAMP, RAMP, name="b.tif")]
    with pytest.raises(ValueError, match="expected rasters of equal bands, got 1 in .*a.tif, 2 in .*b.tif"):
        BandStatistics.of(paths)


def test_scaled_by_hand(tmp_path):
    statistics = BandStatistics.of([scene(tmp_path, RAMP, np.full(101, 3.0))]).to_dict()
    image = MetaTensor(torch.tensor([[2.0, 50.0, 98.0, torch.nan, 1e9], [3.0, 4.0, 5.0, 3.0, 3.0]]))
    image.meta["void"] = "mask"
    scaled = ScaleBandsd("image", statistics)({"image": image})["image"]
    # (x − 2) / 96, cut at 2; the mean of a ramp is its middle; a dead band is its mean
    assert scaled[0].tolist() == pytest.approx([0.0, 0.5, 1.0, 0.5, 2.0])
    assert scaled[1].unique().numel() == 1 and "void" not in scaled.meta


def test_undeclared_nan_and_other_bands_are_refused(tmp_path):
    scale = ScaleBandsd("image", BandStatistics.of([scene(tmp_path, RAMP)]).to_dict())
    with pytest.raises(ValueError, match="expected finite intensities"):
        scale({"image": MetaTensor(torch.tensor([[torch.nan, 1.0]]))})
    with pytest.raises(ValueError, match="expected 1 bands, as the statistics have, got 2"):
        scale({"image": MetaTensor(torch.zeros(2, 3))})


def test_components_keep_contrasts_of_bands_that_vary_together(tmp_path):
    """Of four bands on one line, the first component has all of the variance: distances are those of the bands."""
    mirrored = RAMP[::-1]
    statistics = BandStatistics.of([scene(tmp_path, RAMP, RAMP, RAMP, mirrored)]).to_dict()
    weights = np.array(statistics["components"][0])
    assert np.allclose(np.abs(weights), 0.5, atol=1e-5) and weights[3] * weights[0] < 0
    scaled = torch.tensor([[0.0, 1.0], [0.0, 1.0], [0.0, 1.0], [1.0, 0.0]])
    guide = GuideBandsd(statistics=statistics)({"image": scaled})["guide"]
    assert guide.shape == (3, 2)
    assert (guide[:, 0] - guide[:, 1]).norm().item() == pytest.approx(2.0, abs=1e-5)  # sqrt(4 · 1²)


def test_guides_of_few_or_chosen_bands(tmp_path):
    statistics = BandStatistics.of([scene(tmp_path, RAMP, RAMP, RAMP[::-1])]).to_dict()
    image = torch.rand(3, 5)
    for how, bands in (("auto", [0, 1, 2]), ([3, "band 1"], [2, 0])):
        assert torch.equal(GuideBandsd(statistics=statistics, how=how)({"image": image})["guide"], image[bands])
    with pytest.raises(ValueError, match="expected a band of band 1, band 2, band 3 or a number from 1 to 3, got 0"):
        GuideBandsd(statistics=statistics, how=[0])


def test_of_a_list(tmp_path):
    path = scene(tmp_path, RAMP)
    (tmp_path / "b.json").write_text(json.dumps({"training": [{"image": path.name}]}))
    told = read_bands(tmp_path / "b.json")
    assert told == BandStatistics.of([path]).to_dict()
    (tmp_path / "c.json").write_text(json.dumps({"bands": told}))
    assert read_bands(tmp_path / "c.json") == told
    for wrong in ({"low": [1]}, 7, [1], told | {"low": [1, 2]}):
        (tmp_path / "d.json").write_text(json.dumps({"bands": wrong}))
        with pytest.raises(ValueError, match="d.json"):
            read_bands(tmp_path / "d.json")
