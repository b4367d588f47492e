# SPDX-License-Identifier: Apache-2.0
"""Where pixels lie: worked places, and lengths on the ground in any reference system."""

from __future__ import annotations

import numpy as np
import pytest

from medwsss.rasters import Georeference
from medwsss.rasters.georeference import reproject
from tests.rasters.scenes import PLACE, UTM, write_scene

ZEROS = np.zeros((1, 6, 8), np.uint8)


def test_of_a_file(tmp_path):
    place = Georeference.of(write_scene(tmp_path / "a.tif", ZEROS))
    assert place.shape == (6, 8) and place.transform == (30.0, 0.0, 360000.0, 0.0, -30.0, 5820000.0)
    assert place.bounds == (360000.0, 5819820.0, 360240.0, 5820000.0)  # 8 and 6 pixels of 30 m
    assert not place.in_degrees
    # a UTM zone's scale is 0.9996 in its middle and 1.0000 at 180 km from there; 360000 is 140 km from 500000
    assert place.pixel == pytest.approx((30.0, 30.0), rel=4e-4)


def test_degrees_have_a_size_on_the_ground(tmp_path):
    step = 1 / 3600
    transform = type(PLACE)(step, 0, 13.0, 0, -step, 60.0)
    place = Georeference.of(write_scene(tmp_path / "a.tif", ZEROS, "EPSG:4326", transform))
    assert place.in_degrees
    # a second of latitude is 30.95 m at 60 degrees (WGS 84: 111.412 km a degree), one of longitude half of 30.92 + e²
    assert place.pixel == pytest.approx((55.800e3 / 3600, 111.412e3 / 3600), rel=2e-3)


def test_without_a_place(tmp_path):
    place = Georeference.of(write_scene(tmp_path / "a.tif", ZEROS, None, type(PLACE)(2, 0, 0, 0, 3, 0)))
    assert place.crs is None and place.metric() is None and place.pixel == (2.0, 3.0)


def test_a_window_of_a_turned_raster():
    turned = Georeference((9, 9), (0.0, 2.0, 10.0, 3.0, 0.0, 20.0))
    part = turned.window(row=4, column=5, shape=(2, 3))
    assert part.shape == (2, 3)
    assert part.places([[0, 0]]).tolist() == turned.places([[5, 4]]).tolist() == [[18.0, 35.0]]
    assert turned.pixels([[18.0, 35.0]]).tolist() == [[5.0, 4.0]]


def test_grids_are_compared_pixel_by_pixel(tmp_path):
    place = Georeference.of(write_scene(tmp_path / "a.tif", ZEROS))
    a, b, c, d, e, f = place.transform
    for transform, same in (((a, b, c + 1e-3, d, e, f), True), ((a, b, c + 3, d, e, f), False)):
        assert place.same_grid(Georeference(place.shape, transform, place.crs)) is same
    assert place.same_grid(Georeference.of(write_scene(tmp_path / "b.tif", ZEROS, UTM)))
    assert not place.same_grid(Georeference.of(write_scene(tmp_path / "c.tif", ZEROS, "EPSG:32632")))
    assert not place.same_grid(Georeference(place.shape, place.transform))
    assert not place.same_grid(place.window(0, 0, (6, 7)))


def test_longitude_comes_first():
    ((x, y),) = reproject([[13.0, 52.5]], "EPSG:4326", "EPSG:4258")  # which defines latitude first
    assert (x, y) == pytest.approx((13.0, 52.5))


def test_places_that_a_system_cannot_show():
    with pytest.raises(ValueError, match="expected places that EPSG:3857 can show"):
        reproject([[0.0, float("inf")]], "EPSG:4326", "EPSG:3857")
