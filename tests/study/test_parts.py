# SPDX-License-Identifier: Apache-2.0
"""A part of a raster is what the study's reader gives of it, of a picture too."""

from __future__ import annotations

import os

import numpy as np
import pytest
from PIL import Image

from medwsss.study.readers import loader
from medwsss.study.readers.parts import load_window, opened, read_window

rasterio = pytest.importorskip("rasterio")

TURNED = Image.Exif()
TURNED[0x0112] = 6  # a quarter


def test_a_window_is_a_part_of_the_whole(tmp_path):
    """Scale, nodata and mask included, without reading the rest."""
    rng = np.random.default_rng(0)
    bands = rng.integers(0, 5, (3, 40, 50)).astype(np.int16)
    with rasterio.open(
        tmp_path / "a.tif", "w", driver="GTiff", height=40, width=50, count=3, dtype="int16", nodata=0
    ) as raster:
        raster.write(bands)
        raster.scales, raster.offsets = (2.0, 1.0, 0.5), (0.0, 3.0, -1.0)
    whole = np.asarray(loader()(tmp_path / "a.tif")).transpose(0, 2, 1)
    np.testing.assert_array_equal(read_window(tmp_path / "a.tif", (5, 17), (8, 50)), whole[:, 5:17, 8:50])
    np.testing.assert_array_equal(read_window(tmp_path / "a.tif", (0, 4), (0, 4), [3, 1]), whole[[2, 0], :4, :4])
    other = read_window(tmp_path / "a.tif", (0, 40), (0, 50), nodata=4)
    assert (np.isnan(other) == (bands == 4)).all() and (other[0][bands[0] == 0] == 0).all()


def picture(path, shape=(40, 50, 3), **keywords):
    pixels = np.random.default_rng(0).integers(0, 256, shape).astype(np.uint8)
    Image.fromarray(pixels).save(path, **keywords)
    return path


@pytest.mark.parametrize(
    "name, shape, keywords",
    [
        ("a.png", (40, 50, 3), {"transparency": (1, 2, 3)}),
        ("a.jpg", (40, 50, 3), {"exif": TURNED}),
        ("a.BMP", (40, 50), {}),
    ],
    ids=["transparent", "turned", "grey"],
)
def test_a_window_of_a_picture_is_a_part_of_what_is_displayed(tmp_path, name, shape, keywords):
    path = picture(tmp_path / name, shape, **keywords)
    if name == "a.png":  # the colour that is none, in one place
        pixels = np.asarray(Image.open(path)).copy()
        pixels[7, 9] = keywords["transparency"]
        Image.fromarray(pixels).save(path, **keywords)
    whole = np.asarray(loader()(path)).transpose(0, 2, 1)
    assert whole.shape[1:] == ((50, 40) if "exif" in keywords else (40, 50))
    assert np.isnan(whole).sum() == (3 if name == "a.png" else 0)
    np.testing.assert_array_equal(read_window(path, (5, 17), (8, 40)), whole[:, 5:17, 8:40])


def test_a_world_file_is_the_place_of_a_picture(tmp_path):
    path = picture(tmp_path / "a.png")
    (tmp_path / "a.pgw").write_text("2\n0\n0\n-2\n101\n899\n")  # the last two: middle of the first pixel
    with opened(path) as raster:
        assert raster.transform[:6] == (2, 0, 100, 0, -2, 900)
    _, meta = load_window(path, (0, 4), (0, 4))
    np.testing.assert_array_equal(meta["affine"][:2, [0, 1, 3]], [[2, 0, 100], [0, -2, 900]])


def test_a_picture_that_was_replaced_is_read_anew(tmp_path):
    before = read_window(picture(tmp_path / "a.png"), (0, 1), (0, 1))
    Image.fromarray(np.zeros((4, 5), np.uint8)).save(tmp_path / "a.png")
    os.utime(tmp_path / "a.png", (0, 0))
    assert before.any() and not read_window(tmp_path / "a.png", (0, 1), (0, 1)).any()


def test_pictures_of_which_no_part_can_be_read(tmp_path):
    Image.fromarray(np.zeros((4, 5), np.uint8)).convert("P").save(tmp_path / "palette.png")
    turned = picture(tmp_path / "turned.jpg", exif=TURNED)
    (tmp_path / "turned.jgw").write_text("2\n0\n0\n-2\n101\n899\n")
    for path, why in ((tmp_path / "palette.png", "got palette indices in"), (turned, "got a turned one")):
        with pytest.raises(ValueError, match=f"{why}.*{path.name}"):
            read_window(path, (0, 1), (0, 1))
