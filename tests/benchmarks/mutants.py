# SPDX-License-Identifier: Apache-2.0
"""Small valid files of every format that is read, and damage to them. Formats are taken apart by other libraries.

What of a file is guarded, so that no damage there may change a voxel in silence, is known by its format: all of a
format whose checksums cover all; in a deflated TIFF all but the tags that say what pixels mean; nothing where there are
no checksums. Files that are cut short or longer, and headers that declare another size, have to be seen everywhere but
:attr:`Sample.lies_seen` says that nobody can.
"""

from __future__ import annotations

import gzip
import io
import re
import struct
import warnings
import zipfile
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pydicom
import rasterio
import tifffile
from PIL import Image
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, RLELossless, generate_uid

ROWS, COLUMNS = 17, 24
SHAPE = (13, 11, 5)
HEAD = 360  # bytes where headers are, which every other flip meets
NASTY = (0, 1, 2, 3, 7, 255, 256, 4096, 32767, 65535, 2**31 - 1, 2**32 - 1)
#: tags of TIFF that say how many pixels there are, and where
LAYOUT = (256, 257, 258, 259, 273, 277, 278, 279, 284, 322, 323, 324, 325)

Lie = Callable[[np.random.Generator, bytes], bytes]


@dataclass
class Sample:
    """A valid file.

    Args:
        name: of the file.
        data: its bytes.
        guarded: of each byte, whether damage to it has to be seen.
        lie: puts a wrong size into a header, and mends checksums of the header.
        lies_seen: whether the format can tell.
    """

    name: str
    data: bytes
    guarded: np.ndarray
    lie: Lie
    lies_seen: bool


def pick(rng: np.random.Generator, values: Sequence[Any]) -> Any:
    """One of them."""
    return values[int(rng.integers(len(values)))]


def patch(data: bytes, layout: str, at: int, value: float) -> bytes:
    """With another number at a place; what the layout cannot hold wraps."""
    if layout[-1] not in "fd":
        layout = layout[:-1] + layout[-1].upper()
        value = int(value) % 256 ** struct.calcsize(layout)
    return data[:at] + struct.pack(layout, value) + data[at + struct.calcsize(layout) :]


def lie_nifti(order: str) -> Lie:
    """Sizes that aren't the voxels', types of another width, voxels elsewhere."""

    def lie(rng: np.random.Generator, data: bytes) -> bytes:
        kind, axis = pick(rng, ("axes", "dim", "dim", "type", "bits", "start", "all")), int(rng.integers(3))
        if kind == "axes":
            return patch(data, order + "h", 40, pick(rng, (0, 1, 2, -1, 8, 100)))
        if kind == "dim":
            size = SHAPE[axis]
            value = pick(rng, (0, -1, -size, 1, size - 1, size + 1, 2 * size, 32767, -32768))
            return patch(data, order + "h", 42 + 2 * axis, value)
        if kind == "type":
            code, bits = pick(rng, ((2, 8), (16, 32), (64, 64), (1536, 128), (0, 0), (1, 1), (999, 16), (4, 32)))
            return patch(patch(data, order + "h", 70, code), order + "h", 72, bits)
        if kind == "bits":
            return patch(data, order + "h", 72, pick(rng, (0, 8, 32, 64, -16)))
        if kind == "all":
            return data[:42] + struct.pack(order + "3h", 32767, 32767, 32767) + data[48:]
        starts = (0, 16, 336, 368, -352, 1e9, float("nan"), float("inf"), 3e38, 353, 352.5)
        return patch(data, order + "f", 108, pick(rng, starts))

    return lie


def zipped(lie: Lie) -> Lie:
    """A lie inside a gzip file, whose checksum fits again."""
    return lambda rng, data: gzip.compress(lie(rng, gzip.decompress(data)), 1, mtime=0)


def lie_png(rng: np.random.Generator, data: bytes) -> bytes:
    """Other width, height, depth, colours or interlacing with a checksum that fits, or another length of a chunk."""
    if rng.random() < 0.3:
        at, places = 8, []
        while at < len(data):
            places.append(at)
            at += 12 + int.from_bytes(data[at : at + 4], "big")
        return patch(data, ">I", pick(rng, places), pick(rng, NASTY))
    at, layout, values = pick(
        rng,
        (
            (16, ">I", (0, 1, 8, COLUMNS - 8, COLUMNS + 8, 2 * COLUMNS, 65535, 2**31 - 1)),
            (20, ">I", (0, 1, ROWS - 1, ROWS + 1, 2 * ROWS, 65535, 2**31 - 1)),
            (24, "B", (0, 1, 2, 4, 8, 16, 32)),
            (25, "B", (0, 1, 2, 3, 4, 6)),
            (28, "B", (1, 2)),
        ),
    )
    lied = patch(data, layout, at, pick(rng, values))
    return patch(lied, ">I", 29, zlib.crc32(lied[12:29]))


