# SPDX-License-Identifier: Apache-2.0
"""Regions of ImageJ and layers of napari, in images and in stacks of slices."""

from __future__ import annotations

import csv
import io
import re
import zipfile
from collections.abc import Collection, Iterator
from itertools import groupby
from typing import Any

import numpy as np
from monai.utils import optional_import

from medwsss.annotations.geometry import Shape, ellipse, through

roifile, has_roifile = optional_import("roifile")
shapely, _ = optional_import("shapely")

__all__ = ["imagej", "napari"]

_LONGEST = 2**24  # bytes of a region
_MIDDLE = 0.5  # of a pixel whose number is a place


def imagej(data: bytes, classes: Collection[str]) -> list[Shape]:
    """Regions by their names, of a ``.roi`` or the ``.zip`` of the ROI manager.

    Of several with one name the manager numbers all but the first, ``name-1``: the number counts where it is a part of
    the name of a class. Corners of areas lie between pixels, those of lines and points in the middle of pixels.
    """
    if not has_roifile:
        raise ImportError('regions of ImageJ need roifile: pip install "medwsss[annotations]"')
    if not data.startswith(b"PK"):
        return [_region(data, classes)]
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        members = [member for member in archive.infolist() if member.filename.lower().endswith(".roi")]
        if large := [member.filename for member in members if member.file_size > _LONGEST]:
            raise ValueError(f"expected regions of at most {_LONGEST} bytes, got {large[0]}")
        return [_region(archive.read(member), classes) for member in members]


def _region(data: bytes, classes: Collection[str]) -> Shape:
    region = roifile.ImagejRoi.frombytes(data)
    name = region.name if region.name in classes else re.sub(r"-\d+$", "", region.name)
    plane = (region.z_position or region.position) - 1
    return Shape(name, _geometry(region), None if plane < 0 else plane)


def _geometry(region: Any) -> Any:
    kind, kinds = region.roitype, roifile.ROI_TYPE
    points = [np.asarray(part, float).reshape(-1, 2) for part in region.coordinates(multi=True)]
    if kind in (kinds.LINE, kinds.POLYLINE, kinds.FREELINE, kinds.POINT):
        return through("points" if kind == kinds.POINT else "line", points[0] + _MIDDLE)
    if kind == kinds.OVAL and region.subpixel_coordinates is None:
        sides = np.array([region.right - region.left, region.bottom - region.top]) / 2
        return ellipse(sides + [region.left, region.top], sides)
    if region.multi_coordinates is None and kind not in (kinds.RECT, kinds.POLYGON, kinds.FREEHAND, kinds.TRACED):
        raise ValueError(f"expected points, lines and areas, got a region of type {kind.name}")
    area = shapely.GeometryCollection()
    for ring in points:  # holes are rings within rings
        if len(ring) > 2:
            area = shapely.symmetric_difference(area, shapely.make_valid(through("polygon", ring)))
    return area


def napari(text: str, name: str) -> list[Shape]:
    """A layer of shapes or points as CSV, in pixels: a column an axis, the last two rows and columns.

    Args:
        text: of the file.
        name: of the layer, which is the class where no column ``class`` or ``label`` says one.
    """
    rows = csv.DictReader(io.StringIO(text))
    columns = rows.fieldnames or []
    axes = sorted(column for column in columns if re.fullmatch(r"axis-\d", column))
    if len(axes) not in (2, 3) or "index" not in columns:
        raise ValueError(f"expected a layer of napari, index and axis-0, axis-1 …, got {', '.join(columns)[:100]}")
    return list(_layer(rows, axes, name))


def _layer(rows: Any, axes: list[str], name: str) -> Iterator[Shape]:
    for _, group in groupby(rows, lambda row: row["index"]):
        vertices = list(group)
        places = np.array([[row[axis] for axis in axes] for row in vertices], float) + _MIDDLE
        planes = set(np.floor(places[:, 0]).tolist()) if len(axes) == 3 else {None}
        if len(planes) > 1:
            raise ValueError(f"expected shapes in one slice each, got one in {len(planes)}")
        plane, points = planes.pop(), places[:, -2:][:, ::-1]
        kind = vertices[0].get("shape-type") or "point"
        if kind == "ellipse":  # the corners of its box
            sides = np.linalg.norm(points[[1, 2]] - points[[0, 1]], axis=1)
            turned = np.degrees(np.arctan2(*(points[1] - points[0])[::-1]))
            geometry = ellipse(points.mean(0), sides / 2, turned)
        else:
            geometry = through("polygon" if kind == "rectangle" else kind, points)
        label = vertices[0].get("class") or vertices[0].get("label") or name
        yield Shape(label, geometry, None if plane is None else int(plane))
