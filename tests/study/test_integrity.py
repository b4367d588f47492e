# SPDX-License-Identifier: Apache-2.0
"""Files that are whole pass, damaged ones are refused by name before anything decodes or allocates."""

from __future__ import annotations

import binascii
import gzip
import io
import struct
import tracemalloc
import zipfile
import zlib

import nibabel as nib
import numpy as np
import pytest
from PIL import Image

from medwsss.study.integrity import verify
from medwsss.study.readers import loader

VOXELS = np.arange(1, 61, dtype=np.int16).reshape(3, 4, 5)
GREY = np.arange(6 * 9, dtype=np.uint8).reshape(6, 9)


def refused(path, data, told=""):
    path.write_bytes(data)
    with pytest.raises(
        ValueError, match=f"^expected a readable image, got a damaged file .*{path.name}: .*{told}"
    ) as info:
        verify(path)
    assert str(info.value).endswith("get it again") and "\n" not in str(info.value)


def whole(path, data):
    path.write_bytes(data)
    verify(path)


def nifti(order="<", voxels=VOXELS):
    header = nib.Nifti1Header(endianness=order)
    header.set_data_dtype(voxels.dtype)
    return nib.Nifti1Image(voxels, np.eye(4), header).to_bytes()


def patched(data, layout, at, value):
    return data[:at] + struct.pack(layout, value) + data[at + struct.calcsize(layout) :]


# gzip -----------------------------------------------------------------------------------------------------------------


def member(data):
    """Stored, with the head and the end that RFC 1952 describes."""
    block = b"\x01" + struct.pack("<2H", len(data), len(data) ^ 0xFFFF) + data
    return b"\x1f\x8b\x08" + bytes(6) + b"\xff" + block + struct.pack("<2I", binascii.crc32(data), len(data))


def test_gzip_to_its_real_end(tmp_path):
    path, data = tmp_path / "a.nii.gz", nifti()
    whole(path, member(data))
    whole(path, member(data[:99]) + member(b"") + member(data[99:]) + bytes(512))  # members, and what fills a block
    broken = bytearray(member(data))
    broken[-20] ^= 1  # of a voxel
    refused(path, bytes(broken), "incorrect data check")
    refused(path, member(data)[:-8] + bytes(4) + member(data)[-4:], "incorrect data check")
    refused(path, member(data)[:-1] + b"\x01", "incorrect length check")
    refused(path, member(data)[:-3], "an end before")
    refused(path, member(data) + b"garbage", "incorrect header check")
    refused(path, member(data[:99]) + member(data[99:-2]), "120 bytes of voxels as the header declares, got 118")
    refused(path, data, "incorrect header check")  # not compressed at all
    refused(path, b"", "an empty file")


def test_other_gzip_by_its_checksum_alone(tmp_path):
    whole(tmp_path / "a.txt.gz", gzip.compress(b"no image"))
    refused(tmp_path / "a.txt.gz", gzip.compress(b"no image")[:-1])


# NIfTI ----------------------------------------------------------------------------------------------------------------

LIES = {
    "no axes": ("h", 40, 0, "1 to 7 axes"),
    "eight axes": ("h", 40, 8, "1 to 7 axes"),
    "an axis of none": ("h", 44, 0, "1 to 7 axes of a size"),
    "an axis below none": ("h", 44, -4, "1 to 7 axes of a size"),
    "a longer axis": ("h", 44, 5, "150 bytes of voxels .* got 120"),
    "a shorter axis": ("h", 46, 4, "96 bytes of voxels .* got 120"),
    "one axis fewer": ("h", 40, 2, "24 bytes of voxels"),
    "a type nobody knows": ("h", 70, 999, "datatype 999"),
    "a type of another width": ("h", 70, 64, "datatype 64 and bitpix 16"),
    "other bits": ("h", 72, 8, "datatype 4 and bitpix 8"),
    "voxels within the header": ("f", 108, 336.0, "vox_offset"),
    "voxels before the file": ("f", 108, -352.0, "vox_offset"),
    "voxels nowhere": ("f", 108, float("nan"), "vox_offset"),
    "voxels after the file": ("f", 108, 1e9, "120 bytes of voxels"),
}


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("kind", LIES)
def test_nifti_headers_that_lie(tmp_path, kind, order):
    layout, at, value, told = LIES[kind]
    lie = patched(nifti(order), order + layout, at, value)
    refused(tmp_path / "a.nii", lie, told)
    refused(tmp_path / "a.nii.gz", gzip.compress(lie), told)


