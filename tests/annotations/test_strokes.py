# SPDX-License-Identifier: Apache-2.0
"""One drawing in the files of all tools: the same pixels, counted by hand."""

from __future__ import annotations

import json
from multiprocessing import get_all_start_methods

import nibabel as nib
import numpy as np
import pytest
from PIL import Image

from data_prep.__main__ import main
from medwsss.annotations import Absent, read_strokes
from medwsss.keys import UNLABELED
from medwsss.rasters import class_table
from tests.annotations import drawings
from tests.annotations.drawings import (
    AFFINE,
    BACKGROUND,
    BLOCK,
    DRAWINGS,
    HEIGHT,
    LINE,
    REFERENCE,
    ROAD,
    STACK,
    WIDTH,
    cvat,
    cvat_masks,
    label_studio,
    labelme,
    napari,
    nrrd,
    qupath,
    region,
)
from tests.annotations.mutants import mutant

pytest.importorskip("shapely")
pytest.importorskip("rasterio")

CLASSES, VALUES = class_table(drawings.WORDS), class_table(drawings.VALUES)
INSTALL = 'pip install "medwsss[annotations]"'
MUTANTS = 60  # a tool


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    return drawings.write_images(tmp_path_factory.mktemp("strokes") / "images")


def written(tmp_path, name, data):
    path = tmp_path / "strokes" / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(data.encode() if isinstance(data, str) else data)
    return path


def drawn(tmp_path, images, kind):
    drawing = DRAWINGS[kind]
    pytest.importorskip(drawing.needs, reason=INSTALL)
    return read_strokes(drawing.write(tmp_path / kind), images / drawing.image, class_table(drawing.words))


@pytest.mark.parametrize("kind", DRAWINGS)
def test_every_tool_gives_the_reference(tmp_path, images, kind):
    found = drawn(tmp_path, images, kind)
    assert (found.labels == drawings.expected(DRAWINGS[kind])).all() and (found.conflicts, found.outside) == (0, 0)


def test_widths_are_pixels(tmp_path, images):
    path = written(tmp_path, "a.json", labelme())
    labels = read_strokes(path, images / "a.png", CLASSES, width=3).labels[0].T
    assert (labels[9:12, 5:15] == ROAD).all() and not (labels[[8, 12]] == ROAD).any()


TASK = ("brushlabels", {"rle": [0] * 9, "brushlabels": ["road"]})
POINT = ("keypointlabels", {"x": 10, "y": 10, "width": 1, "keypointlabels": ["road"]})


@pytest.mark.parametrize(
    "name, text, told",
    [
        ("a.json", labelme(width=63), "expected shapes of an image of 64 x 48 pixels, got 63 x 48"),
        ("a.json", labelme(line=[["x", 1]]), "expected strokes, got ValueError"),
        ("a.json", labelme(block=BLOCK[:2]), "expected corners of a polygon, got 2"),
        ("a.json", labelme().replace("linestrip", "mask"), "expected points, lines, polygons, rectangles and circles"),
        ("a.json", labelme().replace("10.5", "NaN"), "expected places in numbers"),
        ("a.json", labelme().replace("10.5", "1e9"), "expected places in pixels of an image of 64 x 48"),
        ("a.json", labelme().replace("road", "sky"), "expected classes of background, road, got sky"),
        ("a.json", '{"shapes": []}', "expected strokes, got none"),
        ("a.json", "[1]", "expected the shapes of LabelMe"),
        ("a.json", "[" * 100_000, "RecursionError"),
        ("a.geojson", qupath().replace("classification", "x"), "expected a classification of each annotation"),
        ("a.xml", cvat().replace("sub/a.png", "c.png"), "expected one image a.png, got 0 among c.png, b.png"),
        ("a.xml", cvat_masks().replace("1,23", "1,24"), "expected runs of 24 pixels, got 25"),
        ("a.xml", cvat_masks().replace('width="6"', 'width="600000"'), "expected a mask within the image"),
        ("a.xml", '<!DOCTYPE a [<!ENTITY b "c">]><annotations/>', "expected XML without a document type"),
        ("a.json", drawings.coco_text().replace("j71", "j7\\u00ff"), "expected runs in COCO's characters"),
        ("a.json", drawings.coco_text().replace("j71", "j7"), "expected runs of 3072 pixels"),
        ("a.json", label_studio(TASK), "expected 12288 values of a brush, got 0"),
        ("a.json", label_studio(POINT, image_rotation=90), "expected an image that is not turned, got 90 degrees"),
        ("a.json", label_studio(POINT).replace('["road"]', "[]"), "expected one label of each shape, got 0"),
        ("a.csv", "x,y\n1,2\n", "expected a layer of napari"),
        ("a.road.csv", napari("path", LINE, 2), "expected shapes in one of 1 slices, got one in 3"),
        ("a.png", drawings.picture(drawings.PAINTED * 2), "expected classes of background, road, got 2, 4"),
        ("a.png", drawings.picture(drawings.PAINTED[1:]), "expected the shape (64, 48) of the image, got (64, 47)"),
    ],
)
def test_what_cannot_be_used_names_the_file(tmp_path, images, name, text, told):
    path = written(tmp_path, name, text)
    with pytest.raises(ValueError) as caught:
        read_strokes(path, images / "a.png", CLASSES)
    assert told in str(caught.value) and str(path) in str(caught.value)