def lie_jpeg(rng: np.random.Generator, data: bytes) -> bytes:
    """Another size of the frame or length of a segment."""
    frame = data.index(b"\xff\xc0")
    at = pick(rng, (frame + 5, frame + 7, *(m.start() + 2 for m in re.finditer(rb"\xff[\xe0\xdb\xc0\xc4\xda]", data))))
    return patch(data, ">H", at, pick(rng, NASTY))


def lie_bmp(rng: np.random.Generator, data: bytes) -> bytes:
    """Other sizes."""
    at, layout, values = pick(
        rng,
        (
            (2, "<I", (len(data) + 1, 2**31)),
            (10, "<I", (0, 14, 50, 2**31, len(data))),
            (18, "<i", (0, -1, 1, COLUMNS - 4, COLUMNS + 4, 2**31 - 1)),
            (22, "<i", (0, 1, ROWS - 1, ROWS + 1, 2**31 - 1, -(2**31))),
            (28, "<H", (0, 1, 3, 4, 16, 32, 64)),
        ),
    )
    return patch(data, layout, at, pick(rng, values))


def lie_npy(rng: np.random.Generator, data: bytes) -> bytes:
    """Another shape or a type of another width, in a header of the same length."""
    end = data.index(b"\n")
    header = data[:end]
    new = pick(rng, (b"99", b"10", b"12", b"14", b"-3", b"00"))
    changed = pick(rng, (header.replace(b"13", new, 1), header.replace(b"11", new, 1), header.replace(b"f4", b"f8")))
    return changed + data[end:]


def lie_npz(rng: np.random.Generator, data: bytes) -> bytes:
    """The same within an archive whose checksums fit; or another size in its directory."""
    if rng.random() < 0.3:
        directory = data.index(b"PK\1\2")
        return patch(data, "<I", pick(rng, (directory + 20, directory + 24, directory + 42)), pick(rng, NASTY))
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        array = lie_npy(rng, archive.read("arr_0.npy"))
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("arr_0.npy", array)
    return buffer.getvalue()


def lie_tiff(tags: Sequence[int]) -> Lie:
    """Another value or count of one of the tags, an impossible number of tags, or a page that is its own next."""

    def lie(rng: np.random.Generator, data: bytes) -> bytes:
        with tifffile.TiffFile(io.BytesIO(data)) as file:
            page, order, big = file.pages[0], file.byteorder, file.is_bigtiff
            number, start = "Q" if big else "I", page.offset
            chosen = page.tags[pick(rng, [tag for tag in tags if tag in page.tags])]
            entries = len(page.tags)
        kind = pick(rng, ("value", "value", "value", "count", "entries", "next"))
        if kind == "entries":
            return patch(data, order + ("Q" if big else "H"), start, pick(rng, (0, 1, 5, 1000, 65535)))
        if kind == "next":
            end = start + (8 + 20 * entries if big else 2 + 12 * entries)
            return patch(data, order + number, end, pick(rng, (start, 2**31, len(data) - 4)))
        if kind == "count":
            return patch(data, order + number, chosen.offset + 4, pick(rng, (0, 1000, 2**31, 2**32 - 1)))
        value = pick(rng, (0, -1, 2**31, 2**16 - 1, 4096, 3))
        return patch(data, order + {3: "H", 4: "I", 16: "Q"}[int(chosen.dtype)], chosen.valueoffset, value)

    return lie


