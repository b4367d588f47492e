# SPDX-License-Identifier: Apache-2.0
"""Which pixels features are: counted by hand, and the same from every format and reference system."""

from __future__ import annotations

import json
import random

import numpy as np
import pytest

from medwsss.keys import UNLABELED
from medwsss.rasters import Georeference, burn, class_table, read_features, widen
from tests.rasters.scenes import PLACE, UTM, pixels, rasterio, shapely, write_layer, write_scene

SHAPE = (40, 50)
GRID = Georeference(SHAPE, tuple(PLACE[:6]), rasterio.crs.CRS.from_string(UTM).to_wkt())
WATER, LAND = 0, 1
FORMATS = [".gpkg", ".geojson", ".shp", ".fgb"]


def box(left, top, right, bottom):
    return shapely.Polygon(pixels((left, top), (right, top), (right, bottom), (left, bottom)))


def burnt(path, width=0.0, **keywords):
    features = read_features(path, "class", class_table(["water", "land"]), **keywords)
    return burn(widen(features, GRID, width), GRID)


def counts(labels):
    return [int((labels == k).sum()) for k in (WATER, LAND)]


@pytest.mark.parametrize("suffix", FORMATS)
@pytest.mark.parametrize("crs", [UTM, "EPSG:4326", "EPSG:3857", "EPSG:32632"])
def test_every_format_and_system_burns_the_same_pixels(tmp_path, suffix, crs):
    if suffix == ".geojson" and crs not in (UTM, "EPSG:4326"):
        pytest.skip("a GeoJSON is in degrees or names its system, which two are enough for")
    shapes = [box(3, 4, 13, 9), box(20, 20, 27, 39)]
    expected = np.full(SHAPE, UNLABELED)
    expected[4:9, 3:13], expected[20:39, 20:27] = WATER, LAND
    labels = burnt(write_layer(tmp_path / f"a{suffix}", shapes, ["water", "land"], crs)).labels
    assert (labels == expected).all()  # no border runs through the middle of a pixel


def test_a_polygon_a_pixel_gives_the_raster_back(tmp_path):
    rng = np.random.default_rng(0)
    expected = rng.integers(0, 2, (6, 7))
    shapes = [box(c, r, c + 1, r + 1) for r in range(6) for c in range(7)]
    classes = [("water", "land")[expected[r, c]] for r in range(6) for c in range(7)]
    found = burnt(write_layer(tmp_path / "a.gpkg", shapes, classes, "EPSG:4326"))
    assert (found.labels[:6, :7] == expected).all() and found.conflicts == 0


@pytest.mark.parametrize("at", [(7.5, 9.5), (7.01, 9.99), (7.0, 9.0)])
def test_a_point_is_one_pixel(tmp_path, at):
    labels = burnt(write_layer(tmp_path / "a.gpkg", [shapely.Point(pixels(at))], ["land"])).labels
    assert counts(labels) == [0, 1] and labels[9, 7] == LAND


@pytest.mark.parametrize("width, least, most", [(0, 20, 20), (10, 20, 20), (30, 20, 40), (90, 60, 72)])
def test_a_line_is_never_thinner_than_its_pixels(tmp_path, width, least, most):
    """Twenty columns, two rows down in all: one pixel a column; 90 m are three pixels a column and round ends."""
    line = shapely.LineString(pixels((5.5, 10.2), (24.5, 11.9)))
    labels = burnt(write_layer(tmp_path / "a.gpkg", [line], ["land"]), width).labels
    assert least <= counts(labels)[1] <= most
    assert (labels[:, 5:25] == LAND).any(0).all()


def test_widths_are_metres_on_the_ground(tmp_path):
    """At 60 degrees north a Mercator metre is half of one, and a degree of longitude half of one of latitude."""
    for crs in ("EPSG:3857", "EPSG:4326"):
        (x,), (y,) = rasterio.warp.transform("EPSG:4326", crs, [15.0], [60.0])
        (x1,), (y1,) = rasterio.warp.transform("EPSG:4326", crs, [15.0 + 20 / 55800], [60.0 + 10 / 111412])
        step = (x1 - x) / 20, (y1 - y) / 10  # a metre to the east, a metre to the north
        transform = (step[0], 0.0, x - 50 * step[0], 0.0, -step[1], y + 50 * step[1])
        place = Georeference((100, 100), transform, rasterio.crs.CRS.from_string(crs).to_wkt())
        point = write_layer(tmp_path / f"{crs[5:]}.gpkg", [shapely.Point(0, 0)], ["land"])
        features = read_features(point, "class")
        features = type(features)(
            np.array([shapely.Point(x, y)], object), *list(vars(features).values())[1:3], place.crs, ["land"]
        )
        area = int((burn(widen(features, place, 40), place).labels != UNLABELED).sum())
        assert area == pytest.approx(np.pi * 20**2, rel=0.02)


def test_what_is_smaller_than_a_pixel_is_not_lost(tmp_path):
    tiny = [box(5.1, 5.1, 5.3, 5.3), box(8.6, 8.1, 8.9, 14.9)]  # neither holds the middle of a pixel
    labels = burnt(write_layer(tmp_path / "a.gpkg", tiny, ["water", "land"])).labels
    assert counts(labels) == [1, 1] and labels[5, 5] == WATER and (labels[8:15, 8] == LAND).any()


def test_conflicts_are_unlabelled_and_counted(tmp_path):
    shapes = [box(0, 0, 10, 10), box(5, 5, 12, 12), box(2, 2, 4, 4)]
    found = burnt(write_layer(tmp_path / "a.gpkg", shapes, ["water", "land", "water"]))
    assert found.conflicts == 25 and counts(found.labels) == [75, 24]
    assert (found.labels[5:10, 5:10] == UNLABELED).all()


