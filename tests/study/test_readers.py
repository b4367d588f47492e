# SPDX-License-Identifier: Apache-2.0
"""Readers: odd files are read as their description and other libraries say, or refused with the reason."""

from __future__ import annotations

import re
import zlib

import nibabel as nib
import numpy as np
import pytest
from monai.transforms import LoadImage, LoadImaged
from PIL import Image

from medwsss.study.readers import StudyReader, rasters

load = LoadImage(reader=StudyReader(), ensure_channel_first=True)

# file: channels and axes, smallest and largest value (None: NaN), voxel sizes, of which the first axes' signs
ODD = {
    "nifti/example4d.nii.gz": ((2, 128, 96, 24), (0, 1162), (2, 2, 2.2)),
    "nifti/example_nifti2.nii.gz": ((2, 32, 20, 12), (46, 757), (2, 2, 2.2)),
    "nifti/functional.nii": ((20, 17, 21, 3), (629.826, 5571.62), (4, 4, 8)),  # scaled by slope and intercept
    "nifti/anatomical.nii": ((1, 33, 41, 25), (-610, 30393), (2, 2, 2)),
    "nifti/anatomical_label.nii.gz": ((1, 33, 41, 25), (0, 1), (2, 2, 2)),
    "nifti/reoriented_anat_moved.nii": ((1, 21, 26, 22), (0, 21199.936), (4, 4, 4)),
    "nifti/example_ct_sm.nii.gz": ((1, 122, 101, 30), (-1100, 1207), (3, 3, 3)),
    "nifti/example_ct_sm_T300_output.nii.gz": ((1, 122, 101, 30), (0, 1), (3, 3, 3)),
    "nifti/hippocampus_118.nii.gz": ((1, 37, 52, 33), (1, 168), (1, 1, 1)),
    "nifti/mscmr_subject43_DE_slices6-8.nii.gz": ((1, 480, 480, 3), (0, 2792), (0.73, 0.73, 5)),
    "nifti/mscmr_subject43_DE_manual_slices6-8.nii.gz": ((1, 480, 480, 3), (0, 3), (0.73, 0.73, 5)),
    "dicom/examples_rgb_color.dcm": ((3, 320, 240), (0, 255), None),  # colours are channels, not a third axis
    "dicom/CT_small.dcm": ((1, 128, 128), (-896, 1167), (0.661, 0.661)),  # stored 128..2191, intercept -1024
    "tiff/RGBA.uint16.tif": (
        (3, 634, 411),
        (10000, 10000),
        (1.38, 1.379),
    ),  # its fourth band is alpha: half are missing
    "tiff/rotated.tif": ((1, 10, 15), (0, 149), (20, 10)),
    "tiff/float_nan.tif": ((1, 3, 2), None, (100, 100)),
    "tiff/float_raster_with_nodata.tif": ((1, 13, 12), (0, 0.25), (500, 500)),
    "tiff/goes.tif": ((3, 542, 542), (0, 198), (20054.96, 20054.96)),
    "tiff/all-nodata.tif": ((4, 71, 2475), None, (3, 3)),
}
REFUSED = {
    "dicom/MR_truncated.dcm": "damaged file .*MR_truncated.dcm: expected pixel data to byte 9692, got the end",
    "tiff/corrupt.tif": "damaged file .*corrupt.tif: expected a block of pixels to byte 307086, got the end",
}


def odd(shared_data, name):
    file = shared_data / "odd_files" / name
    if not file.exists():
        pytest.skip(f"needs the real file {file}")
    return file


def test_every_odd_file_is_here(shared_data):
    folder = odd(shared_data, "README.md").parent
    files = {str(f.relative_to(folder)) for kind in ("nifti", "dicom", "tiff") for f in folder.glob(f"{kind}/*")}
    assert files == {*ODD, *REFUSED}


