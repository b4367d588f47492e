# SPDX-License-Identifier: Apache-2.0
"""TIFF and BigTIFF."""

from __future__ import annotations

import struct
from collections.abc import Iterator

from medwsss.study.integrity.blocks import DEFLATE, Mapped, blocks, check_size, fields, inflate

# field type: layout of one value
_LAYOUTS = {1: "B", 2: "c", 3: "H", 4: "I", 5: "2I", 6: "b", 7: "c", 8: "h", 9: "i", 10: "2i", 11: "f", 12: "d"}
_LAYOUTS |= {13: "I", 16: "Q", 17: "q", 18: "Q"}

_WIDTH, _HEIGHT, _BITS, _COMPRESSION, _PHOTOMETRIC, _SAMPLES, _PLANES, _SUBSAMPLING = (
    256,
    257,
    258,
    259,
    262,
    277,
    284,
    530,
)
_STRIPS, _STRIP_HEIGHT, _STRIP_SIZES = 273, 278, 279
_TILE_WIDTH, _TILE_HEIGHT, _TILES, _TILE_SIZES = 322, 323, 324, 325
_NONE, _LZW, _PACKBITS, _ZLIB, _ADOBE = 1, 5, 32773, 32946, 8  # compressions
_YCBCR = 6
_RATIOS = {_LZW: 2600, _PACKBITS: 64, _ZLIB: DEFLATE, _ADOBE: DEFLATE}  # bytes that one of compressed can stand for

Tags = dict[int, tuple[int, ...]]


def check_tiff(data: Mapped) -> None:
    """Pages that end, blocks within the file that can hold them, and the Adler-32 and the size of deflated ones.

    Other compressions and none have no checksum. Neither have tags: those that say how many pixels there are and
    where are held against the blocks, those that say what pixels mean (a predictor, a sign) and how much of the last
    tiles is padding can't be.
    """
    for tags in _pages(data):
        _check_page(data, tags)


def _pages(data: Mapped) -> Iterator[Tags]:
    order = {b"II": "<", b"MM": ">"}[data[:2]]
    big = fields(data, order + "H", 2) == (43,)
    counter, number, length = ("Q", "Q", 20) if big else ("H", "I", 12)  # of entries, of all else; bytes of an entry
    (at,) = fields(data, order + number, 8 if big else 4)
    seen: set[int] = set()
    while at or not seen:
        if at in seen or not at:
            raise ValueError(f"expected pages one after the other, got that at byte {at}")
        seen.add(at)
        (count,) = fields(data, order + counter, at)
        at += struct.calcsize(counter)
        (following,) = fields(data, order + number, at + count * length)
        tags: Tags = {}
        for entry in range(at, at + count * length, length):
            tag, kind, values = fields(data, f"{order}2H{number}", entry)
            tags.setdefault(tag, _values(data, order, number, kind, values, entry + length - struct.calcsize(number)))
        yield tags
        at = following


def _values(data: Mapped, order: str, number: str, kind: int, count: int, at: int) -> tuple[int, ...]:
    """Of an entry, which holds them or says where they are."""
    layout = _LAYOUTS.get(kind, "")
    size = struct.calcsize("=" + layout) * count
    if size > struct.calcsize(number):
        (at,) = fields(data, order + number, at)
    if at + size > len(data):
        raise ValueError(f"expected {size} bytes of a tag at {at}, got the end of the file at {len(data)}")
    return fields(data, order + layout * count, at) if layout in ("B", "H", "I", "Q") else ()


def _check_page(data: Mapped, tags: Tags) -> None:
    def one(tag: int, default: int = 0) -> int:
        return next(iter(tags.get(tag, ())), default)

    width, height, samples, compression = one(_WIDTH), one(_HEIGHT), one(_SAMPLES, 1), one(_COMPRESSION, _NONE)
    tiled = _TILE_WIDTH in tags
    across, down = (one(_TILE_WIDTH), one(_TILE_HEIGHT)) if tiled else (width, min(one(_STRIP_HEIGHT, height), height))
    starts, sizes = (tags.get(tag, ()) for tag in ((_TILES, _TILE_SIZES) if tiled else (_STRIPS, _STRIP_SIZES)))
    if not all((width, height, samples, across, down)):
        raise ValueError(f"expected sizes above 0, got {width} x {height} pixels in blocks of {across} x {down}")

    planes = samples if one(_PLANES, 1) == 2 else 1
    of_plane = -(-height // down) * -(-width // across)
    if not len(starts) == len(sizes) == planes * of_plane or not any(sizes):
        raise ValueError(f"expected {planes * of_plane} blocks of pixels, got {len(starts)} and {len(sizes)} sizes")
    bits = one(_BITS, 1) * samples // planes  # libtiff knows no samples of different bits
    # of YCbCr, pixels by twos or fours have one colour
    x, y = tags.get(_SUBSAMPLING, (2, 2)) if one(_PHOTOMETRIC) == _YCBCR and samples == 3 and planes == 1 else (1, 1)
    row = -(-across // x) * bits * (x * y + 2 if x * y > 1 else 1) // (3 if x * y > 1 else 1)
    for k, (start, size) in enumerate(zip(starts, sizes)):
        if not start and not size:
            continue  # GDAL's way to leave out what is nodata all over
        rows = down if tiled else min(down, height - k % of_plane * down)
        declared = -(-rows // y) * -(-row // 8)
        if start + size > len(data):
            raise ValueError(
                f"expected a block of pixels to byte {start + size}, got the end of the file at {len(data)}"
            )
        if declared > size * _RATIOS.get(compression, declared):
            raise ValueError(f"expected {declared} bytes of pixels in a block, got {size} that cannot hold them")
        if compression in (_ZLIB, _ADOBE):
            inflate(blocks(data, start, start + size), declared)
        elif compression == _NONE:
            check_size(size, declared, rows)
