# SPDX-License-Identifier: Apache-2.0
"""PNG, JPEG and BMP."""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterator

from medwsss.study.integrity.blocks import Mapped, blocks, check_size, fields, inflate

# colour type of PNG: samples a pixel, bits a sample, whether a palette has to be there (None: may)
_PNG_TYPES: dict[int, tuple[int, tuple[int, ...], bool | None]] = {
    0: (1, (1, 2, 4, 8, 16), False),
    2: (3, (8, 16), None),
    3: (1, (1, 2, 4, 8), True),
    4: (2, (8, 16), False),
    6: (4, (8, 16), None),
}
_ADAM7 = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))

_MARKER = re.compile(rb"\xff[^\x00\xff\xd0-\xd7]")  # within coded data, where FF 00 is a value and D0 … D7 count
_FRAMES = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}
_START, _END, _SCAN = 0xD8, 0xD9, 0xDA


def check_png(data: Mapped) -> None:
    """Every chunk's CRC-32, the pixels to their Adler-32 and as many as the header declares, and the end."""
    kinds: set[bytes] = set()
    inflate(_pixels(data, kinds), _png_size(data))
    *_, colours, _, _, _ = fields(data, ">2I5B", 16)
    palette = _PNG_TYPES[colours][2]
    if palette is not None and palette != (b"PLTE" in kinds):
        raise ValueError(f"expected {'a' if palette else 'no'} palette for colour type {colours}, got the contrary")


def _pixels(data: Mapped, kinds: set[bytes]) -> Iterator[bytes]:
    """Compressed, from chunks whose checksums fit; notes which kinds of chunks there are."""
    at = 8  # after the signature
    while b"IEND" not in kinds:
        length, kind = fields(data, ">I4s", at)
        (checksum,) = fields(data, ">I", at + 8 + length)
        got = 0
        for block in blocks(data, at + 4, at + 8 + length):
            got = zlib.crc32(block, got)
        if got != checksum:
            raise ValueError(f"expected the checksum {checksum:08x}, got {got:08x} in the chunk {kind!r} at byte {at}")
        if kind == b"IDAT":
            yield from blocks(data, at + 8, at + 8 + length)
        kinds.add(kind)
        at += 12 + length
    if any(map(any, blocks(data, at, len(data)))):
        raise ValueError(f"expected the end at byte {at}, got {len(data) - at} bytes more")


def _png_size(data: Mapped) -> int:
    """Bytes of pixels, a byte before every row included."""
    first, width, height, bits, colours, _, _, interlaced = fields(data, ">4s2I5B", 12)
    samples, depths, _ = _PNG_TYPES.get(colours, (0, (), None))
    if first != b"IHDR" or bits not in depths or interlaced > 1 or not width or not height:
        raise ValueError(f"expected a header that is possible, got {data[12:29]!r}")
    passes = _ADAM7 if interlaced else ((0, 0, 1, 1),)
    sizes = [(-(-(width - x) // dx), -(-(height - y) // dy)) for x, y, dx, dy in passes]
    return sum(rows * (1 + -(-columns * bits * samples // 8)) for columns, rows in sizes if columns > 0 and rows > 0)


def check_jpeg(data: Mapped) -> None:
    """Segments one after the other from start to end, a frame with a size and its scans.

    There is no checksum, so values within a scan may be damaged. What follows the end is somebody else's, as phones
    put a second picture there.
    """
    at, size, scans = 2, (0, 0), 0
    while True:
        marker, code = fields(data, "2s", at)[0], data[at + 1]
        if marker == b"\xff\xff":  # fills
            at += 1
            continue
        if marker[:1] != b"\xff" or code in (0, _START):
            raise ValueError(f"expected a marker, got {marker!r} at byte {at}")
        if code == _END:
            break
        (length,) = fields(data, ">H", at + 2)
        if code in _FRAMES:
            size = fields(data, ">2H", at + 5)
        at += 2 + length
        if code == _SCAN:
            scans += 1
            if (found := _MARKER.search(data, at)) is None:
                raise ValueError("expected coded pixels up to an end marker, got the end of the file")
            at = found.start()
    if not all(size) or not scans:
        raise ValueError(f"expected a frame and its pixels, got size {size} and {scans} scans")


def check_bmp(data: Mapped) -> None:
    """As many bytes of pixels as width, height and depth say, and no fewer in all than declared.

    There is no checksum.
    """
    size, _, start, header = fields(data, "<4I", 2)
    width, height, _, bits = fields(data, "<4H" if header == 12 else "<2i2H", 18)  # 12: of OS/2
    runs = header >= 40 and fields(data, "<I", 30)[0] in (1, 2)
    if size > len(data) or not 14 + header <= start <= len(data):
        raise ValueError(f"expected {size} bytes and pixels from byte {start}, got {len(data)} bytes")
    if width <= 0 or not height or bits not in (1, 2, 4, 8, 16, 24, 32):
        raise ValueError(f"expected a header that is possible, got {width} x {height} pixels of {bits} bits")
    if not runs:
        declared = (width * bits + 31) // 32 * 4 * abs(height)
        end = len(data) if header <= 40 else min(len(data), start + declared)  # longer ones may have a colour profile
        zeros = not any(map(any, blocks(data, start + declared, end)))
        check_size(end - start, declared, abs(height), zeros)
