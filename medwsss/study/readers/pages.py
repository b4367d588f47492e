# SPDX-License-Identifier: Apache-2.0
"""What a TIFF's tags say beside GDAL: which way up it is, and what its pages are."""

from __future__ import annotations

import json
import re
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from monai.config import PathLike

# Numbers of tags
_WIDTH, _HEIGHT, _BITS, _COMPRESSION, _PHOTOMETRIC = 256, 257, 258, 259, 262
_DESCRIPTION, _ORIENTATION, _SAMPLES = 270, 274, 277
_X_RESOLUTION, _Y_RESOLUTION, _GEO_KEYS, _GEO_TRANSFORM = 282, 283, 34735, (33550, 33922, 34264)
_TYPES = {2: "s", 3: "H", 4: "I", 5: "II", 12: "d", 16: "Q"}  # of values that are looked at, for struct
_LONGEST = 2**24  # bytes of a value
_UNITS = {"micron": "um", "µm": "um", "\\u00B5m": "um", "pixel": "voxel"}


@dataclass(frozen=True)
class Tags:
    """Of a TIFF's first page, and what it says about all of them; the defaults are those of a plain picture."""

    bits: int = 8
    compression: int = 1
    photometric: int = 1
    orientation: int = 1
    on_earth: bool = False  #: whether it has a geotransform or a reference system
    counts: Mapping[str, int] = field(default_factory=dict)  #: pages along C, Z and T, fastest first; {}: nothing tells
    voxel_size: tuple[float, float, float] | None = None  #: along columns, rows and pages, in ``unit``
    unit: str = "voxel"


def read_tags(path: PathLike) -> Tags:
    """The tags of a TIFF's first page."""
    tags = _first_directory(path)
    text = tags.get(_DESCRIPTION, b"").rstrip(b"\0").decode("utf-8", "replace")
    counts, size, unit = _of_imagej(text, tags) if text.startswith("ImageJ=") else _of_ome(text)
    if text.startswith('{"shape"'):
        counts = _of_tifffile(text, tags)
    return Tags(
        bits=int(np.min(tags.get(_BITS, 1))),
        compression=int(np.min(tags.get(_COMPRESSION, 1))),
        photometric=int(np.min(tags.get(_PHOTOMETRIC, 1))),
        orientation=int(np.min(tags.get(_ORIENTATION, 1))),
        on_earth=_GEO_KEYS in tags or any(tag in tags for tag in _GEO_TRANSFORM),
        counts=counts,
        voxel_size=size,
        unit=_UNITS.get(unit, unit),
    )


