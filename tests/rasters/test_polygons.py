# SPDX-License-Identifier: Apache-2.0
"""Polygons of a map cover its pixels, and those alone, in its reference system."""

from __future__ import annotations

import numpy as np
import pytest

from medwsss.keys import UNLABELED
from medwsss.rasters import polygonize, polygons, read_features
from tests.rasters.scenes import PLACE, UTM, pyogrio, rasterio, shapely, write_scene

NAMES = ["land", "water"]
PIXEL = 30 * 30


def written(tmp_path, classes, ending="gpkg", minimum_area=0.0, crs=UTM, **profile):
    path = write_scene(tmp_path / "map.tif", classes[None].astype(np.uint8), crs, nodata=UNLABELED, **profile)
    count = polygonize(path, tmp_path / f"map.{ending}", NAMES, minimum_area)
    meta, _, shapes, fields = pyogrio.raw.read(tmp_path / f"map.{ending}")
    assert count == len(shapes) and sorted(p.name for p in tmp_path.iterdir()) == [f"map.{ending}", "map.tif"]
    return meta, shapely.from_wkb(shapes), dict(zip(meta["fields"], fields))


@pytest.mark.parametrize("ending", ["gpkg", "geojson"])
def test_a_lake_with_an_island(tmp_path, ending):
    """5 × 5 pixels of water in 9 × 9 of land, with one of land in the middle; a column without an image."""
    classes = np.zeros((9, 10))
    classes[2:7, 2:7], classes[4, 4], classes[:, 9] = 1, 0, UNLABELED
    meta, shapes, fields = written(tmp_path, classes, ending)
    assert rasterio.crs.CRS.from_user_input(meta["crs"]) == rasterio.crs.CRS.from_user_input(UTM)
    found = {
        (name, round(float(shape.area) / PIXEL, 6), len(shape.interiors))
        for name, shape in zip(fields["class"], shapes)
    }
    assert found == {("land", 81 - 25, 1), ("water", 25 - 1, 1), ("land", 1, 0)}
    lake = shapes[list(fields["class"]).index("water")]
    x, y = PLACE * (2, 2)
    assert lake.exterior.equals(shapely.box(x, y - 150, x + 150, y).exterior)
    # the scale of UTM at 13.0° E, 2° off its meridian: 0.9996 (1 + (cos 52.5° · 2° in radians)² / 2) along each axis
    scale = 0.9996 * (1 + (np.cos(np.radians(52.5)) * np.radians(2)) ** 2 / 2)
    np.testing.assert_allclose(fields["area_m2"], shapely.area(shapes) / scale**2, rtol=2e-4)


def test_areas_are_those_of_the_pixels_of_any_map(tmp_path):
    """Noise has all that can touch at corners; a turned grid."""
    rng = np.random.default_rng(0)
    classes = rng.choice([0, 1, UNLABELED], (40, 50))
    turned = rasterio.Affine(3, 1, 360000, 1, -3, 5820000)
    _, shapes, fields = written(tmp_path, classes, transform=turned)
    assert shapely.is_valid(shapes).all()
    for k in (0, 1):
        assert np.isclose(shapely.area(shapes[fields["value"] == k]).sum() / 10, (classes == k).sum())
    assert np.isclose(shapely.union_all(shapes).area / 10, (classes < UNLABELED).sum())


def test_degrees_have_areas_on_the_ground(tmp_path):
    """A square of 0.001° at 60° N: 111.4 m by 55.8 m."""
    transform = rasterio.Affine(0.001, 0, 10, 0, -0.001, 60)
    _, shapes, fields = written(tmp_path, np.zeros((1, 1)), crs="EPSG:4326", transform=transform)
    np.testing.assert_allclose(fields["area_m2"], [111.4 * 55.8], rtol=2e-3)
    np.testing.assert_allclose(shapely.area(shapes), [1e-6])


def test_small_ones_are_left_out(tmp_path, caplog):
    classes = np.zeros((6, 6))
    classes[1, 1], classes[3:5, 3:5] = 1, 1
    with caplog.at_level("INFO"):
        _, _, fields = written(tmp_path, classes, minimum_area=2 * PIXEL)
    assert fields["class"].tolist().count("water") == 1 and "1 below 1800 m² left out" in caplog.text


def test_a_map_without_an_image_has_an_empty_layer(tmp_path):
    assert not len(written(tmp_path, np.full((3, 3), UNLABELED))[1])


def test_a_layer_of_polygons_is_a_layer_of_strokes(tmp_path):
    """What inference has written is what `data_prep rasters` reads."""
    written(tmp_path, np.eye(4))
    assert sorted(read_features(tmp_path / "map.gpkg", "class").names) == NAMES


def test_what_is_refused(tmp_path, monkeypatch):
    path = write_scene(tmp_path / "a.tif", np.zeros((1, 2, 2), np.uint8), None)
    with pytest.raises(ValueError, match="expected a reference system, got none in .*a.tif"):
        polygonize(path, tmp_path / "a.gpkg", NAMES)
    for wrong in (("a.shp", 0), ("a.gpkg", -1)):
        with pytest.raises(ValueError, match="expected .gpkg or .geojson and an area from 0"):
            polygonize(path, tmp_path / wrong[0], NAMES, wrong[1])
    monkeypatch.setattr(polygons, "has_pyogrio", False)
    with pytest.raises(ImportError, match=r'pip install "medwsss\[rasters\]"'):
        polygonize(path, tmp_path / "a.gpkg", NAMES)
    assert not list(tmp_path.glob("*.gpkg"))