def test_nothing_for_an_image_is_told_from_what_is_wrong(tmp_path, images):
    for text in (cvat().replace("sub/a.png", "c.png"), cvat("<tag label='x'/>")):
        with pytest.raises(Absent):
            read_strokes(written(tmp_path, "a.xml", text), images / "a.png", CLASSES)


def test_shapes_of_a_stack_say_their_slice(tmp_path, images):
    with pytest.raises(ValueError, match=r"expected shapes in one of 3 slices, got one in none"):
        read_strokes(written(tmp_path, "a.json", labelme()), images / "a.tif", CLASSES)
    with pytest.raises(ValueError, match="expected a label map of a NIfTI volume"):
        read_strokes(written(tmp_path, "a.json", labelme()), images / "a.nii.gz", CLASSES)


def test_shapes_of_label_studio(tmp_path, images):
    """A point in column 6 and row 4, and a circle of 10 pixels turned about its middle."""
    circle = {"x": 50, "y": 50, "radiusX": 1000 / WIDTH, "radiusY": 1000 / HEIGHT, "rotation": 30}
    text = label_studio(POINT, ("ellipselabels", {**circle, "ellipselabels": ["background"]}), image="/x/?d=y/a.png")
    labels = read_strokes(written(tmp_path, "a.json", text), images / "a.png", CLASSES).labels[0].T
    assert labels[4, 6] == ROAD and (labels == ROAD).sum() == 1
    assert (labels == BACKGROUND).sum() == pytest.approx(np.pi * 100, rel=0.03)


def test_a_turned_rectangle_of_label_studio(tmp_path, images):
    """Ten wide, five high, turned by a quarter around its upper left corner (40, 20): columns 35 to 39."""
    box = {"x": 4000 / WIDTH, "y": 2000 / HEIGHT, "width": 1000 / WIDTH, "height": 500 / HEIGHT, "rotation": 90}
    text = label_studio(("rectanglelabels", {**box, "rectanglelabels": ["road"]}))
    labels = read_strokes(written(tmp_path, "a.json", text), images / "a.png", CLASSES).labels[0].T
    assert (labels[20:30, 35:40] == ROAD).all() and (labels == ROAD).sum() == 50


@pytest.mark.parametrize("kind, corners", [(1, [[10, 20], [14, 26]]), (2, [[10, 20], [30, 40]])])
def test_rectangles_and_ovals_of_imagej(tmp_path, images, kind, corners):
    pytest.importorskip("roifile", reason=INSTALL)
    path = written(tmp_path, "a.roi", region("road", kind, corners))
    labels = read_strokes(path, images / "a.png", CLASSES).labels[0].T
    if kind == 1:
        assert (labels[20:26, 10:14] == ROAD).all() and (labels == ROAD).sum() == 24
    else:
        assert labels[30, 20] == ROAD and (labels == ROAD).sum() == pytest.approx(np.pi * 100, rel=0.03)