def arranged(pages: Sequence[tuple[np.ndarray, np.ndarray]], tags: Tags) -> tuple[np.ndarray, np.ndarray]:
    """Bands and where they are there, ``bands × rows × columns`` a page, as ``channels (× pages) × rows × columns``.

    Pages that nothing is said about are slices, as in every program that shows them.

    Raises:
        ValueError: for pages of several sizes, other pages than were announced, points in time of a volume, and pages
            on the earth.
    """
    shapes = sorted({bands.shape for bands, _ in pages})
    if len(shapes) > 1:
        raise ValueError(f"pages of several sizes, {shapes} (bands, rows, columns): save each as a file")
    counts = tags.counts or {"C": 1, "Z": len(pages), "T": 1}
    if (expected := counts["C"] * counts["Z"] * counts["T"]) != len(pages):
        raise ValueError(f"{len(pages)} pages where its description announces {expected}: save it as a plain stack")
    if len(pages) > 1 and tags.on_earth:
        raise ValueError(f"{len(pages)} pages on the earth: save each as a file, or as bands of one")
    if counts["T"] > 1 and counts["Z"] > 1:
        raise ValueError(f"{counts['T']} points in time of a volume: save each as a file")
    slowest_first = list(counts)[::-1]
    order = [slowest_first.index("C"), 3, slowest_first.index("T"), slowest_first.index("Z"), 4, 5]
    thick = [len(pages) // counts["C"]] if len(pages) > counts["C"] else []
    arrays = []
    for part in zip(*pages):
        stack = np.stack(part).reshape(*(counts[axis] for axis in slowest_first), *part[0].shape).transpose(order)
        arrays.append(stack.reshape(counts["C"] * len(part[0]), *thick, *part[0].shape[1:]))
    return arrays[0], arrays[1]


def _of_imagej(text: str, tags: Mapping[int, Any]) -> tuple[dict[str, int], Any, str]:
    told = dict(line.split("=", 1) for line in text.splitlines() if "=" in line)
    counts = {axis: int(told.get(name, 1)) for axis, name in zip("CZT", ("channels", "slices", "frames"))}
    images = int(told.get("images", 1))
    if np.prod(list(counts.values())) != images:
        counts = {"C": 1, "Z": images, "T": 1}
    size = None
    if "spacing" in told and _X_RESOLUTION in tags and _Y_RESOLUTION in tags:
        (across, per_across), (down, per_down) = tags[_X_RESOLUTION], tags[_Y_RESOLUTION]
        if across and down and float(told["spacing"]):
            size = (per_across / across, per_down / down, abs(float(told["spacing"])))
    return counts, size, told.get("unit", "voxel")


def _of_tifffile(text: str, tags: Mapping[int, Any]) -> dict[str, int]:
    """Of an array's shape, whose axes have no names."""
    try:
        shape = [int(size) for size in json.loads(text)["shape"]]
    except (ValueError, TypeError, KeyError):
        return {}
    rows, columns, samples = (int(np.min(tags.get(tag, 1))) for tag in (_HEIGHT, _WIDTH, _SAMPLES))
    for size in (samples, columns, rows) if samples > 1 else (columns, rows):  # samples may come first, as planes
        if size in shape:
            shape.pop(len(shape) - 1 - shape[::-1].index(size))
    pages = [size for size in shape if size > 1]
    if len(pages) > 1:
        raise ValueError(f"pages along {len(pages)} axes that have no names, {pages}: save one stack a file")
    return {"C": 1, "Z": pages[0] if pages else 1, "T": 1}


def _of_ome(text: str) -> tuple[dict[str, int], Any, str]:
    pixels = re.search(r"<(?:\w+:)?Pixels\s([^>]*)>", text)
    if pixels is None:
        return {}, None, ""
    told = dict(re.findall(r'(\w+)="([^"]*)"', pixels[1]))
    samples = int(next(iter(re.findall(r'SamplesPerPixel="(\d+)"', text)), 1))
    order = [axis for axis in told.get("DimensionOrder", "XYCZT") if axis in "CZT"]
    counts = {axis: int(told.get(f"Size{axis}", 1)) // (samples if axis == "C" else 1) for axis in order}
    sizes = [float(told.get(f"PhysicalSize{axis}", 0)) for axis in "XYZ"]
    units = {told.get(f"PhysicalSize{axis}Unit", "µm") for axis in "XYZ"}
    return counts, tuple(sizes) if all(sizes) and len(units) == 1 else None, units.pop()


def _first_directory(path: PathLike) -> dict[int, Any]:
    """``{tag: its values}`` of the first page: bytes for text, numbers, or pairs of them for fractions."""
    with open(path, "rb") as file:
        head = file.read(16)
        if head[:4] not in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"):
            raise ValueError("no TIFF by its first bytes")
        order = "<" if head[:2] == b"II" else ">"
        big = b"+" in head[2:4]
        count_format, entry_format, inline = ("Q", "HHQ8s", 8) if big else ("H", "HHI4s", 4)
        file.seek(struct.unpack(order + ("Q" if big else "I"), head[8:] if big else head[4:8])[0])
        count = struct.unpack(order + count_format, file.read(struct.calcsize(count_format)))[0]
        entries = file.read(count * struct.calcsize(order + entry_format)) if count < 2**16 else b""
        tags: dict[int, Any] = {}
        for tag, kind, length, value in struct.iter_unpack(order + entry_format, entries):
            kind = _TYPES.get(kind, "")
            size = length * struct.calcsize(order + kind)
            if not 0 < size <= _LONGEST:
                tags[tag] = None  # there, and of no interest
                continue
            if size > inline:
                file.seek(struct.unpack(order + ("Q" if big else "I"), value)[0])
                value = file.read(size)
            if kind == "s":
                tags[tag] = value[:size]
            else:
                values = struct.unpack(order + kind * length, value[:size])
                tags[tag] = values[:2] if kind == "II" else values
    return tags
