# SPDX-License-Identifier: Apache-2.0
"""A prediction has the shape and the place of its image, by the libraries that users open it with."""

from __future__ import annotations

import gzip
import io

import nibabel as nib
import numpy as np
import pytest
from PIL import Image

from medwsss.keys import VOID
from medwsss.study.outputs import encode_map, encode_prediction, map_suffix, output_suffix
from medwsss.study.readers import loader

rasterio = pytest.importorskip("rasterio")

OBLIQUE = np.array([[0, -2, 0.3, 5], [1, 0, 0, -7], [0, 0.1, 3, 2], [0, 0, 0, 1.0]])


def predict(image, tmp_path):
    """Labels that differ from place to place, written as the prediction of a file; where they are."""
    labels = (np.arange(loader()(str(image))[0].numel()) % 7).astype(np.uint8)
    labels = labels.reshape(loader()(str(image)).shape[1:])
    path = tmp_path / f"prediction{output_suffix(image)}"
    path.write_bytes(encode_prediction(labels, image, loader()(str(image)).meta.get("original_affine")))
    return labels, path


@pytest.mark.parametrize("shape", [(5, 6, 7), (5, 6, 1), (5, 6), (1, 5, 6)])
@pytest.mark.parametrize("kind", [nib.Nifti1Image, nib.Nifti2Image])
def test_nifti(tmp_path, shape, kind):
    image = kind(np.ones(shape, np.float32), OBLIQUE)
    image.set_qform(OBLIQUE + np.diag([0, 0, 0.5, 0]), 1, strip_shears=True)
    image.set_sform(OBLIQUE, 4)
    image.header.set_xyzt_units("micron")
    image.header["cal_max"] = 900
    nib.save(image, tmp_path / "image.nii")
    labels, path = predict(tmp_path / "image.nii", tmp_path)
    got, source = nib.load(path), nib.load(tmp_path / "image.nii")
    assert got.shape == shape and got.get_data_dtype() == np.uint8 and got.header["cal_max"] == 0
    for name in ("affine", "get_qform", "get_sform"):
        a, b = (getattr(each, name) for each in (got, source))
        np.testing.assert_array_equal(a() if callable(a) else a, b() if callable(b) else b)
    assert got.header["sform_code"] == 4 and got.header.get_xyzt_units()[0] == "micron"
    np.testing.assert_array_equal(got.dataobj, labels)
    np.testing.assert_array_equal(loader()(str(path))[0], labels)


def test_scaling_of_the_image_is_not_that_of_labels(tmp_path):
    image = nib.Nifti1Image(np.full((2, 3, 4), 7, np.int16), np.eye(4))
    image.header.set_slope_inter(0.5, 100)
    nib.save(image, tmp_path / "image.nii.gz")
    labels, path = predict(tmp_path / "image.nii.gz", tmp_path)
    np.testing.assert_array_equal(nib.load(path).get_fdata(), labels)


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".bmp"])
def test_pictures(tmp_path, suffix):
    Image.fromarray(np.zeros((3, 5), np.uint8)).save(tmp_path / f"image{suffix}")
    labels, path = predict(tmp_path / f"image{suffix}", tmp_path)
    assert path.suffix == ".png"
    np.testing.assert_array_equal(np.asarray(Image.open(path)), labels.T)


