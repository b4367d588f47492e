# SPDX-License-Identifier: Apache-2.0
"""CHAOS: DICOM slices and PNG masks in the official layout, written here slice by slice."""

from __future__ import annotations

import re

import numpy as np
import pydicom
import pytest
from PIL import Image
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, MRImageStorage, generate_uid

from tests.data_prep import trees

SLICES, ROWS, COLUMNS = 4, 6, 5
GREYS = {"MR": [0, 63, 126, 189, 252], "CT": [0, 255]}
ACROSS, DOWN, NORMAL = np.array([0, 1.0, 0]), np.array([0, 0, -1.0]), np.array([-1.0, 0, 0])  # a sagittal stack
ORIGIN, STEP = np.array([10.0, -20, 30]), 6.0


def intensity(z, row, column):
    return 100 * z + 10 * row + column


def write_slice(path, z, slope=1, intercept=0):
    """Slice ``z`` along the normal; its stored values times slope plus intercept are :func:`intensity`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = MRImageStorage, generate_uid()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    data = FileDataset(str(path), {}, file_meta=meta, preamble=b"\0" * 128)
    data.SOPClassUID, data.SOPInstanceUID = MRImageStorage, meta.MediaStorageSOPInstanceUID
    data.ImageOrientationPatient = [*ACROSS, *DOWN]
    data.ImagePositionPatient = list(ORIGIN + z * STEP * NORMAL)
    data.PixelSpacing, data.SliceThickness = [1.5, 1.25], STEP  # rows apart, columns apart
    data.Rows, data.Columns, data.SamplesPerPixel = ROWS, COLUMNS, 1
    data.BitsAllocated = data.BitsStored = 16
    data.HighBit, data.PixelRepresentation, data.PhotometricInterpretation = 15, 1, "MONOCHROME2"
    data.RescaleSlope, data.RescaleIntercept = slope, intercept
    row, column = np.mgrid[:ROWS, :COLUMNS]
    data.PixelData = ((intensity(z, row, column) - intercept) // slope).astype("<i2").tobytes()
    data.save_as(path, enforce_file_format=True)


def mask(z, classes):
    row, column = np.mgrid[:ROWS, :COLUMNS]
    return (z + row + column) % classes


def write_mask(path, z, modality):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.array(GREYS[modality], np.uint8)[mask(z, len(GREYS[modality]))]).save(path)


@pytest.fixture
def source(tmp_path):
    """Two of twenty patients of each modality. Names run against the positions, as they do in some of the series."""
    root = tmp_path / "CHAOS/Train_Sets"
    for patient in ("1", "10"):
        for n in range(SLICES):
            z = SLICES - 1 - n
            write_slice(root / f"CT/{patient}/DICOM_anon/i{n:04d},0000b.dcm", z, intercept=-1024)
            write_mask(root / f"CT/{patient}/Ground/liver_GT_{n:03d}.png", z, "CT")
            for phase, shift in (("InPhase", 2), ("OutPhase", 1)):
                write_slice(root / f"MR/{patient}/T1DUAL/DICOM_anon/{phase}/IMG-0004-{2 * n + shift:05d}.dcm", z)
            write_mask(root / f"MR/{patient}/T1DUAL/Ground/IMG-0004-{2 * n + 2:05d}.png", z, "MR")
            write_slice(root / f"MR/{patient}/T2SPIR/DICOM_anon/IMG-0002-{n + 1:05d}.dcm", z)
            write_mask(root / f"MR/{patient}/T2SPIR/Ground/IMG-0002-{n + 1:05d}.png", z, "MR")
    return tmp_path / "CHAOS"


@pytest.mark.parametrize("series, classes", [("T1-in", 5), ("T1-out", 5), ("T2", 5), ("CT", 2)])
def test_slices_lie_where_their_headers_say_with_their_masks(source, tmp_path, series, classes):
    content = trees.convert("chaos", source, tmp_path / "output", "--series", series, "--partial")
    assert content["num_classes"] == classes and content["labels"]["1"] == "liver"
    assert len(content["training"]) == len(content["validation"]) == 1
    item = content["training"][0]
    image, affine = trees.load(tmp_path / "output" / item["image"])
    labels, label_affine = trees.load(tmp_path / "output" / item["label"])
    np.testing.assert_array_equal(affine, label_affine)
    assert image.shape == (COLUMNS, ROWS, SLICES) and image.dtype == np.int16
    for column, row, z in np.ndindex(image.shape):
        assert image[column, row, z] == intensity(z, row, column)
        assert labels[column, row, z] == mask(z, classes)[row, column]
        # DICOM C.7.6.2.1.1, then x and y change their sign
        position = ORIGIN + ACROSS * 1.25 * column + DOWN * 1.5 * row + z * STEP * NORMAL
        np.testing.assert_allclose(affine[:3] @ [column, row, z, 1], position * [-1, -1, 1])


def test_masks_in_black_and_white_and_in_grey_rgb(source, tmp_path):
    """The same masks with one bit a pixel, and with the grey three times."""
    trees.convert("chaos", source, tmp_path / "grey", "--series", "CT", "--partial")
    for path in (source / "Train_Sets/CT").glob("*/Ground/*.png"):
        picture = Image.open(path)
        picture.convert("RGB" if path.name.endswith("0.png") else "1").save(path)
    trees.convert("chaos", source, tmp_path / "others", "--series", "CT", "--partial")
    assert trees.digest(tmp_path / "grey/labels") == trees.digest(tmp_path / "others/labels")


def test_what_is_missing_is_named(source, tmp_path, capsys):
    assert trees.run("chaos", source, tmp_path / "output") == 1
    assert "expected 20 cases, got 2" in capsys.readouterr().err


def remove_mask(folder):
    (folder / "Ground/IMG-0002-00002.png").unlink()


def remove_slice(folder):
    (folder / "DICOM_anon/IMG-0002-00002.dcm").unlink()
    (folder / "Ground/IMG-0002-00002.png").unlink()


def other_grey(folder):
    path = folder / "Ground/IMG-0002-00002.png"
    Image.fromarray(np.full((ROWS, COLUMNS), 70, np.uint8)).save(path)


def other_size(folder):
    for path in (folder / "Ground").iterdir():
        Image.fromarray(np.zeros((COLUMNS, ROWS), np.uint8)).save(path)


def no_place(folder):
    data = pydicom.dcmread(folder / "DICOM_anon/IMG-0002-00002.dcm")
    del data.PixelSpacing
    data.save_as(folder / "DICOM_anon/IMG-0002-00002.dcm")


def no_dicom(folder):
    (folder / "DICOM_anon/IMG-0002-00002.dcm").write_bytes(b"not found")


def no_picture(folder):
    (folder / "Ground/IMG-0002-00002.png").write_bytes(b"not found")


def coloured(folder):
    """Whose luminance would be 63, the liver's grey."""
    colour = np.full((ROWS, COLUMNS, 3), (0, 107, 0), np.uint8)
    Image.fromarray(colour).save(folder / "Ground/IMG-0002-00002.png")