def test_ellipses_of_napari(tmp_path, images):
    """Corners of the box around it: 30 columns and 20 rows, from the middle of pixels."""
    corners = [[10, 10], [10, 30], [40, 30], [40, 10]]
    path = written(tmp_path, "a.road.csv", napari("ellipse", corners))
    labels = read_strokes(path, images / "a.png", CLASSES).labels[0].T
    assert (labels == ROAD).sum() == pytest.approx(np.pi * 10 * 15, rel=0.03)
    assert labels[20, 11] == labels[20, 38] == ROAD and labels[11, 11] == UNLABELED


def test_names_of_itk_snap(tmp_path, images):
    path = DRAWINGS["nifti"].write(tmp_path)[0]
    names = tmp_path / "labels.txt"
    rows = [(0, "Clear Label"), (1, "road"), (2, "background"), (3, "never drawn")]
    text = [f"{number} 0 0 0 1 1 1 {json.dumps(name)}" for number, name in rows]
    names.write_text("\n".join(["# IDX  -R- -G- -B- -A-- VIS MSH LABEL", *text]))
    assert (read_strokes(path, images / "a.nii.gz", CLASSES, names=names).labels[0].T == STACK).all()
    rest = read_strokes(path, images / "a.nii.gz", class_table(["road", "background", "x=Clear Label"]), names=names)
    assert (rest.labels == 2).sum() == (STACK == UNLABELED).sum()


def test_segments_that_overlap_are_unlabelled_and_counted(tmp_path, images):
    pytest.importorskip("nrrd", reason=INSTALL)
    layers = np.zeros((2, *STACK.T.shape))
    layers[0, 5:9, 6, 1] = layers[1, 8:12, 6, 1] = 1
    fields = {"Segment0_Name": "road", "Segment1_Name": "background"}  # of files before layers and values had keys
    fields |= {"Segment0_Layer": 0, "Segment1_Layer": 1}
    found = read_strokes(written(tmp_path, "a.seg.nrrd", nrrd(layers, fields)), images / "a.nii.gz", CLASSES)
    assert found.conflicts == 1 and [(found.labels == k).sum() for k in (BACKGROUND, ROAD)] == [3, 3]
    assert found.labels[0, 8, 6, 1] == UNLABELED


@pytest.mark.parametrize("change, fits", [(0.04, True), (0.3, False)])
def test_maps_on_another_grid_are_refused(tmp_path, images, change, fits):
    """A tenth of a voxel is 0.05 along the first axis, as headers are rounded."""
    moved = AFFINE + np.array([[0, 0, 0, change]] + [[0, 0, 0, 0]] * 3)
    path = tmp_path / "a.nii.gz"
    nib.Nifti1Image(drawings.PAINTED_STACK.T[:40].astype(np.uint8), moved).to_filename(path)
    if fits:
        assert (read_strokes(path, images / "a.nii.gz", VALUES).labels[0].T == STACK).all()
    else:
        with pytest.raises(ValueError, match="expected the voxels of the image"):
            read_strokes(path, images / "a.nii.gz", VALUES)


def test_the_command(tmp_path, images, capsys):
    folder = tmp_path / "images"
    folder.mkdir()
    for name in ("a.png", "without.png"):
        Image.new("L", (WIDTH, HEIGHT)).save(folder / name)
    written(tmp_path, "a.json", labelme())
    words = ["strokes", "--images", folder, "--strokes", tmp_path / "strokes", "--output", tmp_path / "out"]
    assert main([str(word) for word in (*words, "--classes", *drawings.WORDS)]) == 0
    assert "1 scribbles; 1 images have no strokes" in capsys.readouterr().out
    assert (np.asarray(Image.open(tmp_path / "out" / "a.png")) == REFERENCE).all()
    assert main([str(word) for word in (*words, "--classes", "road")]) == 1
    assert "expected classes of road, got background" in capsys.readouterr().err
    written(tmp_path, "a.xml", cvat())
    assert main([str(word) for word in (*words, "--classes", "road")]) == 1
    assert "expected one kind of strokes for a, got a.json, a.xml" in capsys.readouterr().err


