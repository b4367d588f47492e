# SPDX-License-Identifier: Apache-2.0
"""One drawing in the files of several tools: the same pixels, counted by hand."""

from __future__ import annotations

import json
import random

import numpy as np
import pytest
from PIL import Image

from data_prep.__main__ import main
from medwsss.annotations import read_strokes
from medwsss.keys import UNLABELED
from medwsss.rasters import class_table

pytest.importorskip("shapely")
pytest.importorskip("rasterio")

WIDTH, HEIGHT = 64, 48
CLASSES = class_table(["rest=background", "road"])

#: A line through the middles of row 10, columns 5 to 14, and a block of 6 x 4 pixels at column 30, row 20.
LINE, BLOCK = [[5.5, 10.5], [14.5, 10.5]], [[30, 20], [36, 20], [36, 24], [30, 24]]
REFERENCE = np.full((HEIGHT, WIDTH), UNLABELED)
REFERENCE[10, 5:15], REFERENCE[20:24, 30:36] = 1, 0


def labelme(line=LINE, block=BLOCK, width=WIDTH):
    shapes = [
        {"label": "road", "shape_type": "linestrip", "points": line},
        {"label": "background", "shape_type": "polygon", "points": block},
    ]
    return json.dumps({"version": "5.4.1", "imageWidth": width, "imageHeight": HEIGHT, "shapes": shapes})


def rectangle():
    shapes = [
        {"label": "road", "shape_type": "line", "points": LINE},
        {"label": "background", "shape_type": "rectangle", "points": [BLOCK[2], BLOCK[0]]},
    ]
    return json.dumps({"shapes": shapes, "imageWidth": WIDTH, "imageHeight": HEIGHT})


def cvat(inside=""):
    pairs = [";".join(f"{x},{y}" for x, y in points) for points in (LINE, BLOCK)]
    shapes = f'<polyline label="road" points={pairs[0]!r}/><polygon label="background" points={pairs[1]!r}/>'
    image = f'<image id="0" name="sub/a.png" width={str(WIDTH)!r} height={str(HEIGHT)!r}>{inside or shapes}</image>'
    return f'<?xml version="1.0" encoding="utf-8"?>\n<annotations>{image}<image name="b.png"/></annotations>'


def cvat_masks():
    """The block without its first pixel in one box of 6 x 4, and that pixel in another; runs begin with 0."""
    line = ";".join(f"{x},{y}" for x, y in LINE)
    masks = '<mask label="background" rle="1,23" left="30" top="20" width="6" height="4"/>'
    masks += '<mask label="background" rle="0,1" left="30" top="20" width="1" height="1"/>'
    return cvat(f'<polyline label="road" points={line!r}/>{masks}')


def qupath():
    def feature(name, geometry):
        told = {"objectType": "annotation", "classification": {"name": name, "color": [0, 0, 0]}}
        return {"type": "Feature", "geometry": geometry, "properties": told}

    line = {"type": "LineString", "coordinates": LINE}
    block = {"type": "Polygon", "coordinates": [[*BLOCK, BLOCK[0]]]}
    features = [feature("road", line), feature("background", block)]
    return json.dumps({"type": "FeatureCollection", "features": features})


FILES = {
    "labelme": ("a.json", labelme),
    "rectangle": ("a.json", rectangle),
    "cvat": ("annotations.xml", cvat),
    "masks": ("annotations.xml", cvat_masks),
    "qupath": ("a.geojson", qupath),
}


@pytest.fixture
def image(tmp_path):
    path = tmp_path / "images" / "a.png"
    path.parent.mkdir()
    Image.new("L", (WIDTH, HEIGHT), 9).save(path)
    return path


def written(tmp_path, name, text):
    path = tmp_path / "strokes" / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize("kind", FILES)
def test_every_tool_gives_the_reference(tmp_path, image, kind):
    name, make = FILES[kind]
    drawn = read_strokes(written(tmp_path, name, make()), image, CLASSES)
    assert (drawn.labels[0].T == REFERENCE).all() and (drawn.conflicts, drawn.outside) == (0, 0)