@pytest.mark.parametrize("name", ODD)
def test_odd_files_are_read(shared_data, name):
    shape, extent, sizes = ODD[name]
    image = load(odd(shared_data, name))
    assert image.shape == shape
    if extent is None:
        assert image.isnan().any()
    else:
        there = image[~image.isnan()]
        assert [float(there.min()), float(there.max())] == pytest.approx(extent, rel=1e-5)
    assert image.isnan().any() == ("void" in image.meta)
    assert image.meta["placed"] == (name != "dicom/examples_rgb_color.dcm")  # which says nothing about its place
    if sizes is not None:
        columns = np.linalg.norm(image.affine.numpy()[:3, : len(sizes)], axis=0)
        assert columns == pytest.approx(sizes, rel=0.01)
    if name.startswith("nifti"):
        assert image.affine.numpy() == pytest.approx(nib.load(odd(shared_data, name)).affine, abs=1e-4)


@pytest.mark.parametrize("name", REFUSED)
def test_odd_files_are_refused_with_the_reason(shared_data, name):
    with pytest.raises(ValueError, match=REFUSED[name]):
        load(odd(shared_data, name))


def test_raster_axes_bands_nodata_and_geotransform(tmp_path):
    rasterio = pytest.importorskip("rasterio")
    bands = np.arange(2 * 3 * 4, dtype=np.int16).reshape(2, 3, 4)  # two bands of three rows of four
    transform = rasterio.transform.Affine(30, 0, 500, 0, -30, 900)
    with rasterio.open(
        tmp_path / "a.tif", "w", "GTiff", 4, 3, 2, dtype="int16", transform=transform, nodata=-9, crs="EPSG:32633"
    ) as raster:
        raster.write(bands)
    image = load(tmp_path / "a.tif")
    assert (image.numpy() == bands.swapaxes(1, 2)).all() and image.meta["nodata_value"] == -9
    assert image.meta["crs"] == "EPSG:32633" and image.meta["unit"] == "m"
    assert image.affine.tolist() == [[30, 0, 0, 500], [0, -30, 0, 900], [0, 0, 1, 0], [0, 0, 0, 1]]
    assert load([tmp_path / "a.tif"] * 2).shape == (4, 4, 3)  # several files: all their bands


def test_without_rasterio_the_message_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setattr(rasters, "has_rasterio", False)
    Image.fromarray(GREY).save(tmp_path / "a.tif")
    with pytest.raises(ValueError, match=r"a.tif: a TIFF needs rasterio: pip install rasterio"):
        load(tmp_path / "a.tif")


def sixteen_bit_png(path):
    """Pillow cannot write one: two pixels of 3 x 16 bits."""

    def chunk(kind, data):
        return len(data).to_bytes(4, "big") + kind + data + zlib.crc32(kind + data).to_bytes(4, "big")

    header = (2).to_bytes(4, "big") + (1).to_bytes(4, "big") + bytes([16, 2, 0, 0, 0])
    pixels = zlib.compress(b"\0" + np.array([1, 2, 3, 60000, 2, 1], ">u2").tobytes())
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b""))


GREY = np.array([[0, 1, 2], [3, 4, 5]], np.uint8)  # two rows of three


def test_pictures_run_along_rows_first(tmp_path):
    Image.fromarray(GREY).save(tmp_path / "a.png")
    image = load(tmp_path / "a.png")
    assert (image.numpy() == GREY.T[None]).all() and not image.meta["placed"]


def test_a_palette_is_read_as_indices(tmp_path):
    picture = Image.fromarray(GREY).convert("P")
    picture.putdata(GREY.ravel().tolist())
    picture.putpalette([200 - k for k in range(3 * 6)])
    picture.save(tmp_path / "a.png")
    image = load(tmp_path / "a.png")
    assert (image.numpy() == GREY.T[None]).all() and image.meta["mode"] == "P"


