# SPDX-License-Identifier: Apache-2.0
"""What a TIFF states is used or refused, and the same picture gives the same numbers as PNG and as TIFF."""

from __future__ import annotations

import numpy as np
import pytest
from monai.transforms import LoadImage
from PIL import Image

from medwsss.study.readers import StudyReader
from tests.study.tiffs import write_tiff

rasterio = pytest.importorskip("rasterio")
load = LoadImage(reader=StudyReader(), ensure_channel_first=True)

GREY = np.arange(12, dtype=np.uint8).reshape(3, 4)  # three rows of four
RGB = np.stack([GREY, GREY + 20, GREY + 40], -1)
GONE = GREY % 5 == 0


def picture(mode: str) -> Image.Image:
    if mode == "P":
        indices = Image.fromarray(GREY).convert("P")
        indices.putpalette([7 * k % 256 for k in range(3 * 256)])
        return indices
    if mode == "I;16":
        return Image.fromarray(GREY.astype(np.uint16) * 5000)
    if mode == "1":
        return Image.fromarray(GREY % 2 == 0)
    colours = Image.fromarray(RGB if mode.startswith("RGB") else GREY)
    if mode.endswith("A"):
        colours.putalpha(Image.fromarray(np.where(GONE, 0, 255).astype(np.uint8)))
    return colours


@pytest.mark.parametrize("mode", ["L", "RGB", "LA", "RGBA", "P", "I;16", "1"])
def test_png_and_tiff_are_equal(tmp_path, mode):
    png, tiff = tmp_path / "a.png", tmp_path / "a.tif"
    picture(mode).save(png)
    picture(mode).save(tiff)
    one, other = load(png), load(tiff)
    np.testing.assert_array_equal(one.numpy(), other.numpy())
    assert one.meta.get("void") == other.meta.get("void") == ("alpha" if mode.endswith("A") else None)
    assert (one.meta.get("mode") == "P") == (other.meta.get("mode") == "P") == (mode == "P")
    if mode.endswith("A"):
        assert (one.isnan().numpy() == GONE.T).all()