def test_nifti_of_each_kind(tmp_path):
    for order in "<>":
        whole(tmp_path / "a.nii", nifti(order))
        for kind in (np.uint8, np.uint16, np.int32, np.float64, np.complex64):
            whole(tmp_path / "a.nii", nifti(order, VOXELS.astype(kind)))
    whole(tmp_path / "A.NII", nib.Nifti2Image(VOXELS, np.eye(4)).to_bytes())
    extended = nib.Nifti1Image(VOXELS, np.eye(4))
    extended.header.extensions.append(nib.nifti1.Nifti1Extension("comment", b"made by hand" * 99))
    whole(tmp_path / "a.nii", extended.to_bytes())
    refused(tmp_path / "a.nii", nifti()[:-1], "120 bytes of voxels .* got 119")


def test_what_may_follow_the_voxels(tmp_path):
    whole(tmp_path / "a.nii", nifti() + bytes(16))
    refused(tmp_path / "a.nii", nifti() + b"\1" * 16, "got 136")
    refused(tmp_path / "a.nii", nifti() + bytes(24), "got 144")  # a slice: 3 x 4 voxels of 2 bytes, if empty


def test_a_lie_costs_no_memory(tmp_path):
    lie = nifti()[:42] + struct.pack("<3h", 32767, 32767, 32767) + nifti()[48:]  # 64 TiB
    bomb = nifti() + bytes(64 << 20)
    tracemalloc.start()
    try:
        refused(tmp_path / "a.nii.gz", gzip.compress(lie), "expected 70362301923326 bytes of voxels")
        refused(tmp_path / "b.nii.gz", gzip.compress(bomb, 1), "120 bytes of voxels")
        tracemalloc.reset_peak()
        with pytest.raises(ValueError):
            verify(tmp_path / "b.nii.gz")
        assert tracemalloc.get_traced_memory()[1] < 4 << 20
    finally:
        tracemalloc.stop()


# PNG ------------------------------------------------------------------------------------------------------------------


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", binascii.crc32(kind + data))


END = chunk(b"IEND", b"")


def png(width=4, height=2, bits=8, colours=0, interlaced=0, pixels=b"\0\1\2\3\4" * 2, more=b"", end=END):
    header = struct.pack(">2I5B", width, height, bits, colours, 0, 0, interlaced)
    data = pixels if pixels[:1] == b"\x78" else zlib.compress(pixels)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + more + chunk(b"IDAT", data) + end


def test_png_of_each_kind(tmp_path):
    whole(tmp_path / "a.png", png())
    whole(tmp_path / "a.png", png(bits=1, pixels=b"\0\xf0" * 2))
    whole(tmp_path / "a.png", png(bits=16, colours=6, pixels=(b"\0" + bytes(4 * 8)) * 2))
    whole(tmp_path / "a.png", png(colours=3, more=chunk(b"PLTE", bytes(15))))
    # interlaced, 4 x 2: passes 1, 4, 6 and 7 have 1, 1, 2 and 4 pixels, a byte before each row
    whole(tmp_path / "a.png", png(interlaced=1, pixels=b"\0\1" + b"\0\1" + b"\0\1\2" + b"\0\1\2\3\4"))
    whole(tmp_path / "jpeg_that_is.jpg", png() + bytes(7))
    half = zlib.compress(b"\0\1\2\3\4" * 2)
    split = png().replace(
        chunk(b"IDAT", half), chunk(b"IDAT", half[:3]) + chunk(b"IDAT", b"") + chunk(b"IDAT", half[3:])
    )
    whole(tmp_path / "a.png", split)
    assert loader()(tmp_path / "a.png").numpy()[0].T.tolist() == [[1, 2, 3, 4]] * 2