def test_widths_are_pixels(tmp_path, image):
    labels = read_strokes(written(tmp_path, "a.json", labelme()), image, CLASSES, width=3).labels[0].T
    assert (labels[9:12, 5:15] == 1).all() and not (labels[[8, 12]] == 1).any()


@pytest.mark.parametrize(
    "name, text, told",
    [
        ("a.json", labelme(width=63), "expected shapes of an image of 64 x 48 pixels, got 63 x 48"),
        ("a.json", labelme(line=[["x", 1]]), "expected shapes, got ValueError"),
        ("a.json", labelme(block=BLOCK[:2]), "expected corners of a polygon, got 2"),
        ("a.json", labelme().replace("linestrip", "mask"), "expected points, lines, polygons, rectangles and circles"),
        ("a.json", labelme().replace("10.5", "NaN"), "expected places in numbers"),
        ("a.json", labelme().replace("road", "sky"), "expected classes of background, road, got sky"),
        ("a.json", '{"shapes": []}', "expected shapes, got none"),
        ("a.json", "[1]", "expected the shapes of LabelMe"),
        ("a.geojson", qupath().replace("classification", "x"), "expected a classification of each annotation"),
        ("a.xml", cvat().replace("sub/a.png", "c.png"), "expected one image a.png, got 0 among c.png, b.png"),
        ("a.xml", cvat_masks().replace("1,23", "1,24"), "expected runs of 24 pixels, got 25"),
        ("a.xml", cvat_masks().replace('width="6"', 'width="600000"'), "expected a mask within the image"),
        ("a.xml", '<!DOCTYPE a [<!ENTITY b "c">]><annotations/>', "expected XML without a document type"),
    ],
)
def test_what_cannot_be_used_names_the_file(tmp_path, image, name, text, told):
    path = written(tmp_path, name, text)
    with pytest.raises(ValueError) as caught:
        read_strokes(path, image, CLASSES)
    assert told in str(caught.value) and str(path) in str(caught.value)


@pytest.mark.parametrize("kind", FILES)
def test_mutants_end_in_an_error_that_names_the_file(tmp_path, image, kind):
    name, make = FILES[kind]
    data, draw = make().encode(), random.Random(0)
    path = written(tmp_path, name, "")
    for _ in range(100):
        mutant = bytearray(data)
        for _ in range(draw.randint(1, 8)):
            mutant[draw.randrange(len(mutant))] = draw.randrange(256)
        path.write_bytes(mutant[: draw.randrange(len(mutant))] if draw.random() < 0.3 else mutant)
        try:
            read_strokes(path, image, CLASSES)
        except ValueError as error:
            assert name in str(error)


def test_the_command(tmp_path, image, capsys):
    Image.new("L", (9, 9)).save(image.with_name("without.png"))
    written(tmp_path, "a.json", labelme())
    words = ["strokes", "--images", image.parent, "--strokes", tmp_path / "strokes", "--output", tmp_path / "out"]
    assert main([str(word) for word in (*words, "--classes", "rest=background", "road")]) == 0
    assert "1 scribbles; 1 images have no strokes" in capsys.readouterr().out
    assert (np.asarray(Image.open(tmp_path / "out" / "a.png")) == REFERENCE).all()
    assert main([str(word) for word in (*words, "--classes", "road")]) == 1
    assert "expected classes of road, got background" in capsys.readouterr().err


def test_points_and_circles(tmp_path, image):
    shapes = [
        {"label": "road", "shape_type": "point", "points": [[3.2, 4.9]]},
        {"label": "background", "shape_type": "circle", "points": [[40, 20], [40, 30]]},
    ]
    labels = read_strokes(written(tmp_path, "a.json", json.dumps({"shapes": shapes})), image, CLASSES).labels[0].T
    assert labels[4, 3] == 1 and (labels == 1).sum() == 1
    assert (labels == 0).sum() == pytest.approx(np.pi * 100, rel=0.03)
