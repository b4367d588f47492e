# SPDX-License-Identifier: Apache-2.0
"""Files of tools as the scribble of an image."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from monai.config import PathLike
from monai.utils import ensure_tuple, optional_import

from medwsss.annotations.geometry import Absent, Shape
from medwsss.annotations.label_maps import LABEL_MAPS, read_label_map, read_names
from medwsss.annotations.placing import onto
from medwsss.annotations.shapes import read_shapes
from medwsss.keys import UNLABELED
from medwsss.rasters.features import Features, simple_parts
from medwsss.rasters.georeference import Georeference
from medwsss.rasters.strokes import burn, widen
from medwsss.study.grid import Grid, is_nifti
from medwsss.study.readers import loader, suffix_of

shapely, has_shapely = optional_import("shapely")

__all__ = ["ENDINGS", "Stroked", "read_strokes"]

#: Endings of the files that are read.
ENDINGS = (".json", ".geojson", ".xml", ".csv", ".roi", ".zip", *LABEL_MAPS)

_FAR = 10  # sizes of the image: farther away, places are in another unit
_SHOWN = 5


@dataclass(frozen=True)
class Stroked:
    """The scribble of an image, and what did not go in."""

    labels: np.ndarray  #: ``1 *S``, columns first as the study's reader has it: classes, ``UNLABELED`` elsewhere
    conflicts: int  #: pixels of several classes, which are ``UNLABELED``
    outside: int  #: shapes or segments of which nothing is inside


def read_strokes(
    paths: PathLike | Sequence[PathLike],
    like: PathLike,
    classes: Mapping[str, str],
    width: float = 0.0,
    names: PathLike | None = None,
) -> Stroked:
    """What the files of a tool have for an image, on its voxels.

    Shapes of LabelMe, Label Studio and COCO (JSON), CVAT (XML for images), QuPath (GeoJSON), ImageJ (``.roi``,
    ``.zip``) and napari (CSV, a layer a file), in images and, by the last two, in stacks; and label maps of 3D Slicer
    and MITK (NRRD), ITK-SNAP (NIfTI), ilastik (``.ilp``, HDF5) and others (PNG, TIFF), in two or three dimensions,
    whose voxels may lie in another order, or be some of the image's. In a label map, 0 is unlabelled unless it is
    declared as a class.

    Args:
        paths: the file, or several of shapes.
        like: the image.
        classes: ``{class in the file: name}`` in the order of the classes; see
            :py:func:`medwsss.rasters.class_table`. Labels without a name are called by their number.
        width: of lines and points in pixels, if that is more than the pixels they run through.
        names: label descriptions of ITK-SNAP, which give a label map's numbers names.

    Raises:
        ImportError: with the command that installs what is missing.
        Absent: a ``ValueError``, for a file that has nothing for the image.
        ValueError: naming the file, for one that cannot be read or is of another image, classes that are not
            declared, shapes in no slice of the image, and voxels that are not the image's.
    """
    if not has_shapely:
        raise ImportError('strokes need shapely and rasterio: pip install "medwsss[annotations]"')
    files = [Path(str(path)) for path in ensure_tuple(paths)]
    image, shapes, told = loader()(like), list[Shape](), ", ".join(map(str, files))
    grid, name = Grid.of(image), Path(str(like)).name
    if maps := [path for path in files if suffix_of(path).lower() in LABEL_MAPS]:
        if len(files) > 1:
            raise ValueError(f"expected one label map of {like}, or shapes, got {told}")
    try:
        if maps:
            return _painted(maps[0], name, grid, classes, names)
        for path in files:
            told = str(path)
            shapes += read_shapes(path, name, (grid.shape[0], grid.shape[1]), classes)
        told = ", ".join(map(str, files))
        if len(grid.shape) > 2 and is_nifti(like):
            raise ValueError("expected a label map of a NIfTI volume, got shapes, which tools show in other axes")
        return _drawn(shapes, grid.shape, classes, width, told)
    except (Absent, ImportError) as error:
        raise type(error)(str(error) if isinstance(error, ImportError) else f"{error} in {told}") from error
    except Exception as error:  # whatever a library raises: the user has to know which file it is
        reason = " ".join(str(error).split())[:300]
        what = reason if reason.startswith("expected") else f"expected strokes, got {type(error).__name__}: {reason}"
        raise ValueError(what if told in reason else f"{what} in {told}") from error


def _numbers(found: Sequence[str], classes: Mapping[str, str]) -> list[int]:
    if unknown := sorted(set(found) - set(classes)):
        raise ValueError(f"expected classes of {', '.join(classes)}, got {', '.join(unknown[:_SHOWN])[:200]}")
    if not found:
        raise Absent("expected strokes, got none")
    number_of = {name: k for k, name in enumerate(classes)}
    return [number_of[name] for name in found]


def _painted(path: Path, image: str, grid: Grid, classes: Mapping[str, str], names: PathLike | None) -> Stroked:
    painted = read_label_map(path, image, grid)
    move = onto(grid, painted.grid, path)
    called = read_names(Path(str(names))) if names else {}
    segments = [(called.get(k, name) if name == str(k) else name, i, k) for name, i, k in painted.segments()]
    segments = [segment for segment in segments if segment[2] or segment[0] in classes]
    numbers = _numbers([name for name, _, _ in segments], classes)
    labels, conflicts = np.full(grid.shape, UNLABELED, np.uint8), np.zeros(grid.shape, bool)
    outside = 0
    for k, (_, layer, value) in zip(numbers, segments):
        here = move(painted.layers[layer] == value)
        outside += not here.any()
        conflicts |= here & (labels != UNLABELED) & (labels != k)
        labels[here] = k
    labels[conflicts] = UNLABELED
    return Stroked(labels[None], int(conflicts.sum()), outside)


def _drawn(shapes: list[Shape], shape: tuple[int, ...], classes: Mapping[str, str], width: float, told: str) -> Stroked:
    numbers = np.array(_numbers([each.name for each in shapes], classes))
    columns, rows, *slices = shape
    geometries = np.array([shapely.force_2d(each.geometry) for each in shapes], object)
    places = shapely.get_coordinates(geometries)
    if not np.isfinite(places).all():
        raise ValueError("expected places in numbers, got others")
    if len(places) and np.abs(places / [columns, rows]).max() > _FAR:
        x0, y0, x1, y1 = shapely.total_bounds(geometries)
        raise ValueError(
            f"expected places in pixels of an image of {columns} x {rows}, got x from {x0:g} to {x1:g} and y from "
            f"{y0:g} to {y1:g}"
        )
    planes = np.array([each.plane if slices else each.plane or 0 for each in shapes], float)
    count = slices[0] if slices else 1
    if len(wrong := planes[~((0 <= planes) & (planes < count))]):
        where = "none" if np.isnan(wrong[0]) else f"{wrong[0] + 1:g}"
        raise ValueError(f"expected shapes in one of {count} slices, got one in {where}")
    place = Georeference((rows, columns))
    labels = np.full((count, columns, rows), UNLABELED, np.uint8)
    conflicts, inside = 0, 0
    for plane in np.unique(planes).astype(int):
        here = planes == plane
        parts, index = simple_parts(geometries[here])
        features = Features(parts, numbers[here][index], index, None, list(classes.values()), name=told)
        burnt = burn(widen(features, place, width), place)
        labels[plane] = burnt.labels.T
        conflicts, inside = conflicts + burnt.conflicts, inside + len(burnt.inside)
    return Stroked(np.moveaxis(labels, 0, -1).reshape(1, *shape), conflicts, len(shapes) - inside)