@pytest.mark.parametrize(
    "data, told",
    [
        (png()[:-1], "the end of the file"),
        (png(end=b""), "the end of the file"),
        (png() + b"more", "4 bytes more"),
        (png().replace(b"IDAT", b"IDAt"), "checksum"),
        (patched(png(), ">I", 8, 2**31), "the end of the file"),
        (png(pixels=zlib.compress(b"\0\1\2\3\4" * 2)[:-1] + b"\0"), "incorrect data check"),  # the chunk's own fits
        (png(pixels=zlib.compress(b"\0\1\2\3\4" * 2)[:-4]), "to its checksum"),
        (png(width=5), "12 bytes, got 10"),
        (png(height=1), "5 bytes, got more"),
        (png(width=2**31 - 1, height=2**31 - 1), "got 10"),
        (png(pixels=bytes(1 << 24)), "10 bytes, got more"),
        (png(width=0), "a header that is possible"),
        (png(bits=3), "a header that is possible"),
        (png(colours=3), "a palette"),
        (png(more=chunk(b"PLTE", bytes(15))), "no palette"),
        (b"\x89PNg" + png()[4:], "content that the name tells"),
    ],
)
def test_damaged_png(tmp_path, data, told):
    refused(tmp_path / "a.png", data, told)


# JPEG and BMP ---------------------------------------------------------------------------------------------------------


def picture(kind, mode="L", **options):
    buffer = io.BytesIO()
    Image.fromarray(GREY).convert(mode).save(buffer, kind, **options)
    return buffer.getvalue()


def test_jpeg(tmp_path):
    path, data = tmp_path / "a.jpg", picture("JPEG")
    whole(path, data)
    whole(path, picture("JPEG", "RGB", progressive=True, restart_marker_blocks=1))
    whole(path, data + picture("JPEG"))  # a phone's second picture
    for end in range(0, len(data), 7):
        refused(path, data[:end])
    refused(path, data[:-2] + bytes(2), "end marker")
    refused(path, data[:2] + b"\0\0" + data[2:], "a marker")
    refused(path, patched(data, ">H", data.index(b"\xff\xc0") + 5, 0), "size")
    refused(path, b"\xff\xd8\xff\xd9", "0 scans")


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB"])
def test_bmp(tmp_path, mode):
    path, data = tmp_path / "a.bmp", picture("BMP", mode)
    whole(path, data)
    for at, layout, value in (
        (2, "<I", len(data) + 1),
        (10, "<I", 2**31),
        (18, "<i", 99),
        (22, "<i", -7),
        (28, "<H", 5),
    ):
        refused(path, patched(data, layout, at, value))
    refused(path, data[:-1])
    refused(path, patched(data[:-1], "<I", 2, len(data) - 1), "bytes of voxels")


# TIFF -----------------------------------------------------------------------------------------------------------------


def tiff(order="<", big=False, width=4, height=2, compression=1, pixels=b"\1\2\3\4" * 2, start=8, following=0, more=()):
    """One strip of grey pixels, by the specification; the tags come last."""
    number, head = ("Q", 16) if big else ("I", 8)
    start = head if start == 8 else start
    entries = [(256, 4, width), (257, 4, height), (258, 3, 8), (259, 3, compression), (262, 3, 1)]
    entries += [(273, 4, start), (277, 3, 1), (278, 4, height), (279, 4, len(pixels)), *more]
    page = struct.pack(order + ("Q" if big else "H"), len(entries))
    for tag, kind, value in sorted(entries):
        inline = struct.pack(order + {3: "H", 4: "I"}[kind], value).ljust(8 if big else 4, b"\0")
        page += struct.pack(order + "2H" + number, tag, kind, 1) + inline
    at = head + len(pixels)
    page += struct.pack(order + number, at if following == "itself" else following)
    name = b"II" if order == "<" else b"MM"
    magic = struct.pack(order + "3HQ", 43, 8, 0, at) if big else struct.pack(order + "HI", 42, at)
    return name + magic + pixels + page


