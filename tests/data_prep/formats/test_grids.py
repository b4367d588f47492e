# SPDX-License-Identifier: Apache-2.0
"""Where a label map may lie beside its image: a tenth of the smallest voxel, at the corner that moves most."""

from __future__ import annotations

import json

import nibabel as nib
import numpy as np
import pytest

from data_prep.engine.sources import Case
from data_prep.formats.pictures import picture_files
from data_prep.formats.volumes import volume_files
from medwsss.keys import IMAGE, LABEL
from medwsss.study.findings import examine
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


def write(path, array, west):
    """A GeoTIFF of pixels of 30 m that begins at ``west``."""
    rasterio = pytest.importorskip("rasterio")
    height, width = array.shape
    shape = {"count": 1, "height": height, "width": width, "dtype": "uint8"}
    place = rasterio.transform.from_origin(west, 5e6, 30, 30)
    with rasterio.open(path, "w", driver="GTiff", transform=place, crs="EPSG:32633", **shape) as file:
        file.write(array.astype(np.uint8), 1)
    return path


@pytest.mark.parametrize(("shift", "fits"), [(0, True), (2.9, True), (3.1, False), (15, False)])
def test_rasters_that_say_where_they_lie(tmp_path, shift, fits):
    """3 m are a tenth of a pixel."""
    image, label = write(tmp_path / "image.tif", MASK[..., 0], 5e5), write(
        tmp_path / "m.tif", MASK[..., 0], 5e5 + shift
    )
    case = Case("a", "a", {IMAGE: image, LABEL: label}, "training")
    if fits:
        assert picture_files(case, LABELS, in_channels=1).keys() == {IMAGE, LABEL}
    else:
        with pytest.raises(ValueError, match=f"moves voxels by up to {shift} .* in .*m.tif"):
            picture_files(case, LABELS, in_channels=1)


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
