# SPDX-License-Identifier: Apache-2.0
"""Maps in the place of their scene, as GDAL reads them back."""

from __future__ import annotations

import re

import numpy as np
import pytest

from medwsss.keys import UNLABELED
from medwsss.rasters import Georeference, RasterWriter
from tests.rasters.scenes import rasterio, write_scene

NAMES = ["land", "water <deep>"]


def labels_of(shape):
    labels = np.zeros((1, *shape), np.uint8)
    labels[:, : shape[0] // 2], labels[:, :, :7] = 1, UNLABELED
    return labels


def written(path, scene, labels, step=512):
    with RasterWriter(path, scene, NAMES) as writer:
        for row in range(0, labels.shape[1], step):
            for column in range(0, labels.shape[2], step):
                writer.write(labels[:, row : row + step, column : column + step], row, column)
    return path


def test_a_map_of_classes(tmp_path):
    scene = write_scene(tmp_path / "scene.tif", np.zeros((2, 700, 900), np.uint16))
    labels = labels_of((700, 900))
    path = written(tmp_path / "maps" / "a.tif", scene, labels)
    assert Georeference.of(path) == Georeference.of(scene)
    with rasterio.open(path) as raster:
        assert (raster.read() == labels).all() and raster.nodata == UNLABELED and raster.dtypes == ("uint8",)
        assert raster.colorinterp[0].name == "palette" and raster.colormap(1)[1] != raster.colormap(1)[0]
        assert raster.tags(ns="IMAGE_STRUCTURE")["LAYOUT"] == "COG" and raster.overviews(1) == [2]
        assert raster.tags(1)["CLASS_1"] == NAMES[1]
        # overviews are of the most frequent class: no class between two
        small = raster.read(1, out_shape=(350, 450))
        assert set(np.unique(small)) == {0, 1, UNLABELED}
        rasterio.shutil.copy(raster, tmp_path / "a.vrt", driver="VRT")  # GDAL's own text of what it has read
    assert re.findall("<Category>(.*?)</Category>", (tmp_path / "a.vrt").read_text()) == ["land", "water &lt;deep&gt;"]
    assert sorted(p.name for p in path.parent.iterdir()) == ["a.tif", "a.tif.aux.xml"]


def test_a_map_of_numbers(tmp_path):
    scene = write_scene(tmp_path / "scene.tif", np.zeros((1, 5, 6), np.uint8))
    values = np.linspace(0, 1, 60, dtype=np.float32).reshape(2, 5, 6)
    values[:, 0, 0] = np.nan
    with RasterWriter(tmp_path / "a.tif", scene, bands=NAMES) as writer:
        writer.write(values, 0, 0)
    with rasterio.open(tmp_path / "a.tif") as raster:
        np.testing.assert_array_equal(raster.read(), values)
        assert np.isnan(raster.nodata) and raster.descriptions == tuple(NAMES)
    assert not (tmp_path / "a.tif.aux.xml").exists()


def test_what_is_not_written_is_nodata(tmp_path):
    scene = write_scene(tmp_path / "scene.tif", np.zeros((1, 600, 600), np.uint8))
    with RasterWriter(tmp_path / "a.tif", scene, NAMES) as writer:
        writer.write(np.ones((1, 10, 10), np.uint8), 0, 0)
    with rasterio.open(tmp_path / "a.tif") as raster:
        assert (raster.read(1) == 1).sum() == 100 and (raster.read(1) == UNLABELED).sum() == 600**2 - 100


def test_an_error_leaves_what_was_there(tmp_path):
    scene = write_scene(tmp_path / "scene.tif", np.zeros((1, 5, 6), np.uint8))
    path = written(tmp_path / "maps" / "a.tif", scene, labels_of((5, 6)))
    before = path.read_bytes()
    with pytest.raises(KeyError):
        with RasterWriter(path, scene, NAMES) as writer:
            writer.write(np.ones((1, 5, 6), np.uint8), 0, 0)
            raise KeyError
    assert path.read_bytes() == before and len(list(path.parent.iterdir())) == 2


def test_control_points_and_turned_scenes(tmp_path):
    turned = rasterio.Affine(0.5, 0.2, 100, 0.2, -0.5, 900)
    scene = write_scene(tmp_path / "scene.tif", np.zeros((1, 5, 6), np.uint8), transform=turned)
    assert Georeference.of(written(tmp_path / "a.tif", scene, labels_of((5, 6)))).affine == turned
    points = [
        rasterio.control.GroundControlPoint(r, c, 10.0 + c, 50.0 - r) for r, c in ((0, 0), (0, 5), (4, 0), (4, 5))
    ]
    with rasterio.open(scene, "r+") as raster:
        raster.gcps = (points, rasterio.crs.CRS.from_epsg(4326))
    with rasterio.open(written(tmp_path / "b.tif", scene, labels_of((5, 6)))) as raster:
        assert [(p.row, p.col, p.x, p.y) for p in raster.gcps[0]] == [(p.row, p.col, p.x, p.y) for p in points]


def test_too_many_classes(tmp_path):
    with pytest.raises(ValueError, match="expected at most 255 classes, got 256"):
        RasterWriter(tmp_path / "a.tif", tmp_path / "b.tif", ["x"] * 256)