DEFLATED = zlib.compress(b"\1\2\3\4" * 2)


@pytest.mark.parametrize("big", [False, True])
@pytest.mark.parametrize("order", "<>")
def test_tiff_of_each_kind(tmp_path, order, big):
    for options in ({}, {"compression": 8, "pixels": DEFLATED}, {"compression": 32946, "pixels": DEFLATED}):
        whole(tmp_path / "a.tif", tiff(order, big, **options))
        if not big:
            assert np.asarray(Image.open(tmp_path / "a.tif")).tolist() == [[1, 2, 3, 4]] * 2


@pytest.mark.parametrize(
    "options, told",
    [
        ({"compression": 8, "pixels": DEFLATED[:-1] + b"\0"}, "incorrect data check"),
        ({"compression": 8, "pixels": DEFLATED[:-2]}, "to its checksum"),
        ({"compression": 8, "pixels": DEFLATED, "width": 5}, "10 bytes, got 8"),
        ({"compression": 8, "pixels": DEFLATED, "height": 1}, "4 bytes, got more"),
        ({"compression": 8, "pixels": DEFLATED, "width": 2**31, "height": 2**31}, "cannot hold"),
        ({"compression": 8, "pixels": zlib.compress(bytes(1 << 24))}, "8 bytes, got more"),
        ({"compression": 5, "pixels": bytes(9), "width": 2**20}, "cannot hold"),
        ({"width": 5}, "10 bytes of voxels"),
        ({"height": 1}, "4 bytes of voxels"),
        ({"height": 0}, "sizes above 0"),
        ({"start": 2**31}, "the end of the file"),
        ({"following": "itself"}, "one after the other"),
        ({"following": 2**31}, "the end of the file"),
        ({"more": [(322, 3, 16), (323, 3, 16)]}, "blocks of pixels, got 0"),
    ],
)
def test_damaged_tiff(tmp_path, options, told):
    refused(tmp_path / "a.tif", tiff(**options), told)


def test_tiff_without_pages_or_cut(tmp_path):
    refused(tmp_path / "a.tif", b"II*\0" + bytes(4), "pages")
    for end in range(0, len(tiff()) - 1, 5):
        refused(tmp_path / "a.tif", tiff()[:end])


@pytest.mark.parametrize("compress", ["deflate", "lzw", "packbits", "zstd", "jpeg", None])
@pytest.mark.parametrize("interleave", ["pixel", "band"])
@pytest.mark.parametrize("tiled", [False, True])
def test_what_gdal_writes(tmp_path, compress, interleave, tiled):
    rasterio = pytest.importorskip("rasterio")
    options = {"tiled": True, "blockxsize": 16, "blockysize": 32} if tiled else {"blockysize": 8}
    bands = np.arange(3 * 50 * 40).reshape(3, 50, 40).astype(np.uint8 if compress == "jpeg" else np.uint16)
    with rasterio.open(
        tmp_path / "a.tif",
        "w",
        "GTiff",
        40,
        50,
        3,
        dtype=bands.dtype,
        compress=compress,
        interleave=interleave,
        **options,
    ) as file:
        file.write(bands)
        file.build_overviews([2, 4])
    verify(tmp_path / "a.tif")


def test_blocks_that_gdal_leaves_out(tmp_path):
    rasterio = pytest.importorskip("rasterio")
    options = {"tiled": True, "blockxsize": 16, "blockysize": 16, "SPARSE_OK": True, "compress": "deflate"}
    with rasterio.open(tmp_path / "a.tif", "w", "GTiff", 64, 64, 1, dtype="uint8", nodata=0, **options) as file:
        file.write(np.ones((1, 16, 16), np.uint8), window=((0, 16), (0, 16)))
    verify(tmp_path / "a.tif")


