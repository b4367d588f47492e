# SPDX-License-Identifier: Apache-2.0
"""What the formats share: numbers out of bytes, zlib streams, and how much may follow the voxels."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterable, Iterator
from mmap import mmap
from typing import Any

BLOCK = 1 << 18  # bytes that are held at a time
DEFLATE = 1032  #: that deflate can shrink by, at most


class Mapped(mmap):
    """The bytes of a file, which are on disk until they are looked at; a file, too, where a library wants one."""

    def seekable(self) -> bool:
        """Before Python 3.13 only this tells."""
        return True


def fields(data: Mapped | bytes, layout: str, at: int) -> tuple[Any, ...]:
    """Numbers at a place, as ``struct`` names them.

    Raises:
        ValueError: beyond the end of the file.
    """
    size = struct.calcsize(layout)
    if not 0 <= at <= len(data) - size:
        raise ValueError(f"expected {size} bytes at {at}, got the end of the file at {len(data)}")
    return struct.unpack_from(layout, data, at)


def blocks(data: Mapped, start: int, end: int) -> Iterator[bytes]:
    """A part of the file, piece by piece."""
    return (data[at : min(at + BLOCK, end)] for at in range(start, end, BLOCK))


def inflate(parts: Iterable[bytes], size: int) -> None:
    """Read a zlib stream to its checksum, and no further than the size that is declared.

    Raises:
        ValueError: for a stream that is damaged, cut short, or inflates to another size.
    """
    stream, length = zlib.decompressobj(), 0
    for part in parts:
        while not stream.eof and length <= size:
            inflated = stream.decompress(part, BLOCK)
            length, part = length + len(inflated), stream.unconsumed_tail
            if not inflated and not part:
                break
    if length != size:
        raise ValueError(f"expected compressed data of {size} bytes, got {'more' if length > size else length}")
    if not stream.eof:
        raise ValueError("expected compressed data to its checksum, got an end before")


def check_size(got: int, declared: int, longest: int, zeros: bool = True) -> None:
    """Raise ``ValueError`` for fewer bytes of voxels than declared, or more than what pads a file.

    That is zeros, fewer than ``longest``, the largest axis, would need if it or any other were one longer: what else
    is in excess may be voxels that the header keeps quiet about.
    """
    if got < declared or (got - declared) * longest >= max(declared, 1) or (got > declared and not zeros):
        raise ValueError(f"expected {declared} bytes of voxels as the header declares, got {got}")
