# SPDX-License-Identifier: Apache-2.0
"""The scenes of a study: which files, which bands, whether they go together, and the parts they are cut into."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from data_prep.engine.sources import visible
from data_prep.formats.chips import Chip
from data_prep.formats.encoding import is_tiff
from medwsss.keys import IMAGE
from medwsss.rasters.features import Features
from medwsss.rasters.georeference import Georeference, reproject
from medwsss.study.problems import raise_problems
from medwsss.study.readers import stem_of
from medwsss.study.readers.parts import is_raster, opened, read_window

__all__ = ["check_alike", "choose_bands", "find_scenes", "frame", "grid", "outside", "void_of"]

_UPWARDS = (1.0, 0.0, 0.0, 0.0, -1.0, 0.0)
_GROUND = 0.05  # by which pixels of scenes may differ in size


def find_scenes(images: Path) -> list[Path]:
    """The files: of a folder with TIFF only those, as pictures beside them are previews.

    Raises:
        ValueError: for none, and for several of which one has no place: no layer says which it is drawn on.
    """
    files = [images] if images.is_file() else visible(images, "*") if images.is_dir() else []
    found = [path for path in files if is_tiff(path)] or [path for path in files if is_raster(path)]
    if not found:
        raise ValueError(f"expected a GeoTIFF or a picture, or a folder with some (--images), got {images}")
    if len(found) > 1 and (lost := [path for path in found if not Georeference.of(path).placed]):
        raise ValueError(
            f"expected scenes that say where they lie, as one layer is for all, got {len(lost)} of {len(found)} that "
            f"don't, {lost[0]} first: python -m data_prep strokes --images {images} reads strokes of pictures, each by "
            "its name, for python -m data_prep folder --scribbles"
        )
    return found


def frame(scene: Path, layer: Features) -> Georeference:
    """Where a scene lies for a layer; one without a place at its pixels, rows below 0 if strokes are (as in QGIS)."""
    place = Georeference.of(scene)
    return replace(place, transform=_UPWARDS) if not place.placed and layer.bounds[3] <= 0 else place


def choose_bands(scene: Path, wanted: Sequence[str] | None) -> tuple[int, ...]:
    """Numbers of the bands, alpha apart.

    Raises:
        ValueError: naming the file, for a band that it has not got.
    """
    with opened(scene) as raster:
        known = [k for k, kind in zip(raster.indexes, raster.colorinterp) if kind.name != "alpha"]
        named = {name: k for k, name in zip(raster.indexes, raster.descriptions) if name}
    found = [named.get(each, int(each) if each.isdigit() else 0) for each in wanted or map(str, known)]
    if wrong := [each for each, k in zip(wanted or (), found) if k not in known]:
        raise ValueError(
            f"expected bands by number, {known[0]} to {known[-1]}, or name ({', '.join(named) or 'there is none'}), "
            f"got {', '.join(wrong)} of {scene}"
        )
    return tuple(found)


def check_alike(scenes: Sequence[Path], bands: Sequence[int]) -> None:
    """Check what scenes of one study have in common.

    Raises:
        ValueError: a line for each file of fewer bands, or pixels of another size on the ground, than the first.
    """
    problems = []
    first = Georeference.of(scenes[0])
    for scene in scenes:
        with opened(scene) as raster:
            if raster.count < max(bands):
                problems.append(f"expected {max(bands)} bands as in {scenes[0]}, got {raster.count} in {scene}")
        place = Georeference.of(scene)
        if any(abs(a / b - 1) > _GROUND for a, b in zip(place.pixel, first.pixel)):
            told = [" x ".join(f"{size:.3g}" for size in each.pixel) for each in (first, place)]
            problems.append(f"expected pixels of {told[0]} m on the ground as in {scenes[0]}, got {told[1]} in {scene}")
    raise_problems(problems)
    if not first.placed:
        print(f"note: {scenes[0]} has no place on the earth: strokes are taken to be drawn on its pixels")
    if first.in_degrees:
        print(f"note: {scenes[0]} lies in degrees; distances between pixels then are not those on the ground")


def outside(scenes: Sequence[Path], layer: Features) -> str:
    """Why no feature lies in an image: both extents, in both systems."""
    place = frame(scenes[0], layer)
    x0, y0, x1, y1 = layer.bounds
    told = f"x {x0:g} … {x1:g}, y {y0:g} … {y1:g}"
    if layer.crs and place.crs:
        corners = reproject([(x, y) for x in (x0, x1) for y in (y0, y1)], layer.crs, place.crs)
        (x0, y0), (x1, y1) = corners.min(0), corners.max(0)
        told += f", which in the image's system is x {x0:g} … {x1:g}, y {y0:g} … {y1:g}"
    a, b, c, d = place.bounds
    return (
        f"expected strokes in the images, got all of {layer.name} outside: {told}; {scenes[0]} has "
        f"x {a:g} … {c:g}, y {b:g} … {d:g}"
    )


def grid(scene: Path, place: Georeference, bands: tuple[int, ...], side: int, nodata: float | None) -> Iterator[Chip]:
    """A scene in parts of about ``side`` pixels a side: none is a sliver."""
    cuts = []
    for size in place.shape:
        ends = np.linspace(0, size, max(1, round(size / side)) + 1).round().astype(int).tolist()
        cuts.append(list(zip(ends, ends[1:])))
    whole = len(cuts[0]) * len(cuts[1]) == 1
    for top, bottom in cuts[0]:
        for left, right in cuts[1]:
            name = stem_of(scene) + ("" if whole else f"_r{top}_c{left}")
            shape = (bottom - top, right - left)
            part = {"row": top, "column": left, "shape": shape, "bands": bands, "nodata": nodata}
            yield Chip(name, name, {IMAGE: scene}, **part)


def void_of(chip: Chip) -> np.ndarray:
    """Where no band has anything."""
    scene = chip.files[IMAGE]
    assert isinstance(scene, Path)
    rows, columns = (chip.row, chip.row + chip.shape[0]), (chip.column, chip.column + chip.shape[1])
    void: np.ndarray = np.isnan(read_window(scene, rows, columns, chip.bands, chip.nodata)).all(0)
    return void