def cut_short(folder):
    path = folder / "DICOM_anon/IMG-0002-00002.dcm"
    path.write_bytes(path.read_bytes()[:-20])


def damage(folder):
    trees.flip(next((folder / "Ground").iterdir()), -20)  # of the end's or of the pixels' checksum


@pytest.mark.parametrize(
    "break_it, message",
    [
        (damage, r"got a damaged file .*\.png: expected the checksum"),
        (remove_mask, "a mask a slice, got 3 for 4"),
        (remove_slice, r"evenly spaced slices, got distances \[.*12.*\]"),
        (other_grey, r"got 70 \(30 voxels\)"),
        (other_size, r"shape \(6, 5\) of the first slice, got \(5, 6\) in .*Ground/IMG-0002-00001.png"),
        (cut_short, "MR_1: .*a damaged file .*IMG-0002-00002.dcm: expected pixel data to byte"),
        (no_place, "MR_1: expected a DICOM slice, got AttributeError in .*IMG-0002-00002.dcm: .*PixelSpacing"),
        (no_dicom, "MR_1: expected a DICOM slice, got InvalidDicomError in .*IMG-0002-00002.dcm"),
        (coloured, "MR_1: expected one channel of labels, got 3 in .*Ground/IMG-0002-00002.png"),
        (no_picture, "MR_1: .*Ground/IMG-0002-00002.png"),
    ],
)
def test_bad_input(source, tmp_path, capsys, break_it, message):
    break_it(source / "Train_Sets/MR/1/T2SPIR")
    assert trees.run("chaos", source, tmp_path / "output", "--partial") == 1
    error = capsys.readouterr().err
    assert re.search(message, error), error


def test_a_real_slice_reads_in_hounsfield_units(shared_data, source, tmp_path):
    """pydicom's CT_small: stored values minus 1024."""
    real = shared_data / "odd_files/dicom/CT_small.dcm"
    root = source / "Train_Sets/CT/1"
    for path in [*(root / "DICOM_anon").iterdir(), *(root / "Ground").iterdir()]:
        path.unlink()
    (root / "DICOM_anon/i0000,0000b.dcm").write_bytes(real.read_bytes())
    Image.fromarray(np.full((128, 128), 255, np.uint8)).save(root / "Ground/liver_GT_000.png")
    trees.convert("chaos", source, tmp_path / "output", "--series", "CT", "--partial")
    image, affine = trees.load(tmp_path / "output/images/CT_1.nii.gz")
    data = pydicom.dcmread(real)
    np.testing.assert_array_equal(image[..., 0], data.pixel_array.T - 1024)
    np.testing.assert_allclose(np.linalg.norm(affine[:3, :3], axis=0), [*data.PixelSpacing[::-1], data.SliceThickness])
