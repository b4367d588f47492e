# SPDX-License-Identifier: Apache-2.0
"""Where a label map may lie beside its image: a tenth of the smallest voxel, at the corner that moves most."""

from __future__ import annotations

import json
import re
import struct

import nibabel as nib
import numpy as np
import pytest

from data_prep.engine.sources import Case
from data_prep.formats.pictures import picture_files
from data_prep.formats.volumes import volume_files
from medwsss.keys import IMAGE, LABEL
from medwsss.study.findings import examine
from medwsss.study.grid import Grid, fault, misfit
from medwsss.transforms import MapWeakLabels
from tests.data_prep import trees
from tests.data_prep.pictures import save

SHAPE = (100, 100, 5)  # of voxels of 1 x 1 x 2.5 mm: the far corner is 99 mm from the first one along x and along y
AFFINE = np.diag([1, 1, 2.5, 1.0])
MASK = np.arange(np.prod(SHAPE)).reshape(SHAPE) % 2
LABELS = MapWeakLabels(2)


def scaled(by: float, about: float = 0.0) -> np.ndarray:
    """x is stretched by a factor 1 + ``by`` about x = ``about``; x = 99 moves by ``by`` · (99 − about)."""
    return np.array([[by, 0, 0, -by * about], [0, 0, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0.0]]) + np.eye(4)


def turned(angle: float) -> np.ndarray:
    """By ``angle`` about z: the corner 99 · √2 mm away moves along a chord, 99 · √2 · 2 sin(angle / 2)."""
    c, s = np.cos(angle), np.sin(angle)
    return np.array([[c, -s, 0, 0], [s, c, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1.0]])


@pytest.mark.parametrize(
    "change, moved",
    [
        (scaled(0.0980 / 99), None),
        (scaled(0.1020 / 99), "0.102"),
        (scaled(0.1960 / 99, about=49.5), None),  # both ends by 0.098
        (scaled(0.2040 / 99, about=49.5), "0.102"),
        (turned(0.0980 / (99 * 2**0.5)), None),
        (turned(0.1020 / (99 * 2**0.5)), "0.102"),
    ],
)
def test_the_corner_that_moves_most_decides(tmp_path, change, moved):
    image = trees.save(tmp_path / "image.nii.gz", trees.image(shape=SHAPE), AFFINE)
    label = trees.save(tmp_path / "label.nii.gz", MASK.astype(np.uint8), change @ AFFINE)
    case = Case("a", "a", {IMAGE: image, LABEL: label}, "training")
    if moved is None:
        assert volume_files(case, LABELS).keys() == {IMAGE, LABEL}
    else:
        with pytest.raises(
            ValueError, match=f"affine of the image, got one that moves voxels by up to {moved} (mm|voxels) in"
        ):
            volume_files(case, LABELS)
    assert volume_files(case, LABELS, trust_voxels=True).keys() == {IMAGE, LABEL}


def write(path, array, west=5e5, crs="EPSG:32633", **place):
    """A GeoTIFF of pixels of 30 m that begins at ``west``."""
    rasterio = pytest.importorskip("rasterio")
    height, width = array.shape
    shape = {"count": 1, "height": height, "width": width, "dtype": "uint8"}
    place = {"transform": rasterio.transform.from_origin(west, 5e6, 30, 30), "crs": crs, **place}
    with rasterio.open(path, "w", driver="GTiff", **place, **shape) as file:
        file.write(array.astype(np.uint8), 1)
    return path


def both_refuse(image, label, told):
    """Conversion and check."""
    with pytest.raises(ValueError, match=told):
        picture_files(Case("a", "a", {IMAGE: image, LABEL: label}, "training"), LABELS, in_channels=1)
    (error,) = examine(str(image), LABELS, mask=str(label)).errors
    assert re.search(told, error)


@pytest.mark.parametrize(("shift", "fits"), [(0, True), (2.9, True), (3.1, False), (15, False), (2000, False)])
def test_rasters_that_say_where_they_lie(tmp_path, shift, fits):
    """3 m are a tenth of a pixel."""
    image = write(tmp_path / "image.tif", MASK[..., 0])
    label = write(tmp_path / "m.tif", MASK[..., 0], 5e5 + shift)
    case = Case("a", "a", {IMAGE: image, LABEL: label}, "training")
    if fits:
        assert picture_files(case, LABELS, in_channels=1).keys() == {IMAGE, LABEL}
    else:
        both_refuse(image, label, f"moves voxels by up to {shift} m in .*m.tif")