@pytest.mark.parametrize("orientation", range(1, 9))
def test_both_are_turned_as_they_are_displayed(tmp_path, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(RGB).save(tmp_path / "a.png", exif=exif)
    Image.fromarray(RGB).save(tmp_path / "a.tif", tiffinfo={274: orientation})
    shown = np.asarray(Image.open(tmp_path / "a.tif"))  # Pillow turns a TIFF when it loads it
    for name in ("a.png", "a.tif"):
        np.testing.assert_array_equal(load(tmp_path / name).numpy(), shown.transpose(2, 1, 0))


def test_white_as_zero_is_turned_round(tmp_path):
    write_tiff(tmp_path / "a.tif", [GREY], photometric=0)
    np.testing.assert_array_equal(load(tmp_path / "a.tif").numpy()[0], 255 - GREY.T)


def test_printers_colours_become_rgb(tmp_path):
    Image.new("CMYK", (4, 3), (0, 255, 255, 0)).save(tmp_path / "a.tif")
    assert load(tmp_path / "a.tif")[:, 0, 0].tolist() == [255, 0, 0]


SLICES = np.arange(8 * 12, dtype=np.uint8).reshape(8, 3, 4)


def test_eight_pages_are_eight_slices(tmp_path):
    write_tiff(tmp_path / "a.tif", SLICES)
    np.testing.assert_array_equal(load(tmp_path / "a.tif").numpy(), SLICES.transpose(2, 1, 0)[None])


@pytest.mark.parametrize(
    "told, shape",
    [
        ("images=8\nslices=8", (1, 8)),
        ("images=8\nchannels=8\nmode=composite", (8,)),
        ("images=8\nchannels=2\nslices=4", (2, 4)),
        ("images=8\nframes=8", (1, 8)),
    ],
)
def test_imagej_says_what_pages_are(tmp_path, told, shape):
    """Its channels follow each other fastest."""
    write_tiff(tmp_path / "a.tif", SLICES, description=f"ImageJ=1.11a\n{told}\n")
    pages = SLICES.reshape(*reversed(shape), 3, 4) if len(shape) == 2 else SLICES
    expected = pages.transpose(1, 3, 2, 0) if len(shape) == 2 else pages.transpose(0, 2, 1)
    np.testing.assert_array_equal(load(tmp_path / "a.tif").numpy(), expected)


@pytest.mark.parametrize("order, axes", [("XYZCT", (0, 1)), ("XYCZT", (1, 0))])
def test_ome_says_what_pages_are(tmp_path, order, axes):
    sizes = 'SizeX="4" SizeY="3" SizeZ="4" SizeC="2" SizeT="1"'
    text = f'<OME xmlns="x"><Image><Pixels ID="p" DimensionOrder="%s" {sizes}></Pixels></Image></OME>' % order
    write_tiff(tmp_path / "a.tif", SLICES, description=text)
    slowest_first = SLICES.reshape(*(np.array([2, 4])[list(axes)]), 3, 4)
    expected = np.moveaxis(slowest_first, axes, (0, 1)).transpose(0, 3, 2, 1)
    np.testing.assert_array_equal(load(tmp_path / "a.tif").numpy(), expected)


def test_imagej_says_how_large_a_voxel_is(tmp_path):
    text = "ImageJ=1.11a\nimages=8\nslices=8\nspacing=2.0\nunit=micron\n"
    write_tiff(tmp_path / "a.tif", SLICES, description=text, resolution=(4, 2))  # pixels a unit
    image = load(tmp_path / "a.tif")
    assert image.affine.diagonal().tolist() == [0.25, 0.5, 2, 1] and image.meta["unit"] == "um"


@pytest.mark.parametrize(
    "pages, description, told",
    [
        ([GREY, GREY[:2]], "", "pages of several sizes"),
        (SLICES[:1], "ImageJ=1.11a\nimages=8\nslices=8\n", "1 pages where its description announces 8"),
        (SLICES, "ImageJ=1.11a\nimages=8\nslices=4\nframes=2\n", "2 points in time of a volume"),
        (SLICES[:1], '{"shape": [8, 3, 4]}', "1 pages where its description announces 8"),  # in one piece behind it
        (SLICES, '{"shape": [4, 2, 3, 4]}', r"pages along 2 axes that have no names, \[4, 2\]"),
    ],
)
def test_pages_that_cannot_be_told_are_refused(tmp_path, pages, description, told):
    write_tiff(tmp_path / "a.tif", pages, description=description)
    with pytest.raises(ValueError, match=f"a.tif: {told}"):
        load(tmp_path / "a.tif")


def test_a_thumbnail_is_no_page(tmp_path):
    write_tiff(tmp_path / "a.tif", [GREY, GREY[:2, :2]], reduced=[1])
    np.testing.assert_array_equal(load(tmp_path / "a.tif").numpy(), GREY.T[None])


def geotiff(path, bands, mask=None, colorinterp=None, scales=None, offsets=None, **profile):
    """Bands ``C × rows × columns``."""
    count, height, width = bands.shape
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True):
        with rasterio.open(path, "w", "GTiff", width, height, count, dtype=bands.dtype, **profile) as raster:
            raster.write(bands)
            if mask is not None:
                raster.write_mask(mask)
            if colorinterp is not None:
                raster.colorinterp = colorinterp
            if scales is not None:
                raster.scales, raster.offsets = scales, offsets


BANDS = np.stack([GREY, GREY + 20]).astype(np.float32)


@pytest.mark.parametrize("nodata", [-9999.0, -9999.9, 0.1, 1e20, -3.4e38, np.nan])
def test_declared_nodata_is_missing(tmp_path, nodata):
    """Also where single precision rounds the number that the header has in double precision."""
    bands = BANDS.copy()
    bands[0, 1, 2] = bands[1, 0, 3] = nodata
    geotiff(tmp_path / "a.tif", bands, nodata=nodata)
    image = load(tmp_path / "a.tif")
    assert np.argwhere(image.isnan().numpy()).tolist() == [[0, 2, 1], [1, 3, 0]]
    assert image.meta["void"] == f"nodata {nodata:g}"


def test_a_mask_and_nodata_and_stray_nan_add_up(tmp_path):
    bands = BANDS.copy()
    bands[:, 0, 1], bands[:, 2, 3] = -9, np.nan
    mask = np.ones(GREY.shape, bool)
    mask[1, 1] = False
    geotiff(tmp_path / "a.tif", bands, mask=mask, nodata=-9)
    image = load(tmp_path / "a.tif")
    assert np.argwhere(image[0].isnan().numpy()).tolist() == [[1, 0], [1, 1], [3, 2]]
    assert image.meta["void"] == "nodata -9 and NaN"


