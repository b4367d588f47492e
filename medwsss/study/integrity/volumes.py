# SPDX-License-Identifier: Apache-2.0
"""NIfTI, gzip and DICOM."""

from __future__ import annotations

import math
import zlib
from collections.abc import Iterable, Iterator

from monai.utils import optional_import

from medwsss.study.integrity.blocks import BLOCK, Mapped, blocks, check_size, fields

pydicom, has_pydicom = optional_import("pydicom")

_HEADER = 540  # bytes of the longer of the two kinds
# code of a data type: bits a voxel
_BITS = {2: 8, 4: 16, 8: 32, 16: 32, 32: 64, 64: 64, 128: 24, 256: 8, 512: 16, 768: 32, 1024: 64, 1280: 64}
_BITS |= {1536: 128, 1792: 128, 2048: 256, 2304: 32}

_PIXELS = (0x7FE00010, 0x7FE00008, 0x7FE00009)  # integers, floats, doubles
_ITEM, _END = (0xFFFE, 0xE000), (0xFFFE, 0xE0DD)
_UNDEFINED = 0xFFFFFFFF  # length: as many items as there are


def check_nifti(data: Mapped) -> None:
    """``.nii``: a header that is possible, and as many bytes of voxels as it declares."""
    _check_voxels(blocks(data, 0, len(data)))


def check_nifti_gzip(data: Mapped) -> None:
    """``.nii.gz``: both what :func:`check_nifti` and what :func:`check_gzip` looks at."""
    _check_voxels(_members(data))


def check_gzip(data: Mapped) -> None:
    """Every member to its CRC-32 and its length, and nothing but zeros after the last one."""
    for _ in _members(data):
        pass


def _members(data: Mapped) -> Iterator[bytes]:
    """What is in a gzip file, block by block, once its checksums have been seen to the end of the file."""
    at = 0
    while at < len(data):
        if at and not any(map(any, blocks(data, at, len(data)))):
            return  # zeros that fill a tape's or a disk's block
        stream = zlib.decompressobj(wbits=16 + zlib.MAX_WBITS)
        try:
            while not stream.eof:
                if not (part := data[at : at + BLOCK]):
                    raise ValueError("expected gzip data to its checksum, got an end before")
                at += len(part)
                while part and not stream.eof:
                    yield stream.decompress(part, BLOCK)
                    part = stream.unconsumed_tail
        except zlib.error as error:
            raise ValueError(
                f"expected gzip data that is whole, got {error} before byte {at} of {len(data)}"
            ) from error
        at -= len(stream.unused_data)


def _check_voxels(parts: Iterable[bytes]) -> None:
    """NIfTI, of which no more is kept than the header."""
    parts, head = iter(parts), b""
    while len(head) < _HEADER and (part := next(parts, None)) is not None:
        head += part
    start, declared, longest = _declared(head)
    length, zeros = len(head), True
    rest = head
    while True:
        if length > start + declared and zeros:
            zeros = not any(rest[max(0, len(rest) - (length - start - declared)) :])
        if length > start + 2 * declared:  # a bomb, whatever it is filled with
            break
        if (part := next(parts, None)) is None:
            break
        length, rest = length + len(part), part
    check_size(max(0, length - start), declared, longest, zeros)


def _declared(head: bytes) -> tuple[int, int, int]:
    """Where voxels begin, how many bytes they are, and the longest axis."""
    size = next((order + str(n) for order in "<>" for n in (348, 540) if fields(head, order + "i", 0) == (n,)), "")
    if size[1:] == "348":
        magic, dims = fields(head, "4s", 344)[0], fields(head, size[0] + "8h", 40)
        (kind, bits), (start,) = fields(head, size[0] + "2h", 70), fields(head, size[0] + "f", 108)
    elif size:
        magic, dims = fields(head, "4s", 4)[0], fields(head, size[0] + "8q", 16)
        (kind, bits), (start,) = fields(head, size[0] + "2h", 12), fields(head, size[0] + "q", 168)
    if not size or magic not in (b"n+1\0", b"n+2\0"):
        raise ValueError(f"expected the header of a NIfTI file, got {bytes(head[:4])!r}")
    axes = dims[1 : 1 + dims[0]]
    if not 1 <= dims[0] <= 7 or min(axes) < 1:
        raise ValueError(f"expected 1 to 7 axes of a size, got dim {list(dims)} in the header")
    if _BITS.get(kind) != bits:
        raise ValueError(f"expected a data type and its bits, got datatype {kind} and bitpix {bits} in the header")
    least = int(size[1:]) + 4  # flags of extensions
    if not math.isfinite(start) or start != int(start) or start < least:
        raise ValueError(f"expected vox_offset to be {least} or more, got {start} in the header")
    return int(start), math.prod(axes) * bits // 8, max(axes)


def check_dicom(data: Mapped) -> None:
    """Pixels as long as rows, columns, samples, frames and bits say, or all items of compressed ones.

    There is no checksum.
    """
    if not has_pydicom:  # then it will not be read either
        return
    dataset = pydicom.dcmread(data, defer_size=BLOCK)
    pixels = next((dataset.get_item(tag) for tag in _PIXELS if tag in dataset), None)
    if pixels is None:
        raise ValueError("expected pixel data, got none")
    frames, samples = int(dataset.get("NumberOfFrames") or 1), dataset.SamplesPerPixel
    if pixels.length == _UNDEFINED:
        _check_items(data, pixels.value_tell, frames)
        return
    if (end := pixels.value_tell + pixels.length) > len(data):
        raise ValueError(f"expected pixel data to byte {end}, got the end of the file at {len(data)}")
    if dataset.PhotometricInterpretation == "YBR_FULL_422":
        samples = 2  # colours are given for every other pixel
    bits = math.prod((dataset.Rows, dataset.Columns, samples, frames, dataset.BitsAllocated))
    declared = -(-bits // 8)
    padded = pixels.length == declared + declared % 2  # lengths are even
    check_size(declared if padded else pixels.length, declared, max(dataset.Rows, dataset.Columns))


def _check_items(data: Mapped, at: int, frames: int) -> None:
    count = -1  # the first one is a table
    while (item := fields(data, "<2H", at)) == _ITEM:
        at, count = at + 8 + fields(data, "<I", at + 4)[0], count + 1
    if item != _END or count < frames:
        raise ValueError(f"expected {frames} frames of compressed pixels and their end, got {count} at byte {at}")