@pytest.mark.parametrize(
    ("place", "told"),
    [
        ({"crs": "EPSG:32632"}, "reference system EPSG:32633 of the image, got EPSG:32632 in .*m.tif"),
        ({"crs": "EPSG:4326"}, "reference system EPSG:32633 of the image, got EPSG:4326 in .*m.tif"),
        ({"step": 60}, "moves voxels by up to 4200 m in"),  # the far corner is 99 · √2 · 30 m away
        ({"row": +30}, "moves voxels by up to 5940 m in"),  # the south is up: rows run the other way, 2 · 99 · 30 m
        ({"turn": 10}, "moves voxels by up to .* m in"),
    ],
)
def test_rasters_elsewhere(tmp_path, place, told):
    rasterio = pytest.importorskip("rasterio")
    step, row, turn = place.pop("step", 30), place.pop("row", None), place.pop("turn", 0)
    row = -step if row is None else row
    transform = rasterio.Affine(step, turn, 5e5, turn, row, 5e6)
    image = write(tmp_path / "image.tif", MASK[..., 0])
    both_refuse(image, write(tmp_path / "m.tif", MASK[..., 0], transform=transform, **place), told)


def test_one_reference_system_may_be_written_in_two_ways(tmp_path):
    rasterio = pytest.importorskip("rasterio")
    text = rasterio.crs.CRS.from_epsg(32633).to_wkt()
    one, other = (Grid((2, 2), np.eye(4), "m", crs) for crs in ("EPSG:32633", text))
    assert misfit(one, other, "file") is None
    assert misfit(one, Grid((2, 2), np.eye(4), "m", text.replace("15", "9")), "file")


def test_a_mask_keeps_the_place_of_its_raster(tmp_path):
    """What was made of a raster can be compared again, and goes back into a map."""
    rasterio = pytest.importorskip("rasterio")
    image = write(tmp_path / "image.tif", MASK[..., 0])
    made = picture_files(
        Case("a", "a", {IMAGE: image, LABEL: save(tmp_path / "label.png", MASK[..., 0])}, "training"),
        LABELS,
        in_channels=1,
    )[LABEL]
    assert made.suffix == ".tif" and made.read() == made.read()
    (tmp_path / "made.tif").write_bytes(made.read())
    with rasterio.open(image) as there, rasterio.open(tmp_path / "made.tif") as here:
        assert (here.transform, here.crs, here.dtypes, here.nodata) == (there.transform, there.crs, ("uint8",), None)
        np.testing.assert_array_equal(here.read(1), MASK[..., 0])
    assert not examine(str(image), LABELS, mask=str(tmp_path / "made.tif")).errors
    both_refuse(write(tmp_path / "other.tif", MASK[..., 0], 6e5), tmp_path / "made.tif", "up to 100000 m")


def test_what_lies_beside_a_raster_comes_along(tmp_path):
    """Here its nodata value: in the file itself there is none."""
    rasterio = pytest.importorskip("rasterio")
    for name in "ab":
        for folder in ("images", "labels"):
            (tmp_path / "data" / folder).mkdir(parents=True, exist_ok=True)
            write(tmp_path / f"data/{folder}/{name}.tif", MASK[..., 0])
        beside = '<PAMDataset><PAMRasterBand band="1"><NoDataValue>9</NoDataValue></PAMRasterBand></PAMDataset>'
        (tmp_path / f"data/images/{name}.tif.aux.xml").write_text(beside)
    (tmp_path / "labels.json").write_text(json.dumps({"labels": {"other": 0, "road": 1}}))
    content = trees.convert("folder", tmp_path / "data", tmp_path / "study", "--labels", tmp_path / "labels.json")
    with rasterio.open(tmp_path / "study" / content["training"][0][IMAGE]) as raster:
        assert raster.nodata == 9


def spoilt(path, affine, unit=0, thickness=2.5):
    """NIfTI whose header says ``affine``, which nibabel would not write."""
    trees.save(path, MASK[:4, :4].astype(np.uint8), AFFINE)
    content = bytearray(path.read_bytes())
    content[280:328], content[123] = struct.pack("<12f", *affine[:3].ravel()), unit
    content[88:92] = struct.pack("<f", thickness)
    path.write_bytes(content)
    return path