def test_three_classes_that_meet_are_one_conflict(tmp_path):
    path = write_layer(tmp_path / "a.gpkg", [box(0, 0, 2, 2)] * 3, ["a", "b", "c"])
    found = burn(read_features(path, "class"), GRID)
    assert found.conflicts == 4 and (found.labels == UNLABELED).all()


def test_outside_and_empty_are_counted(tmp_path):
    shapes = [box(0, 0, 3, 3), box(-90, -90, -80, -80), shapely.MultiPoint(pixels((1, 1), (900, 1))), None]
    path = write_layer(tmp_path / "a.gpkg", shapes, ["water"] * 4)
    features = read_features(path, "class")
    assert features.empty == 1 and burn(features, GRID).inside.tolist() == [0, 2]


def test_collections_bow_ties_and_heights(tmp_path):
    tie = shapely.Polygon(pixels((0, 0), (10, 10), (10, 0), (0, 10)))
    mixed = shapely.GeometryCollection([shapely.Point(pixels((20.5, 20.5))), box(30, 30, 32, 32)])
    high = shapely.force_3d(box(40, 0, 42, 2), 5.0)
    features = read_features(write_layer(tmp_path / "a.gpkg", [tie, mixed, high], ["water", "land", "land"]), "class")
    labels = burn(features, GRID).labels
    land, water = counts(labels)  # sorted: land is 0
    assert water in range(45, 56)  # two triangles of 25, whose borders run through middles
    assert land == 4 + 4 + 1


def test_label_rasters_are_layers(tmp_path):
    labels = np.zeros((1, *SHAPE), np.uint8)
    labels[0, :3, :4], labels[0, 3:6, 4:6], labels[0, 30, 30] = 2, 2, 7
    path = write_scene(tmp_path / "a.tif", labels)
    features = read_features(path, classes=class_table(["land=7", "water=2"]))
    assert len(np.unique(features.numbers)) == 2  # the two areas meet at a corner
    found = burn(features, GRID).labels
    assert (found == np.where(labels[0] == 2, 1, np.where(labels[0] == 7, 0, UNLABELED))).all()


def refused(*arguments, **keywords):
    with pytest.raises(ValueError) as caught:
        read_features(*arguments, **keywords)
    return str(caught.value)


def test_what_cannot_be_used_is_told(tmp_path):
    path = write_layer(tmp_path / "a.gpkg", [box(0, 0, 1, 1)], ["water"])
    assert "expected classes of land, got water" in refused(path, "class", {"land": "land"})
    assert "a field of class, got kind" in refused(path, "kind")
    assert "expected a layer of strokes, got roads" in refused(path, "class", layer="roads")
    write_layer(path, [box(0, 0, 1, 1)], ["land"], layer="more")
    assert "expected --layer, one of strokes, more" in refused(path, "class")
    assert read_features(path, "class", layer="more").names == ["land"]
    assert "expected a readable layer, got" in refused(tmp_path / "none.gpkg", "class")
    (tmp_path / "b.geojson").write_text("<OGRVRTDataSource/>")
    assert "expected the content that the name tells" in refused(tmp_path / "b.geojson", "class")
    assert "expected a layer of .gpkg" in refused(tmp_path / "b.kml", "class")
    empty = write_layer(tmp_path / "c.gpkg", [None], ["water"])
    assert "expected points, lines or polygons, got none" in refused(empty, "class")
    lacking = write_layer(tmp_path / "d.gpkg", [box(0, 0, 1, 1)], [None])
    assert "expected a class (class) of each feature, got none of [0]" in refused(lacking, "class")
    assert "expected a reference system, got 'EPSG:0'" in refused(
        shapefile_without_place(tmp_path), "class", crs="EPSG:0"
    )


def shapefile_without_place(tmp_path):
    path = write_layer(tmp_path / "lost.shp", [box(0, 0, 2, 2)], ["water"])
    path.with_suffix(".prj").unlink(missing_ok=True)
    return path


def test_a_shapefile_without_its_place(tmp_path):
    path = shapefile_without_place(tmp_path)
    assert "expected a layer that says its reference system" in refused(path, "class")
    assert counts(burnt(path, crs=UTM).labels) == [4, 0]


def test_a_geojson_in_metres_that_does_not_say_so(tmp_path):
    path = write_layer(tmp_path / "a.geojson", [box(0, 0, 2, 2)], ["water"])
    content = json.loads(path.read_text())
    assert counts(burnt(path).labels) == [4, 0]  # GDAL has written its old member crs
    del content["crs"]
    path.write_text(json.dumps(content))
    assert "expected longitudes and latitudes, got x from 360000 to 360060" in refused(path, "class")


def test_class_tables():
    assert class_table(["a", "b=2", "c=x=y"]) == {"a": "a", "2": "b", "y": "c=x"}
    for wrong in (["a", "a"], ["a=1", "b=1"], ["a="]):
        with pytest.raises(ValueError, match="expected classes as NAME or NAME=VALUE"):
            class_table(wrong)


@pytest.mark.parametrize("suffix", FORMATS)
def test_damaged_layers_end_in_an_error_that_names_the_file(tmp_path, suffix):
    path = write_layer(tmp_path / f"a{suffix}", [box(0, 0, 1, 1), box(2, 2, 5, 5)], ["water", "land"], "EPSG:4326")
    data, draw = path.read_bytes(), random.Random(0)
    for _ in range(60):
        mutant = bytearray(data)
        for _ in range(draw.randint(1, 20)):
            mutant[draw.randrange(len(mutant))] = draw.randrange(256)
        path.write_bytes(mutant[: draw.randrange(1, len(mutant))] if draw.random() < 0.3 else mutant)
        try:
            read_features(path, "class")
        except ValueError as error:
            assert path.name in str(error)