def test_pages_on_the_earth_are_refused(tmp_path):
    transform = rasterio.transform.Affine(30, 0, 500, 0, -30, 900)
    for k in range(2):
        options = {"append_subdataset": "YES"} if k else {}
        geotiff(tmp_path / "a.tif", BANDS[:1], transform=transform, crs="EPSG:32633", **options)
    with pytest.raises(ValueError, match="2 pages on the earth"):
        load(tmp_path / "a.tif")


def test_nodata_that_is_nowhere_and_numbers_that_nobody_declared(tmp_path):
    geotiff(tmp_path / "a.tif", BANDS, nodata=-1)
    assert "void" not in load(tmp_path / "a.tif").meta
    geotiff(tmp_path / "b.tif", np.where(BANDS == 5, np.float32(np.nan), BANDS))
    image = load(tmp_path / "b.tif")
    assert image.isnan().any() and "void" not in image.meta


def test_an_internal_mask_is_what_is_missing(tmp_path):
    geotiff(tmp_path / "a.tif", BANDS, mask=~GONE)
    image = load(tmp_path / "a.tif")
    assert (image.isnan().numpy() == GONE.T).all() and image.meta["void"] == "mask" and len(image) == 2


@pytest.mark.parametrize("dtype, full", [(np.uint8, 255), (np.uint16, 65535), (np.uint16, 255), (np.float32, 1)])
def test_alpha_is_no_band(tmp_path, dtype, full):
    interpretation = rasterio.enums.ColorInterp
    bands = np.stack([GREY, GREY, GREY, np.where(GONE, 0, full)]).astype(dtype)
    names = [interpretation.red, interpretation.green, interpretation.blue, interpretation.alpha]
    geotiff(tmp_path / "a.tif", bands, photometric="RGB", alpha="YES", colorinterp=names)
    image = load(tmp_path / "a.tif")
    assert len(image) == 3 and (image.isnan().numpy() == GONE.T).all()


def test_scale_and_offset_are_applied(tmp_path):
    geotiff(tmp_path / "a.tif", BANDS.astype(np.int16), nodata=3, scales=(0.5, 2), offsets=(1, 0))
    image = load(tmp_path / "a.tif").numpy()
    expected = np.stack([BANDS[0].T * 0.5 + 1, BANDS[1].T * 2])
    np.testing.assert_allclose(image, np.where(BANDS.transpose(0, 2, 1) == 3, np.nan, expected))


def test_units_and_reference_systems(tmp_path):
    transform = rasterio.transform.Affine(0.1, 0, 15, 0, -0.1, 51)
    for crs, unit in (("EPSG:4326", "degree"), ("EPSG:32633", "m"), ("EPSG:2263", "US survey foot")):
        geotiff(tmp_path / "a.tif", BANDS, crs=crs, transform=transform)
        meta = load(tmp_path / "a.tif").meta
        assert (meta["crs"], meta["unit"]) == (crs, unit)


@pytest.mark.parametrize(
    "bands, profile, told",
    [
        (BANDS.astype(np.complex64), {}, "complex numbers"),
        (np.array([RGB.T[k].T for k in range(3)]), {"photometric": "CIELAB"}, "PhotometricInterpretation 8"),
    ],
)
def test_refused_by_name(tmp_path, bands, profile, told):
    geotiff(tmp_path / "a.tif", bands, **profile)
    with pytest.raises(ValueError, match=f"a.tif: .*{told}"):
        load(tmp_path / "a.tif")


def test_a_turned_raster_on_the_earth_is_refused(tmp_path):
    Image.fromarray(RGB).save(tmp_path / "a.tif", tiffinfo={274: 3, 33550: (1.0, 1.0, 0.0)})
    with pytest.raises(ValueError, match=r"a.tif: a turned raster on the earth \(Orientation 3\)"):
        load(tmp_path / "a.tif")


def test_other_formats_of_gdal_hide_behind_no_name(tmp_path):
    """A VRT may name any file on the machine."""
    (tmp_path / "a.tif").write_text("<VRTDataset rasterXSize='4' rasterYSize='3'></VRTDataset>")
    with pytest.raises(ValueError, match="a.tif: expected the content that the name tells"):
        load(tmp_path / "a.tif")


@pytest.mark.parametrize("big_endian", [False, True])
@pytest.mark.parametrize("big", [False, True])
def test_both_byte_orders_and_both_sizes(tmp_path, big, big_endian):
    write_tiff(
        tmp_path / "a.tif", SLICES, description="ImageJ=1\nimages=8\nchannels=8\n", big=big, big_endian=big_endian
    )
    np.testing.assert_array_equal(load(tmp_path / "a.tif").numpy(), SLICES.transpose(0, 2, 1))
