# SPDX-License-Identifier: Apache-2.0
"""Scenes with a layer become a study in which nothing has moved, and what validates is apart from what trains."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image

from data_prep.__main__ import main
from data_prep.formats.folds import balanced_folds, held_apart
from medwsss.keys import UNLABELED, VOID
from medwsss.rasters import BandStatistics, Georeference
from medwsss.study import check_study, label_mapper
from medwsss.study.readers.parts import read_window
from tests.rasters.scenes import pixels, pyogrio, rasterio, shapely, write_layer, write_scene

NODATA = -1


def box(left, top, right, bottom):
    return shapely.Polygon(pixels((left, top), (right, top), (right, bottom), (left, bottom)))


@pytest.fixture
def scene(tmp_path):
    """120 × 100 pixels, two bands that say where they are, nothing in the first five columns."""
    rows, columns = np.mgrid[:120, :100]
    bands = np.stack([rows, columns]).astype(np.int16)
    bands[:, :, :5] = NODATA
    path = write_scene(tmp_path / "in" / "scene.tif", bands, nodata=NODATA)
    with rasterio.open(path, "r+") as raster:
        raster.descriptions = ("red", "nir")
    return path


@pytest.fixture
def layer(tmp_path):
    """Boxes of 10 pixels a side, of two classes in turn, in degrees; three are half in nodata."""
    shapes = [box(c, r, c + 10, r + 10) for r in (0, 50, 110) for c in (0, 40, 90)]
    classes = [("field", "wood")[k % 2] for k in range(len(shapes))]
    return write_layer(tmp_path / "layer" / "strokes.gpkg", shapes, classes, "EPSG:4326")


def convert(scene, layer, output, *more):
    words = ["rasters", "--images", scene, "--strokes", layer, "--output", output, "--workers", 1]
    known = () if "--class-attribute" in more or layer.suffix == ".tif" else ("--class-attribute", "class")
    return main([str(word) for word in (*words, *known, *more)])


@pytest.fixture(autouse=True)
def folder(tmp_path):
    (tmp_path / "layer").mkdir()


def items_of(study, section):
    content = json.loads((study / "dataset.json").read_text())
    return [(study / item["image"], study / item["scribble"]) for item in content[section]]


def test_blocks(scene, layer, tmp_path, capsys):
    assert convert(scene, layer, tmp_path / "study", "--chip", "50", "--gap", "8", "--folds", "3") == 0
    assert ", 150 labelled pixels where there is no image" in capsys.readouterr().out  # half of three boxes
    whole = np.full((120, 100), UNLABELED)
    validating = np.zeros(whole.shape, bool)
    for section in ("training", "validation"):
        for image, scribble in items_of(tmp_path / "study", section):
            place = Georeference.of(image)
            assert place.same_grid(Georeference.of(scribble))
            with rasterio.open(image) as raster, rasterio.open(scribble) as labels:
                assert raster.descriptions == ("red", "nir") and raster.nodata == NODATA
                bands, drawn = raster.read(), labels.read(1)
            exists = bands[0] != NODATA
            assert (drawn[~exists] == VOID).all()
            rows, columns = bands[:, exists]  # which say where the pixels were in the scene
            column, row = Georeference.of(scene).pixels(place.places([[0.5, 0.5]]))[0] - 0.5
            assert rows.min() == round(row) and (columns.min() == round(column) or column < 5)
            whole[rows, columns] = drawn[exists]
            validating[rows, columns] = section == "validation"
    expected = np.full(whole.shape, UNLABELED)
    for k, (r, c) in enumerate((r, c) for r in (0, 50, 110) for c in (0, 40, 90)):
        expected[r : r + 10, c : c + 10] = k % 2
    expected[:, :5] = UNLABELED
    lost = (whole != expected) & ~validating
    assert (whole[validating] == expected[validating]).all() and (whole[lost] == UNLABELED).all()
    trains, validates = np.argwhere(whole < VOID), np.argwhere(validating)
    distance = np.abs(trains[:, None] - validates).max(2).min(1)
    assert distance[~validating[tuple(trains.T)]].min() > 8


def test_features(scene, layer, tmp_path, capsys):
    study = tmp_path / "study"
    assert convert(scene, layer, study, "--split", "features", "--folds", "2", "--gap", "3", "--chip", "500") == 0
    ((image, trains),), ((again, validates),) = (items_of(study, s) for s in ("training", "validation"))
    with rasterio.open(trains) as a, rasterio.open(validates) as b:
        trains, validates = a.read(1), b.read(1)
    assert ((trains < VOID) & (validates < VOID)).sum() == 0 and (validates < VOID).sum() > 0
    assert (trains < VOID).sum() + (validates < VOID).sum() == 9 * 100 - 150  # far enough apart for no gap
    report = check_study(study / "dataset.json", label_mapper(study / "dataset.json"))
    assert report.errors == []
    assert any("validation shows the images of training, at labels 3 pixels or more" in w for w in report.warnings)


def test_the_data_list_says_what_bands_hold(scene, layer, tmp_path):
    convert(scene, layer, tmp_path / "study", "--bands", "nir", "--fold", "0")
    content = json.loads((tmp_path / "study" / "dataset.json").read_text())
    assert content["bands"] == BandStatistics.of([scene], [2]).to_dict()
    assert content["in_channels"] == 1 and content["labels"] == {"0": "field", "1": "wood"}
    assert content["validation"] == [] and "split" not in content


def test_masks_and_alpha_come_along(layer, tmp_path):
    bands = np.full((3, 120, 100), 50, np.uint8)
    bands[2, :, :20] = 0  # alpha
    scene = write_scene(tmp_path / "in" / "a.tif", bands)
    with rasterio.open(scene, "r+") as raster:
        kinds = rasterio.enums.ColorInterp
        raster.colorinterp = (kinds.gray, kinds.undefined, kinds.alpha)
    assert convert(scene, layer, tmp_path / "study", "--fold", "0", "--chip", "200") == 0
    ((image, scribble),) = items_of(tmp_path / "study", "training")
    assert np.isnan(read_window(image, (0, 120), (0, 100))).sum() == 2 * 120 * 20
    with rasterio.open(scribble) as raster:
        assert (raster.read(1)[:, :20] == VOID).all() and raster.read(1)[:, 20:].min() < VOID


def test_label_rasters(scene, tmp_path):
    labels = np.zeros((1, 120, 100), np.uint8)
    labels[0, 10:20, 30:40], labels[0, 60:70, 30:40] = 1, 2
    painted = write_scene(tmp_path / "layer" / "painted.tif", labels)
    assert convert(scene, painted, tmp_path / "study", "--classes", "a=1", "b=2", "--fold", "0", "--chip", "200") == 0
    ((_, scribble),) = items_of(tmp_path / "study", "training")
    with rasterio.open(scribble) as raster:
        drawn = raster.read(1)[:, 5:]
    assert (drawn == np.where(labels[0] == 0, UNLABELED, labels[0] - 1)[:, 5:]).all()


@pytest.fixture
def photo(tmp_path):
    """120 × 100 pixels in colour."""
    path = tmp_path / "in" / "photo.png"
    path.parent.mkdir()
    pixels = np.random.default_rng(0).integers(0, 256, (120, 100, 3)).astype(np.uint8)
    Image.fromarray(pixels).save(path)
    return path


def drawn_in(study):
    ((image, scribble),) = items_of(study, "training")
    assert Georeference.of(image).same_grid(Georeference.of(scribble))
    with rasterio.open(image) as bands, rasterio.open(scribble) as labels:
        return bands.read(), labels.read(1), Georeference.of(image)


BOXES = np.full((120, 100), UNLABELED)
BOXES[10:20, 30:40], BOXES[60:70, 30:40] = 0, 1


@pytest.mark.parametrize("upwards", [1, -1], ids=["rows downwards", "rows below 0"])
def test_strokes_on_the_pixels_of_a_picture(photo, tmp_path, upwards, capsys):
    """In whatever reference system a GIS has given to them: beyond what degrees allow."""
    boxes = [shapely.box(30, upwards * top, 40, upwards * (top + 10)) for top in (10, 60)]
    layer = tmp_path / "layer" / "strokes.gpkg"
    pyogrio.raw.write(
        layer,
        shapely.to_wkb(boxes),
        [np.array(["a", "b"], object)],
        ["class"],
        crs="EPSG:4326",
        geometry_type="Polygon",
    )
    assert convert(photo, layer, tmp_path / "study", "--fold", "0", "--chip", "200") == 0
    assert "has no place on the earth: strokes are taken to be drawn on its pixels" in capsys.readouterr().out
    bands, labels, place = drawn_in(tmp_path / "study")
    assert (labels == BOXES).all() and (bands == np.asarray(Image.open(photo)).transpose(2, 0, 1)).all()
    assert not place.placed


def test_a_picture_with_a_world_file_lies_on_the_earth(photo, tmp_path):
    photo.with_suffix(".pgw").write_text("30\n0\n0\n-30\n360015\n5819985\n")  # the place of `pixels`
    boxes = [box(30, top, 40, top + 10) for top in (10, 60)]
    layer = write_layer(tmp_path / "layer" / "strokes.gpkg", boxes, ["a", "b"])
    assert convert(photo, layer, tmp_path / "study", "--fold", "0", "--chip", "200") == 0
    _, labels, place = drawn_in(tmp_path / "study")
    assert (labels == BOXES).all() and place.transform == (30, 0, 360000, 0, -30, 5820000)


def test_one_layer_cannot_be_drawn_on_several_pictures(photo, layer, tmp_path, capsys):
    Image.open(photo).save(photo.with_name("other.jpg"))
    assert convert(photo.parent, layer, tmp_path / "study") == 1
    told = capsys.readouterr().err
    assert "got 2 of 2 that don't" in told and "python -m data_prep strokes" in told
    assert not (tmp_path / "study").exists()


def test_what_cannot_work_is_told_before_anything_is_written(scene, layer, tmp_path, capsys):
    far = write_layer(tmp_path / "layer" / "far.gpkg", [box(5000, 0, 5010, 10)], ["field"], "EPSG:4326")
    lost = write_layer(tmp_path / "layer" / "lost.gpkg", [box(0, 0, 4, 9), box(50, 50, 60, 60)], ["a", "b"])
    other = write_scene(tmp_path / "more" / "b.tif", np.zeros((1, 9, 9), np.int16))
    write_scene(tmp_path / "more" / "a.tif", np.zeros((2, 9, 9), np.int16))
    coarse = write_scene(
        tmp_path / "sizes" / "b.tif", np.zeros((2, 9, 9), np.int16), transform=rasterio.Affine.scale(60)
    )
    write_scene(tmp_path / "sizes" / "a.tif", np.zeros((2, 9, 9), np.int16), transform=rasterio.Affine.scale(30))
    for arguments, told in (
        ((scene, far), "expected strokes in the images, got all of"),
        ((scene, lost), "expected pixels of every class, got none of a"),
        ((other.parent, layer), "expected 2 bands as in"),
        ((coarse.parent, layer), "expected pixels of 29.9 x 29.9 m on the ground"),
        ((scene, layer, "--bands", "green"), "name (red, nir), got green of"),
        ((scene, layer, "--bands", "3"), "expected bands by number, 1 to 2"),
        ((scene, layer, "--gap", "500", "--chip", "50"), "expected labels for training, got none"),
        ((scene, layer, "--fold", "9"), "expected --chip from 1, --folds from 2, --fold from 0"),
        ((tmp_path / "none", layer), "expected a GeoTIFF or a picture, or a folder with some"),
    ):
        assert convert(arguments[0], arguments[1], tmp_path / "study", *arguments[2:]) == 1
        assert told in capsys.readouterr().err
    assert not (tmp_path / "study").exists()


def test_folds_share_every_class():
    counts = np.array([[8, 0], [0, 1], [0, 1], [9, 0], [0, 1], [7, 0]])
    folds = balanced_folds(counts, 3, seed=1)
    assert sorted(folds[counts[:, 0] > 0]) == [0, 1, 2] == sorted(folds[counts[:, 1] > 0])
    assert (folds == balanced_folds(counts, 3, seed=1)).all()


def test_a_gap_around_what_validates():
    labels, held = np.zeros((9, 9)), np.zeros((9, 9), bool)
    held[4, 4] = True
    trains, validates = held_apart(labels, held, 2)
    assert (trains == UNLABELED).sum() == 25 and (validates == 0).sum() == 1
