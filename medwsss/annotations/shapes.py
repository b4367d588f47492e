# SPDX-License-Identifier: Apache-2.0
"""Shapes in the files of tools that draw them, and which file is whose."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
from monai.utils import optional_import

from medwsss.annotations.geometry import Shape, check_size, ellipse, through
from medwsss.annotations.microscopy import imagej, napari
from medwsss.annotations.projects import coco, cvat, label_studio

shapely, _ = optional_import("shapely")

__all__ = ["read_shapes"]


def read_shapes(path: Path, image: str, size: tuple[int, int], classes: Collection[str]) -> list[Shape]:
    """The shapes that a file has for an image.

    Args:
        path: of the file.
        image: name of the image's file, by which files of many images have it.
        size: width and height of the image, which the file has to agree with where it says them.
        classes: names that are expected, for tools that add a number to a name of which there are several.

    Raises:
        ValueError: for a file of another kind, and for what is wrong in it.
    """
    data = path.read_bytes()
    head = data.removeprefix(b"\xef\xbb\xbf").lstrip()
    if data.startswith((b"Iout", b"PK\3\4")):
        return imagej(data, classes)
    if head.startswith(b"<"):
        if b"<!" in data.replace(b"<!--", b""):  # entities, which may grow without bounds
            raise ValueError("expected XML without a document type")
        return list(cvat(ElementTree.fromstring(head.decode("utf-8")), image, size))
    if path.suffix.lower() == ".csv":
        return napari(head.decode("utf-8"), path.stem.rpartition(".")[2])
    return list(_json(json.loads(head), image, size))


def _json(content: Any, image: str, size: tuple[int, int]) -> Iterator[Shape]:
    if isinstance(content, dict) and "shapes" in content:
        return _labelme(content, size)
    if isinstance(content, dict) and "images" in content and "annotations" in content:
        return coco(content, image, size)
    features = content.get("features", [content]) if isinstance(content, dict) else content
    if isinstance(features, list) and features and all(isinstance(each, dict) for each in features):
        if all("annotations" in each and "data" in each for each in features):
            return label_studio(features, image, size)
        if all("geometry" in each for each in features):
            return map(_qupath, features)
    raise ValueError(
        "expected the shapes of LabelMe, COCO, tasks of Label Studio, an annotations.xml of CVAT, features of QuPath, "
        "regions of ImageJ or layers of napari"
    )


def _labelme(content: dict[str, Any], size: tuple[int, int]) -> Iterator[Shape]:
    check_size((content.get("imageWidth"), content.get("imageHeight")), size)
    for shape in content["shapes"]:
        kind, points = shape.get("shape_type") or "polygon", np.array(shape["points"], float).reshape(-1, 2)
        if kind == "rectangle":
            geometry = shapely.box(*points.min(0), *points.max(0))
        elif kind == "circle":  # middle, and a point on it
            geometry = ellipse(points[0], [float(np.linalg.norm(points[1] - points[0]))] * 2)
        else:
            geometry = through(kind, points)
        yield Shape(str(shape["label"]), geometry)


def _qupath(feature: dict[str, Any]) -> Shape:
    told = feature.get("properties") or {}
    named = (told.get("classification") or {}).get("name") or told.get("name")
    if not named:
        raise ValueError("expected a classification of each annotation, got one without")
    return Shape(str(named), shapely.geometry.shape(feature["geometry"]))
