# SPDX-License-Identifier: Apache-2.0
"""Files that have the shapes of many images: CVAT's, Label Studio's and those in the layout of COCO.

In all of them, pixel (0, 0) covers 0 to 1 along either axis; Label Studio's places are per cent of the image.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from monai.utils import optional_import

from medwsss.annotations.geometry import Shape, check_size, ellipse, file_name, only, outline, runs_to_pixels, through

shapely, _ = optional_import("shapely")
affinity, _ = optional_import("shapely.affinity")

__all__ = ["coco", "cvat", "label_studio"]


def cvat(root: Any, image: str, size: tuple[int, int]) -> Iterator[Shape]:
    """Of an XML "for images"."""
    found = [each for each in root.iter("image") if file_name(each.attrib["name"]) == image]
    element = only(found, (each.attrib["name"] for each in root.iter("image")), image)
    check_size((element.get("width"), element.get("height")), size)
    for shape in element:
        told = shape.attrib
        if shape.tag == "mask":
            left, top, width, height = (int(told[name]) for name in ("left", "top", "width", "height"))
            if not 0 < width <= size[0] or not 0 < height <= size[1]:
                raise ValueError(f"expected a mask within the image, got {width} x {height} pixels")
            pixels = runs_to_pixels([int(run) for run in told["rle"].split(",")], width * height)
            yield Shape(told["label"], outline(pixels.reshape(height, width), left, top))
        elif shape.tag == "box":
            yield Shape(told["label"], shapely.box(*(float(told[name]) for name in ("xtl", "ytl", "xbr", "ybr"))))
        elif shape.tag in ("polygon", "polyline", "points"):
            points = np.array([pair.split(",") for pair in told["points"].split(";")], float)
            yield Shape(told["label"], through(shape.tag, points))
        elif shape.tag != "tag":
            raise ValueError(f"expected points, lines, polygons, boxes and masks, got {shape.tag}")


def coco(content: dict[str, Any], image: str, size: tuple[int, int]) -> Iterator[Shape]:
    """Polygons, and masks in runs along columns, as lists or as text (six bits a character)."""
    found = [each for each in content["images"] if file_name(each["file_name"]) == image]
    entry = only(found, (str(each["file_name"]) for each in content["images"]), image)
    check_size((entry.get("width"), entry.get("height")), size)
    names = {each["id"]: str(each["name"]) for each in content["categories"]}
    for annotation in content["annotations"]:
        if annotation["image_id"] != entry["id"]:
            continue
        told = annotation.get("segmentation")
        if not told:
            raise ValueError("expected a segmentation of each annotation, got one without")
        if isinstance(told, dict):
            check_size(told["size"][::-1], size)
            runs = told["counts"] if isinstance(told["counts"], list) else _coco_runs(told["counts"])
            geometry = outline(runs_to_pixels(runs, size[0] * size[1]).reshape(size).T)
        else:
            rings = [through("polygon", np.array(ring, float).reshape(-1, 2)) for ring in told]
            geometry = shapely.GeometryCollection(rings)
        yield Shape(names[annotation["category_id"]], geometry)


def _coco_runs(text: str) -> list[int]:
    """Five bits a character, the lowest first, a sixth where more follow; from the third on, a run is the difference
    from the last but one (pycocotools' maskApi.c)."""
    runs: list[int] = []
    value = shift = 0
    for character in text:
        bits = ord(character) - 48
        if not 0 <= bits < 64 or shift > 60:
            raise ValueError(f"expected runs in COCO's characters, got {character!r}")
        value |= (bits & 31) << shift
        shift += 5
        if not bits & 32:
            value -= (bits & 16) << shift - 4  # the sign
            runs.append(value + (runs[-2] if len(runs) > 2 else 0))
            value = shift = 0
    return runs


def label_studio(tasks: Sequence[dict[str, Any]], image: str, size: tuple[int, int]) -> Iterator[Shape]:
    """Of the tasks of a JSON export, whose images are known by their names, with or without what an upload adds."""
    names = [[file_name(value) for value in each["data"].values() if isinstance(value, str)] for each in tasks]
    found = [each for each, known in zip(tasks, names) if image in {n for k in known for n in (k, _uploaded(k))}]
    task = only(found, (name for known in names for name in known), image)
    kept = [each for each in task["annotations"] if not each.get("was_cancelled")]
    if len(kept) > 1:
        raise ValueError(f"expected one annotation of {image}, got {len(kept)}")
    for result in kept[0]["result"] if kept else ():
        if result["type"] not in ("relation", "choices"):
            check_size((result["original_width"], result["original_height"]), size)
            if result.get("image_rotation"):
                raise ValueError(f"expected an image that is not turned, got {result['image_rotation']} degrees")
            yield _of_result(result["value"], result["type"].removesuffix("labels"), size)


def _uploaded(name: str) -> str:
    return re.sub("^[0-9a-f]{8}-", "", name)


def _of_result(value: dict[str, Any], kind: str, size: tuple[int, int]) -> Shape:
    labels = [label for key, names in value.items() if key.endswith("labels") for label in names]
    if len(labels) != 1:
        raise ValueError(f"expected one label of each shape, got {len(labels)}")
    scale = np.array(size) / 100  # pixels a per cent
    if kind == "brush":
        geometry = outline(_brush(bytes(value["rle"]), 4 * size[0] * size[1])[3::4].reshape(size[::-1]))
    elif kind in ("polygon", "polyline"):
        geometry = through(kind if value.get("closed", True) else "line", np.array(value["points"], float) * scale)
    else:
        x, y = np.array([value["x"], value["y"]], float) * scale
        turned = float(value.get("rotation", 0))
        if kind == "keypoint":
            geometry = shapely.Point(x, y)
        elif kind == "ellipse":
            geometry = ellipse((x, y), np.array([value["radiusX"], value["radiusY"]], float) * scale, turned)
        elif kind == "rectangle":
            width, height = np.array([value["width"], value["height"]], float) * scale
            geometry = affinity.rotate(shapely.box(x, y, x + width, y + height), turned, origin=(x, y))
        else:
            raise ValueError(f"expected brushes, polygons, rectangles, ellipses and points, got {kind}")
    return Shape(str(labels[0]), geometry)


def _brush(data: bytes, count: int) -> np.ndarray:
    """Label Studio's runs (rle-pack): how many words, their bits, four widths of lengths; then for each run, whether it
    is of one word, which width, its length less one, and its word or words."""
    bits, at = "".join(f"{byte:08b}" for byte in data), 0

    def read(width: int) -> int:
        nonlocal at
        at += width
        if at > len(bits):
            raise ValueError(f"expected {count} values of a brush, got an end after {filled}")
        return int(bits[at - width : at], 2)

    filled = 0
    if (told := read(32)) != count:
        raise ValueError(f"expected {count} values of a brush, got {told}")
    width = read(5) + 1
    lengths = [read(4) + 1 for _ in range(4)]
    marked = np.zeros(count, bool)
    while filled < count:
        same = read(1)
        run = 1 + read(lengths[read(2)])
        if filled + run > count:
            raise ValueError(f"expected {count} values of a brush, got {filled + run}")
        marked[filled : filled + run] = read(width) > 0 if same else [read(width) > 0 for _ in range(run)]
        filled += run
    return marked