def lie_dicom(rng: np.random.Generator, data: bytes) -> bytes:
    """Other rows, columns, samples, frames or bits, or another length of the pixels."""
    if rng.random() < 0.3:
        return patch(data, "<I", data.index(b"\xe0\x7f\x10\x00") + 8, pick(rng, [v for v in NASTY if v != 816]))
    dataset = pydicom.dcmread(io.BytesIO(data))
    key, values = pick(
        rng,
        (
            ("Rows", (0, 1, ROWS - 1, ROWS + 1, 65535)),
            ("Columns", (0, 1, COLUMNS - 1, COLUMNS + 1, 65535)),
            ("NumberOfFrames", (2, 1000, 2**31 - 1)),
            ("BitsAllocated", (8, 32, 64)),
            ("SamplesPerPixel", (0, 2, 3, 65535)),
        ),
    )
    setattr(dataset, key, pick(rng, values))
    buffer = io.BytesIO()
    dataset.save_as(buffer)
    return buffer.getvalue()


def tiff(array: np.ndarray, **options: Any) -> bytes:
    """By GDAL, bands first."""
    bands, rows, columns = array.shape
    with warnings.catch_warnings(), rasterio.MemoryFile() as memory:
        warnings.simplefilter("ignore")
        with memory.open(driver="GTiff", width=columns, height=rows, count=bands, dtype=array.dtype, **options) as file:
            file.write(array)
        memory.seek(0)
        return bytes(memory.read())


def guarded_tiff(data: bytes) -> np.ndarray:
    """All but the tags that say what pixels mean, and how many of the last tiles' are padding."""
    guarded = np.ones(len(data), bool)
    with tifffile.TiffFile(io.BytesIO(data)) as file:
        for page in file.pages:
            for tag in page.tags.values():
                if int(tag.code) not in LAYOUT or (page.is_tiled and int(tag.code) in (256, 257)):
                    guarded[tag.offset : tag.offset + (20 if file.is_bigtiff else 12)] = False
                    guarded[tag.valueoffset : tag.valueoffset + tag.valuebytecount] = False
    return guarded


