# SPDX-License-Identifier: Apache-2.0
"""Shapes and their classes in the files of LabelMe, CVAT and QuPath, in pixels.

In all three, pixel (0, 0) covers 0 to 1 along either axis.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
from monai.utils import optional_import

shapely, _ = optional_import("shapely")
rio_features, _ = optional_import("rasterio.features")
rasterio, _ = optional_import("rasterio")

__all__ = ["Shape", "read_shapes"]

Shape = tuple[str, Any]  #: class and shapely geometry


def read_shapes(path: Path, image: str, size: tuple[int, int]) -> list[Shape]:
    """The shapes that a file has for an image.

    Args:
        path: of the file.
        image: name of the image's file, by which CVAT's file of many images has it.
        size: width and height of the image, which the file has to agree with where it says them.

    Raises:
        ValueError: for a file of another kind, and for what is wrong in it.
    """
    data = path.read_bytes()
    head = data.removeprefix(b"\xef\xbb\xbf").lstrip()
    if head.startswith(b"<"):
        if b"<!" in data.replace(b"<!--", b""):  # entities, which may grow without bounds
            raise ValueError("expected XML without a document type")
        return list(_cvat(ElementTree.fromstring(head.decode("utf-8")), image, size))
    content = json.loads(head)
    if isinstance(content, dict) and "shapes" in content:
        return list(_labelme(content, size))
    features = content.get("features", [content]) if isinstance(content, dict) else content
    if isinstance(features, list) and all(isinstance(f, dict) and "geometry" in f for f in features):
        return [_qupath(feature) for feature in features]
    raise ValueError("expected the shapes of LabelMe, an annotations.xml of CVAT, or features of QuPath")


def _check_size(told: tuple[Any, Any], size: tuple[int, int]) -> None:
    if told != (None, None) and tuple(map(int, told)) != size:
        raise ValueError(f"expected shapes of an image of {size[0]} x {size[1]} pixels, got {told[0]} x {told[1]}")


def _labelme(content: dict[str, Any], size: tuple[int, int]) -> Iterator[Shape]:
    _check_size((content.get("imageWidth"), content.get("imageHeight")), size)
    for shape in content["shapes"]:
        kind, points = shape.get("shape_type") or "polygon", np.array(shape["points"], float).reshape(-1, 2)
        if kind == "rectangle":
            geometry = shapely.box(*points.min(0), *points.max(0))
        elif kind == "circle":  # middle, and a point on it
            geometry = shapely.Point(points[0]).buffer(math.dist(*points[:2]))
        else:
            geometry = _geometry(kind, points)
        yield str(shape["label"]), geometry


def _cvat(root: Any, image: str, size: tuple[int, int]) -> Iterator[Shape]:
    found = [each for each in root.iter("image") if Path(each.attrib["name"].replace("\\", "/")).name == image]
    if len(found) != 1:
        names = ", ".join(each.attrib["name"] for each in root.iter("image"))[:200]
        raise ValueError(f"expected one image {image}, got {len(found)} among {names or 'none'}")
    _check_size((found[0].get("width"), found[0].get("height")), size)
    for shape in found[0]:
        told = shape.attrib
        if shape.tag == "mask":
            yield told["label"], _mask(told, size)
        elif shape.tag == "box":
            yield told["label"], shapely.box(*(float(told[name]) for name in ("xtl", "ytl", "xbr", "ybr")))
        elif shape.tag in ("polygon", "polyline", "points"):
            points = np.array([pair.split(",") for pair in told["points"].split(";")], float)
            yield told["label"], _geometry(shape.tag, points)
        elif shape.tag != "tag":
            raise ValueError(f"expected points, lines, polygons, boxes and masks, got {shape.tag}")


def _mask(told: dict[str, str], size: tuple[int, int]) -> Any:
    """Runs of 0 and 1 in turn, row by row of a box."""
    left, top, width, height = (int(told[name]) for name in ("left", "top", "width", "height"))
    if not 0 < width <= size[0] or not 0 < height <= size[1]:
        raise ValueError(f"expected a mask within the image, got {width} x {height} pixels")
    runs = [int(run) for run in told["rle"].split(",")]
    if min(runs) < 0 or sum(runs) != width * height:
        raise ValueError(f"expected runs of {width * height} pixels, got {sum(runs)}")
    pixels = np.repeat(np.arange(len(runs)) % 2, runs).reshape(height, width).astype(np.uint8)
    place = rasterio.Affine.translation(left, top)
    parts = [shapely.geometry.shape(part) for part, _ in rio_features.shapes(pixels, pixels > 0, transform=place)]
    return shapely.GeometryCollection(parts)


def _qupath(feature: dict[str, Any]) -> Shape:
    told = feature.get("properties") or {}
    named = (told.get("classification") or {}).get("name") or told.get("name")
    if not named:
        raise ValueError("expected a classification of each annotation, got one without")
    return str(named), shapely.geometry.shape(feature["geometry"])


def _geometry(kind: str, points: np.ndarray) -> Any:
    kinds = {"polygon": shapely.Polygon, "line": shapely.LineString, "linestrip": shapely.LineString}
    kinds |= {"polyline": shapely.LineString, "point": shapely.MultiPoint, "points": shapely.MultiPoint}
    if kind not in kinds:
        raise ValueError(f"expected points, lines, polygons, rectangles and circles, got {kind}")
    if kind == "polygon" and len(points) < 3 or kind != "polygon" and not len(points):
        raise ValueError(f"expected corners of a {kind}, got {len(points)}")
    return kinds[kind](points) if len(points) > 1 else shapely.Point(points[0])
