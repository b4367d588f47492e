# SPDX-License-Identifier: Apache-2.0
"""Uncompressed TIFF byte by byte, for what no library writes."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from pathlib import Path

import numpy as np


def write_tiff(
    path: Path,
    pages: Sequence[np.ndarray],
    description: str = "",
    photometric: int = 1,
    resolution: tuple[int, int] | None = None,
    reduced: Sequence[int] = (),
    big: bool = False,
    big_endian: bool = False,
) -> None:
    """Pages ``rows × columns`` of 8 bits, one strip each.

    Args:
        path: of the file.
        pages: in order.
        description: of the first page.
        photometric: PhotometricInterpretation.
        resolution: pixels a unit along columns and rows.
        reduced: numbers of the pages that are smaller copies.
        big: BigTIFF.
        big_endian: Motorola's byte order.
    """
    order = ">" if big_endian else "<"
    offset, count, entry = ("Q", "Q", "HHQ8s") if big else ("I", "H", "HHI4s")
    wide = struct.calcsize(offset)

    def pack(form: str, *values: object) -> bytes:
        return struct.pack(order + form, *values)

    head = (b"MM" if big_endian else b"II") + pack("H", 43 if big else 42) + (pack("HH", 8, 0) if big else b"")
    body = bytearray(head + bytes(wide))
    link = len(head)  # where the next directory's place is to be written
    for number, page in enumerate(pages):
        pixels = len(body)
        body += np.ascontiguousarray(page, np.uint8).tobytes()
        entries = [
            (254, 4, pack("I", int(number in reduced))),
            (256, 4, pack("I", page.shape[1])),
            (257, 4, pack("I", page.shape[0])),
            (258, 3, pack("H", 8)),
            (259, 3, pack("H", 1)),
            (262, 3, pack("H", photometric)),
            (273, 16 if big else 4, pack(offset, pixels)),
            (277, 3, pack("H", 1)),
            (278, 4, pack("I", page.shape[0])),
            (279, 16 if big else 4, pack(offset, page.size)),
        ]
        if description and number == 0:
            entries.append((270, 2, description.encode() + b"\0"))
        if resolution:
            entries += [(282 + k, 5, pack("II", value, 1)) for k, value in enumerate(resolution)]
        sizes = {2: 1, 3: 2, 4: 4, 5: 8, 16: 8}
        directory = pack(count, len(entries))
        for tag, kind, value in sorted(entries):
            number_of = len(value) // sizes[kind]
            if len(value) > wide:
                place, body = len(body), body + value
                value = pack(offset, place)
            directory += pack(entry, tag, kind, number_of, value.ljust(wide, b"\0"))
        body[link : link + wide] = pack(offset, len(body))
        body += directory
        link = len(body)
        body += bytes(wide)
    path.write_bytes(body)