def dicom(array: np.ndarray, compress: bool) -> bytes:
    """A slice of CT."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.TransferSyntaxUID = CTImageStorage, ExplicitVRLittleEndian
    meta.MediaStorageSOPInstanceUID = generate_uid(entropy_srcs=["a"])
    dataset = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    dataset.SOPClassUID, dataset.SOPInstanceUID = CTImageStorage, meta.MediaStorageSOPInstanceUID
    dataset.Rows, dataset.Columns = array.shape
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = 16, 16, 15, 0
    dataset.ImagePositionPatient, dataset.ImageOrientationPatient = [0, 0, 0], [1, 0, 0, 0, 1, 0]
    dataset.PixelSpacing, dataset.InstanceNumber = [1, 1], 1
    dataset.PixelData = array.tobytes()
    if compress:
        dataset.compress(RLELossless, generate_instance_uid=False)
    buffer = io.BytesIO()
    dataset.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


def samples(seed: int = 0) -> dict[str, Sample]:
    """By format."""
    rng = np.random.default_rng(seed)
    volume = rng.integers(-1000, 1000, SHAPE).astype(np.int16)
    volume[..., -1] = 0  # as in label maps, whose last slices are empty
    grey = rng.integers(0, 256, (ROWS, COLUMNS)).astype(np.uint8)
    colour = rng.integers(0, 256, (ROWS, COLUMNS, 3)).astype(np.uint8)
    deep, floats = rng.integers(0, 65536, (ROWS, COLUMNS)).astype(np.uint16), rng.random(SHAPE).astype(np.float32)
    bands = rng.integers(0, 4000, (4, 50, 40)).astype(np.uint16)
    palette = Image.fromarray(grey % 16).convert("P")
    found: dict[str, Sample] = {}

    def add(kind: str, ending: str, data: bytes, guarded: Any, lie: Lie, lies_seen: bool = True) -> None:
        found[kind] = Sample("a" + ending, data, np.broadcast_to(guarded, len(data)), lie, lies_seen)

    def picture(image: Image.Image, kind: str, **options: Any) -> bytes:
        buffer = io.BytesIO()
        image.save(buffer, kind, **options)
        return buffer.getvalue()

    for name, order in (("little", "<"), ("big", ">")):
        header = nib.Nifti1Header(endianness=order)
        header.set_data_dtype(volume.dtype)
        nifti = nib.Nifti1Image(volume, np.eye(4), header).to_bytes()
        add(f"NIfTI, {name} endian", ".nii", nifti, False, lie_nifti(order))
        add(f"NIfTI, {name} endian, gzip", ".nii.gz", gzip.compress(nifti, mtime=0), True, zipped(lie_nifti(order)))
    members = b"".join(gzip.compress(part, mtime=0) for part in (nifti[:900], nifti[900:]))
    add("NIfTI, gzip of two members", ".nii.gz", members, True, zipped(lie_nifti(order)))

    pictures = {"grey": Image.fromarray(grey), "RGB": Image.fromarray(colour), "palette": palette}
    pictures |= {"16 bits": Image.fromarray(deep), "1 bit": Image.fromarray(grey > 99)}
    for name, image in pictures.items():
        add(f"PNG, {name}", ".png", picture(image, "PNG"), True, lie_png)
    for name in ("grey", "RGB"):
        add(f"JPEG, {name}", ".jpg", picture(pictures[name], "JPEG"), False, lie_jpeg, False)
        add(f"BMP, {name}", ".bmp", picture(pictures[name], "BMP"), False, lie_bmp)

    layout = [tag for tag in LAYOUT if tag not in (284, 259)]
    sizes = [tag for tag in layout if tag not in (273, 324)]  # pixels may lie elsewhere in the file
    places = [273, 324, 279, 325]
    for name, lied, options in (
        ("uncompressed", sizes, {}),
        ("uncompressed, big endian", sizes, {"ENDIANNESS": "BIG"}),
        ("deflate", layout, {"compress": "deflate"}),
        ("deflate, predictor", layout, {"compress": "deflate", "predictor": 2}),
        ("deflate, tiles", layout, {"compress": "deflate", "tiled": True, "blockxsize": 16, "blockysize": 16}),
        ("deflate, planes", layout, {"compress": "deflate", "interleave": "band", "blockysize": 8}),
        ("deflate, BigTIFF", layout, {"compress": "deflate", "BIGTIFF": "YES", "blockysize": 8}),
        ("LZW", places, {"compress": "lzw"}),
        ("LZW, tiles", places, {"compress": "lzw", "tiled": True, "blockxsize": 16, "blockysize": 16}),
    ):
        data = tiff(bands, **options)
        add(
            f"TIFF, {name}",
            ".tif",
            data,
            guarded_tiff(data) if "deflate" in name else False,
            lie_tiff(lied),
            lied != places,
        )

    for kind, ending, save, guarded, lie in (
        ("NPY", ".npy", np.save, False, lie_npy),
        ("NPZ", ".npz", np.savez_compressed, True, lie_npz),
    ):
        buffer = io.BytesIO()
        save(buffer, floats)
        add(kind, ending, buffer.getvalue(), guarded, lie)
    add("DICOM", ".dcm", dicom(deep, False), False, lie_dicom)
    add("DICOM, RLE", ".dcm", dicom(deep, True), False, lie_dicom, False)
    return found


def mutant(sample: Sample, rng: np.random.Generator) -> tuple[str, bytes, bool]:
    """What was done, the damaged file, and whether that has to be seen if it changes a voxel."""
    data = sample.data
    kind = pick(rng, ("flip", "flip", "flip", "zero", "copy", "insert", "cut", "longer", "lie", "lie"))
    if kind == "lie":
        return kind, sample.lie(rng, data), sample.lies_seen
    if kind == "cut":
        return kind, data[: int(rng.integers(len(data)))], True
    if kind == "longer":
        more = bytes(int(rng.integers(1, 5000)))
        return kind, data + (more if rng.random() < 0.5 else rng.bytes(len(more))), True
    size = int(rng.integers(1, max(2, min(512, len(data) // 4))))
    start, source = (int(at) for at in rng.integers(0, len(data) - size, 2))
    block = data[source : source + size]
    if kind == "flip":
        damaged, end = bytearray(data), pick(rng, (HEAD, len(data)))
        for _ in range(int(rng.integers(1, 5))):
            damaged[int(rng.integers(min(end, len(data))))] ^= 1 << int(rng.integers(8))
        new = bytes(damaged)
    elif kind == "insert":
        new = data[:start] + block + data[start:]
    else:
        new = data[:start] + (bytes(size) if kind == "zero" else block) + data[start + size :]
    changed = np.frombuffer(new[: len(data)], np.uint8) != np.frombuffer(data, np.uint8)
    return kind, new, bool((changed & sample.guarded).any())


def write(sample: Sample, data: bytes, folder: Path, index: int) -> Path:
    """The mutant under a name of its own."""
    path = folder / f"{index}{sample.name[1:]}"
    path.write_bytes(data)
    return path