@pytest.mark.parametrize("kind", ["coco", "napari", "nifti", "tiff_stack"])
def test_the_command_on_other_files(tmp_path, images, capsys, kind):
    """Of all images, a file for all has strokes of one; volumes stay in their place."""
    drawing = DRAWINGS[kind]
    paths = drawing.write(tmp_path / "strokes")
    folder = tmp_path / "images"
    folder.mkdir()
    for name in (drawing.image, f"z{drawing.image}"):
        (folder / name).write_bytes((images / drawing.image).read_bytes())
    strokes = paths[0] if kind == "coco" else tmp_path / "strokes"
    words = ["strokes", "--images", folder, "--strokes", strokes, "--output", tmp_path / "out"]
    assert main([str(word) for word in (*words, "--classes", *drawing.words)]) == 0
    assert "1 scribbles; 1 images have no strokes" in capsys.readouterr().out
    (written_file,) = (tmp_path / "out").iterdir()
    if kind == "nifti":
        volume = nib.load(written_file)
        assert (np.asarray(volume.dataobj).T == STACK).all() and np.allclose(volume.affine, AFFINE)
    elif kind == "tiff_stack":
        assert (np.asarray(nib.load(written_file).dataobj).T == STACK).all()
    else:
        assert (np.asarray(Image.open(written_file)) == REFERENCE).all()


@pytest.mark.skipif("fork" not in get_all_start_methods(), reason="files are looked through in this process")
def test_a_file_that_crashes_its_library_is_refused_by_name(tmp_path, images):
    """HDF5's library, which a damaged size ends with a segmentation fault where it is not caught before."""
    pytest.importorskip("h5py", reason=INSTALL)
    drawing = DRAWINGS["ilastik"]
    paths = drawing.write(tmp_path)
    paths[0].write_bytes(mutant(paths[0].read_bytes(), "ilastik 0 8772"))
    with pytest.raises(ValueError, match=f"expected .*{paths[0].name}"):
        read_strokes(paths, images / drawing.image, class_table(drawing.words))


def test_points_and_circles(tmp_path, images):
    shapes = [
        {"label": "road", "shape_type": "point", "points": [[3.2, 4.9]]},
        {"label": "background", "shape_type": "circle", "points": [[40, 20], [40, 30]]},
    ]
    path = written(tmp_path, "a.json", json.dumps({"shapes": shapes}))
    labels = read_strokes(path, images / "a.png", CLASSES).labels[0].T
    assert labels[4, 3] == ROAD and (labels == ROAD).sum() == 1
    assert (labels == BACKGROUND).sum() == pytest.approx(np.pi * 100, rel=0.03)


# HDF5's own library crashes or loops for ever on some damage, until it is stopped: fuzz_strokes of the benchmarks waits
@pytest.mark.parametrize("kind", [kind for kind, drawing in DRAWINGS.items() if drawing.needs != "h5py"])
def test_mutants_are_read_or_refused_by_name(tmp_path, images, kind):
    """Labels of the image's shape, or a ``ValueError`` with the name of the file, and nothing else."""
    drawing = DRAWINGS[kind]
    pytest.importorskip(drawing.needs, reason=INSTALL)
    paths, classes, refused = drawing.write(tmp_path), class_table(drawing.words), 0
    data = paths[0].read_bytes()
    for number in range(MUTANTS):
        paths[0].write_bytes(mutant(data, f"{kind} {number}"))
        try:
            labels = read_strokes(paths, images / drawing.image, classes).labels
        except ValueError as error:
            refused += 1
            assert paths[0].name in str(error) and str(error).startswith("expected"), number
        else:
            assert labels.shape == drawings.expected(drawing).shape
            assert np.isin(labels, [BACKGROUND, ROAD, UNLABELED]).all()
    assert refused