def test_a_turned_photograph_is_predicted_as_displayed(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(np.zeros((3, 5, 3), np.uint8)).save(tmp_path / "image.jpg", exif=exif)
    _, path = predict(tmp_path / "image.jpg", tmp_path)
    assert Image.open(path).size == (3, 5) and not Image.open(path).getexif()


def write_raster(path, transform=None, crs=None):
    profile = {"driver": "GTiff", "height": 3, "width": 5, "count": 2, "dtype": "uint16", "nodata": 0}
    with rasterio.open(path, "w", **profile, crs=crs, transform=transform) as raster:
        raster.write(np.ones((2, 3, 5), np.uint16))
    return path


def test_a_raster_keeps_its_place_on_earth(tmp_path):
    where = rasterio.Affine(10, 1, 500000, 2, -20, 5700000)
    image = write_raster(tmp_path / "image.TIFF", where, "EPSG:32633")
    labels, path = predict(image, tmp_path)
    with rasterio.open(path) as raster:
        assert raster.transform == where and raster.crs == "EPSG:32633"
        assert raster.nodata == VOID and raster.dtypes == ("uint8",)
        np.testing.assert_array_equal(raster.read(1), labels.T)


@pytest.mark.filterwarnings("ignore:Dataset has no geotransform")
def test_ground_control_points_are_a_place_too(tmp_path):
    points = [
        rasterio.control.GroundControlPoint(row, col, 13 + col, 52 - row) for row, col in ((0, 0), (0, 4), (2, 0))
    ]
    image = write_raster(tmp_path / "image.tif")
    with rasterio.open(image, "r+") as raster:
        raster.gcps = points, rasterio.crs.CRS.from_epsg(4326)
    _, path = predict(image, tmp_path)
    with rasterio.open(path) as raster:
        got, crs = raster.gcps
        assert crs == "EPSG:4326" and [(p.row, p.col, p.x, p.y) for p in got] == [
            (p.row, p.col, p.x, p.y) for p in points
        ]


def test_a_tiff_without_a_place_and_a_stack(tmp_path):
    Image.fromarray(np.zeros((3, 5), np.uint8)).save(tmp_path / "image.tif")
    labels, path = predict(tmp_path / "image.tif", tmp_path)
    np.testing.assert_array_equal(np.asarray(Image.open(path)), labels.T)

    stack = np.arange(5 * 3 * 4, dtype=np.uint8).reshape(5, 3, 4)  # columns, rows, pages
    pages = Image.open(io.BytesIO(encode_prediction(stack, tmp_path / "image.tif")))
    assert pages.n_frames == 4
    for page in range(4):
        pages.seek(page)
        np.testing.assert_array_equal(np.asarray(pages), stack[..., page].T)


def test_arrays(tmp_path):
    np.save(tmp_path / "image.npy", np.zeros((4, 5, 6)))
    labels, path = predict(tmp_path / "image.npy", tmp_path)
    np.testing.assert_array_equal(np.load(path), labels)


def test_another_format_becomes_nifti_with_the_affine_of_the_image():
    labels = np.zeros((5, 6), np.uint8)
    coded = encode_prediction(labels, "image.dcm", np.array([[2.0, 0, 7], [0, 3, 8], [0, 0, 1]]))
    image = nib.Nifti1Image.from_bytes(gzip.decompress(coded))
    assert image.shape == (5, 6)
    np.testing.assert_array_equal(image.affine[:2, [0, 1, 3]], [[2, 0, 7], [0, 3, 8]])


# ---- maps of numbers


def write_map(image, channels, tmp_path):
    """Numbers that differ from place to place and channel to channel; the first voxel has none."""
    shape = (channels, *loader()(str(image)).shape[1:])
    values = np.arange(np.prod(shape), dtype=np.float32).reshape(shape) / 3
    values.reshape(channels, -1)[:, 0] = np.nan
    path = tmp_path / f"map{map_suffix(image)}"
    path.write_bytes(encode_map(values, image, loader()(str(image)).meta.get("original_affine")))
    return values, path


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("shape", [(5, 6, 7), (5, 6)])
def test_maps_of_a_volume(tmp_path, shape, channels):
    image = nib.Nifti1Image(np.ones(shape, np.int16), OBLIQUE)
    image.header.set_slope_inter(0.5, 100)
    nib.save(image, tmp_path / "image.nii.gz")
    values, path = write_map(tmp_path / "image.nii.gz", channels, tmp_path)
    got = nib.load(path)
    assert got.get_data_dtype() == np.float32 and got.shape[:2] == (5, 6) and got.ndim == (len(shape), 4)[channels > 1]
    np.testing.assert_array_equal(got.affine, nib.load(tmp_path / "image.nii.gz").affine)
    expected = values[0] if channels == 1 else np.moveaxis(values.reshape(channels, 5, 6, -1), 0, -1)
    np.testing.assert_array_equal(got.dataobj, expected)


@pytest.mark.parametrize("channels", [1, 3])
def test_maps_of_a_raster_keep_its_place(tmp_path, channels):
    image = write_raster(tmp_path / "image.tif", rasterio.Affine(10, 1, 5e5, 2, -20, 5.7e6), "EPSG:32633")
    values, path = write_map(image, channels, tmp_path)
    with rasterio.open(path) as raster, rasterio.open(image) as source:
        assert (raster.transform, raster.crs) == (source.transform, source.crs) and np.isnan(raster.nodata)
        np.testing.assert_array_equal(raster.read(), values.transpose(0, 2, 1))


@pytest.mark.parametrize("channels", [1, 3])
def test_maps_of_a_picture_are_pages(tmp_path, channels):
    Image.fromarray(np.zeros((3, 5), np.uint8)).save(tmp_path / "image.png")
    values, path = write_map(tmp_path / "image.png", channels, tmp_path)
    pages = Image.open(path)
    assert path.suffix == ".tif" and pages.n_frames == channels and pages.mode == "F"
    for page in range(channels):
        pages.seek(page)
        np.testing.assert_array_equal(np.asarray(pages), values[page].T)


def test_maps_of_a_stack_and_of_an_array(tmp_path):
    values = np.arange(2 * 5 * 3 * 4, dtype=np.float32).reshape(2, 5, 3, 4)
    pages = Image.open(io.BytesIO(encode_map(values, tmp_path / "image.tif")))
    assert pages.n_frames == 8
    pages.seek(6)
    np.testing.assert_array_equal(np.asarray(pages), values[1, ..., 2].T)
    np.testing.assert_array_equal(np.load(io.BytesIO(encode_map(values, "image.npy"))), values)