NOWHERE, FLAT, MIRRORED = (AFFINE.copy() for _ in range(3))
NOWHERE[0, 3], FLAT[2, 2] = np.nan, 0
MIRRORED[0, [0, 3]] = -1, 3


@pytest.mark.parametrize(
    ("image", "label", "told"),
    [
        ((AFFINE,), (NOWHERE,), "(affine.* in .*label.nii|label.nii.*affine)"),
        ((NOWHERE,), (NOWHERE,), "(affine.* in .*image.nii|image.nii.*affine)"),
        (
            (AFFINE,),
            (AFFINE * np.nan,),
            "(affine.* in .*label.nii|label.nii.*affine)",
        ),  # MONAI would put it at the origin
        ((FLAT, 2, 0), (FLAT, 2, 0), "gives each axis a direction, got a singular one in .*image.nii"),
        ((AFFINE,), (FLAT, 2, 0), "gives each axis a direction, got a singular one in .*label.nii"),
        ((FLAT,), (FLAT,), None),  # the thickness of slices is told elsewhere in the header
        ((AFFINE, 2), (AFFINE, 3), "the unit mm of the image's affine, got um in .*label.nii"),
        ((AFFINE, 2), (MIRRORED, 2), "moves voxels by up to 3 mm in .*label.nii"),
        ((AFFINE, 1), (MIRRORED, 0), "moves voxels by up to 3 m in .*label.nii"),
        ((AFFINE, 2), (AFFINE, 0), None),
    ],
)
@pytest.mark.filterwarnings("ignore:invalid value")
def test_volumes_elsewhere(tmp_path, image, label, told):
    paths = spoilt(tmp_path / "image.nii", *image), spoilt(tmp_path / "label.nii", *label)
    found = examine(str(paths[0]), LABELS, mask=str(paths[1]))
    case = Case("a", "a", dict(zip((IMAGE, LABEL), paths)), "training")
    if told is None:
        assert volume_files(case, LABELS).keys() == {IMAGE, LABEL} and not found.errors
        return
    with pytest.raises(ValueError, match=told):
        volume_files(case, LABELS)
    assert any(re.search(told, error) for error in found.errors)


@pytest.mark.filterwarnings("ignore:invalid value")
@pytest.mark.parametrize("affine", [NOWHERE, MIRRORED])
def test_modalities_of_a_case_lie_on_each_other(tmp_path, affine):
    images = spoilt(tmp_path / "a.nii", AFFINE), spoilt(tmp_path / "b.nii", affine)
    case = Case("a", "a", {IMAGE: images, LABEL: spoilt(tmp_path / "label.nii", AFFINE)}, "training")
    with pytest.raises(ValueError, match="affine.* in .*b.nii"):
        volume_files(case, LABELS)


def test_an_axis_of_one_voxel_may_have_no_size():
    """Some tools write 0 for the slices of a plane."""
    plane = Grid((4, 4, 1), np.diag([1, 1, 0, 1.0]))
    assert fault(plane, "file") is None and misfit(plane, plane, "file") is None
    assert fault(Grid((4, 4, 2), plane.affine), "file")


def test_a_picture_says_nothing_about_space(tmp_path):
    image, label = write(tmp_path / "image.tif", MASK[..., 0], 5e5), save(tmp_path / "label.png", MASK[..., 0])
    case = Case("a", "a", {IMAGE: image, LABEL: label}, "training")
    assert picture_files(case, LABELS, in_channels=1).keys() == {IMAGE, LABEL}


def test_a_mask_without_a_place_gets_that_of_its_volume(tmp_path):
    """Or the check would refuse what was made."""
    trees.save(tmp_path / "data/images/a.nii.gz", trees.image())
    (tmp_path / "data/labels").mkdir()
    np.save(tmp_path / "data/labels/a.npy", trees.dense(2))
    (tmp_path / "labels.json").write_text(json.dumps({"labels": {"other": 0, "organ": 1}}))
    content = trees.convert("folder", tmp_path / "data", tmp_path / "study", "--labels", tmp_path / "labels.json")
    image, label = (tmp_path / "study" / content["training"][0][key] for key in (IMAGE, LABEL))
    np.testing.assert_array_equal(nib.load(label).affine, trees.AFFINE)
    np.testing.assert_array_equal(np.asarray(nib.load(label).dataobj), trees.dense(2))
    assert not examine(str(image), LABELS, mask=str(label)).errors