def test_a_photo_is_turned_as_it_is_displayed(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # turn a quarter clockwise to display
    Image.fromarray(np.repeat(GREY[..., None] * 40, 3, -1)).save(tmp_path / "a.png", exif=exif)
    assert (load(tmp_path / "a.png").numpy()[0] == np.rot90(GREY * 40, -1).T).all()


def test_printers_colours_become_rgb(tmp_path):
    Image.new("CMYK", (4, 2), (0, 255, 255, 0)).save(tmp_path / "a.jpg")
    image = load(tmp_path / "a.jpg")
    assert image.shape == (3, 4, 2)
    assert image[:, 0, 0].numpy() == pytest.approx([255, 0, 0], abs=8)


def faded(mode):
    """Four columns that get more and more opaque, the last two wholly."""
    picture = Image.new(mode, (4, 2), (9,) * len(mode))
    picture.putalpha(Image.fromarray(np.array([[0, 3, 255, 255]] * 2, np.uint8)))
    return picture


def rgb24(path):
    save_nifti(path, np.zeros((2, 2, 2), [("R", "u1"), ("G", "u1"), ("B", "u1")]))


def save_nifti(path, array, affine=None):
    nib.save(nib.Nifti1Image(array, np.eye(4) if affine is None else affine), path)


def not_finite(path):
    save_nifti(path, np.ones((2, 2, 2), np.uint8), np.diag([1, 1, 1, 1.0]))
    header = bytearray(path.read_bytes())
    header[280:284] = np.float32(np.nan).tobytes()  # srow_x[0]
    path.write_bytes(header)


def animation(path):
    Image.fromarray(GREY).save(path, save_all=True, append_images=[Image.fromarray(GREY + 1)])


def pickled(path):
    np.save(path, np.array([{"a": 1}], dtype=object), allow_pickle=True)


@pytest.mark.parametrize(
    "name, write, told",
    [
        ("a.png", lambda path: faded("RGBA").save(path), "an alpha channel of 2 values from 3 to 255"),
        ("b.tif", lambda path: faded("LA").save(path), "an alpha channel of 2 values from 3 to 255"),
        ("c.png", sixteen_bit_png, "16 bits a colour"),
        ("d.npy", pickled, "expected numbers, got object"),
        ("e.txt", lambda path: path.write_text("no image"), "text, no image"),
        ("g.seg.nrrd", lambda path: path.write_bytes(b"NRRD0005"), "3D Slicer's format): convert it to NIfTI"),
        ("h.mgz", lambda path: path.write_bytes(b"\x1f\x8b"), "nibabel.save(nibabel.load(file), 'name.nii.gz')"),
        ("i", lambda path: path.write_bytes(b"\x89HDF"), "HDF5 by its first bytes"),
        ("j.foo", lambda path: path.write_bytes(b""), "expected an image, got an empty file"),
        ("k.png", lambda path: path.write_bytes(b"GIF89a"), "cannot identify image file"),
        ("l.nii", rgb24, "colours (RGB) in each voxel"),
        ("m.nii.gz", lambda path: save_nifti(path, np.ones((2, 2, 2), np.complex64)), "complex numbers in each voxel"),
        ("n.nii", lambda path: save_nifti(path, np.ones((2, 2, 2, 3, 2))), "the shape (2, 2, 2, 3, 2)"),
        ("q.npy", lambda path: np.save(path, np.ones((2, 2), np.complex64)), "complex numbers"),
        ("o.nii", not_finite, "an affine that is not finite"),
        ("p.png", animation, "an animation of 2 frames"),
        ("f.nii.gz", lambda path: path.write_bytes(b"\x1f\x8b broken"), "expected gzip data that is whole"),
    ],
)
def test_refused_with_the_file_and_the_reason(tmp_path, name, write, told):
    write(tmp_path / name)
    with pytest.raises(ValueError, match=f"expected a readable image, .*{name}: .*{re.escape(told)}"):
        load(tmp_path / name)


def test_trailing_axes_of_one_are_no_axes_and_a_vector_is_channels(tmp_path):
    """ITK writes the components of a vector as the fifth axis behind a time of one."""
    save_nifti(tmp_path / "a.nii", np.arange(8.0).reshape(2, 2, 2, 1))
    save_nifti(tmp_path / "b.nii", np.arange(16.0).reshape(2, 2, 2, 1, 2))
    assert load(tmp_path / "a.nii").shape == (1, 2, 2, 2)
    assert (load(tmp_path / "b.nii").numpy() == np.moveaxis(np.arange(16.0).reshape(2, 2, 2, 2), 3, 0)).all()


def test_a_header_that_scales_says_so(tmp_path):
    image = nib.Nifti1Image(np.array([[[0.0, 1, 2]]]), np.eye(4))
    image.set_data_dtype(np.uint8)  # nibabel stores 0 … 255 of it
    nib.save(image, tmp_path / "a.nii")
    save_nifti(tmp_path / "b.nii", np.zeros((2, 2, 2), np.uint8))
    assert load(tmp_path / "a.nii").meta["scl_slope"] == pytest.approx(2 / 255)
    assert "scl_slope" not in load(tmp_path / "b.nii").meta and load(tmp_path / "b.nii").meta.get("unit") is None


def dicom(path, pixels, **told):
    """A file of 16 bits that says what is ``told``."""
    pydicom = pytest.importorskip("pydicom")
    meta = pydicom.dataset.FileMetaDataset()
    meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    meta.MediaStorageSOPClassUID = meta.MediaStorageSOPInstanceUID = pydicom.uid.generate_uid(entropy_srcs=["a"])
    dataset = pydicom.dataset.FileDataset(str(path), {}, file_meta=meta, preamble=bytes(128))
    dataset.Rows, dataset.Columns, dataset.SamplesPerPixel = *pixels.shape, 1
    dataset.BitsAllocated = dataset.BitsStored = 16
    dataset.HighBit, dataset.PixelRepresentation, dataset.PhotometricInterpretation = 15, 1, "MONOCHROME2"
    dataset.PixelSpacing, dataset.ImagePositionPatient = [1, 1], [0, 0, 0]
    dataset.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    for name, value in told.items():
        setattr(dataset, name, value)
    dataset.PixelData = pixels.astype("<i2").tobytes()
    dataset.save_as(path, enforce_file_format=True)


def test_dicom_is_known_by_its_content_and_its_padding_is_missing(tmp_path):
    pixels = np.array([[-2000, 0, 40], [1000, -1999, 7]])
    scale = {"RescaleSlope": 1.5, "RescaleIntercept": -1024}
    dicom(tmp_path / "IM0001", pixels, PixelPaddingValue=-2000, PixelPaddingRangeLimit=-1999, **scale)
    image = load(tmp_path / "IM0001")
    expected = np.where(pixels < -1500, np.nan, pixels * 1.5 - 1024)
    np.testing.assert_array_equal(image.numpy()[0], expected.T)
    assert image.meta["void"] == "pixel padding -2000" and image.meta["unit"] == "mm"


def test_dicom_whose_lowest_number_is_white_is_turned_over(tmp_path):
    pixels = np.array([[0, 4095, 7]])
    told = {"PhotometricInterpretation": "MONOCHROME1", "PixelRepresentation": 0, "BitsStored": 12, "HighBit": 11}
    dicom(tmp_path / "a.dcm", pixels, **told)
    assert load(tmp_path / "a.dcm").flatten().tolist() == [4095, 0, 4088]


def test_a_series_that_lacks_a_slice_is_refused(tmp_path):
    for k in (0, 1, 2, 4):
        dicom(
            tmp_path / f"{k}",
            np.full((2, 3), k),
            ImagePositionPatient=[0, 0, 2.5 * k],
            SeriesInstanceUID="1.2",
            InstanceNumber=k,
        )
    with pytest.raises(ValueError, match="not evenly spaced, from 2.5 to 5 mm"):
        load(tmp_path)
    (tmp_path / "4").unlink()
    assert load(tmp_path)[0, 0, 0].tolist() == [0, 1, 2]


@pytest.mark.parametrize("bits", [1, 2, 4])
def test_grey_levels_of_few_bits_are_the_numbers_that_are_stored(tmp_path, bits):
    levels = np.arange(2**bits, dtype=np.uint8)
    rows = np.packbits(np.unpackbits(levels[:, None], axis=1)[:, -bits:].ravel()).tobytes()

    def chunk(kind, data):
        return len(data).to_bytes(4, "big") + kind + data + zlib.crc32(kind + data).to_bytes(4, "big")

    header = len(levels).to_bytes(4, "big") + (1).to_bytes(4, "big") + bytes([bits, 0, 0, 0, 0])
    chunks = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0" + rows)) + chunk(b"IEND", b"")
    (tmp_path / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n" + chunks)
    assert load(tmp_path / "a.png").flatten().tolist() == levels.tolist()


def test_usable_in_a_bundle_by_its_name(tmp_path):
    np.save(tmp_path / "a.npy", GREY.astype(np.float32))
    loader = LoadImaged(["image"], reader="medwsss.study.readers.StudyReader", ensure_channel_first=True)
    assert loader({"image": tmp_path / "a.npy"})["image"].shape == (1, 2, 3)