# arrays ---------------------------------------------------------------------------------------------------------------


def npy(array):
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=True)
    return buffer.getvalue()


def test_npy(tmp_path):
    path, data = tmp_path / "a.npy", npy(VOXELS)
    whole(path, data)
    whole(path, npy(np.asfortranarray(VOXELS.astype(">f8"))))
    refused(path, data[:-1], "120 bytes of voxels .* got 119")
    refused(path, data + b"\1", "got 121")
    refused(path, data.replace(b"(3, 4, 5)", b"(9, 9, 9)"), "1458 bytes")
    refused(path, data.replace(b"(3, 4, 5)", b"(3,-4, 5)"), "of shape")
    refused(path, npy(np.array([{"a": 1}], object)), "numbers, got object")
    refused(path, data.replace(b"NUMPY\1", b"NUMPY\7"), "version")
    refused(path, b"no array", "content that the name tells")


def npz(content, name="arr_0.npy"):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr(name, content)
    return buffer.getvalue()


def test_npz(tmp_path):
    path, data = tmp_path / "a.npz", npz(npy(VOXELS))
    whole(path, data)
    broken = bytearray(data)
    broken[data.index(b"\x93NUMPY") + 150] ^= 1
    refused(path, bytes(broken), "Bad CRC-32")
    refused(path, data[:-30])
    refused(path, npz(npy(VOXELS)[:-2]), "120 bytes of voxels .* got 118")
    refused(path, npz(npy(np.array([{"a": 1}], object))), "numbers, got object")


def test_hdf5(tmp_path):
    h5py = pytest.importorskip("h5py")
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        file.create_dataset("a", data=VOXELS, chunks=(1, 4, 5), fletcher32=True)
        file.create_dataset("group/b", data=5)
    data = path.read_bytes()
    whole(path, data)
    at = data.index(VOXELS[2].tobytes())
    refused(path, data[:at] + b"\xff" + data[at + 1 :])
    refused(path, data[:-9], "truncated")


# DICOM ----------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def slices():
    pytest.importorskip("pydicom")
    from tests.benchmarks.mutants import dicom

    pixels = np.arange(17 * 24, dtype=np.uint16).reshape(17, 24)
    return {compress: dicom(pixels, compress) for compress in (False, True)}


def test_dicom(tmp_path, slices):
    path, data = tmp_path / "no_ending", slices[False]
    whole(path, data)
    whole(path, b"II*\0" + data[4:])  # a preamble that makes it a TIFF for others
    refused(path, data[:-1], "got the end of the file")
    rows = data.index(b"\x28\0\x10\0US") + 8
    refused(path, patched(data, "<H", rows, 18), "864 bytes of voxels .* got 816")
    refused(path, data[: data.index(b"\xe0\x7f\x10\0")], "pixel data, got none")
    whole(path, slices[True])
    refused(path, slices[True][:-8])


def test_a_folder_of_dicom(tmp_path, slices):
    whole(tmp_path / "a.dcm", slices[False])
    verify(tmp_path)
    (tmp_path / "b.dcm").write_bytes(slices[False][:-1])
    with pytest.raises(ValueError, match="b.dcm"):
        verify(tmp_path)


# doors ----------------------------------------------------------------------------------------------------------------


def test_others_pass_and_missing_ones_are_named(tmp_path):
    whole(tmp_path / "a.json", b"{}")
    whole(tmp_path / "photo.jpg", b"RIFF\x10\0\0\0WEBPVP8 ")  # what the web calls .jpg
    with pytest.raises(ValueError, match="readable file, got .*No such file.*none.png"):
        verify(tmp_path / "none.png")


def test_readers_look_first(tmp_path):
    broken = bytearray(gzip.compress(nifti(), mtime=0))
    broken[-5] ^= 1  # of the checksum, where nibabel never gets
    (tmp_path / "a.nii.gz").write_bytes(bytes(broken))
    with pytest.raises(ValueError, match="got a damaged file .*a.nii.gz"):
        loader()(tmp_path / "a.nii.gz")
