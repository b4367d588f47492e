# SPDX-License-Identifier: Apache-2.0
"""A tool's file as the scribble of an image."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from monai.config import PathLike
from monai.utils import optional_import

from medwsss.annotations.shapes import read_shapes
from medwsss.rasters.features import Features, simple_parts
from medwsss.rasters.georeference import Georeference
from medwsss.rasters.strokes import burn, widen
from medwsss.study.readers import loader

shapely, has_shapely = optional_import("shapely")

__all__ = ["Stroked", "read_strokes"]


@dataclass(frozen=True)
class Stroked:
    """The scribble of an image, and what did not go in."""

    labels: np.ndarray  #: ``1 *S``, columns first as the study's reader has it: classes, ``UNLABELED`` elsewhere
    conflicts: int  #: pixels of several classes, which are ``UNLABELED``
    outside: int  #: shapes of which nothing is inside


def read_strokes(path: PathLike, like: PathLike, classes: Mapping[str, str], width: float = 0.0) -> Stroked:
    """The shapes of a file of LabelMe (JSON), CVAT (XML for images) or QuPath (GeoJSON) on the pixels of an image.

    Args:
        path: the file.
        like: the image, in two dimensions.
        classes: ``{class in the file: name}`` in the order of the classes; see
            :py:func:`medwsss.rasters.class_table`.
        width: of lines and points in pixels, if that is more than the pixels they run through.

    Raises:
        ImportError: with the command that installs what is missing.
        ValueError: naming the file, for one that cannot be read or is of another image, classes that are not
            declared, and no shapes.
    """
    if not has_shapely:
        raise ImportError('shapes need shapely and rasterio: pip install "medwsss[rasters]"')
    image = loader()(like)
    if image.ndim != 3:
        raise ValueError(f"expected an image in two dimensions, got the shape {tuple(image.shape)} in {like}")
    columns, rows = image.shape[1:]
    try:
        shapes = read_shapes(Path(str(path)), Path(str(like)).name, (columns, rows))
        if unknown := sorted({name for name, _ in shapes} - set(classes)):
            raise ValueError(f"expected classes of {', '.join(classes)}, got {', '.join(unknown[:5])[:200]}")
        if not shapes:
            raise ValueError("expected shapes, got none")
        geometries = np.array([shapely.force_2d(geometry) for _, geometry in shapes], object)
        if not np.isfinite(shapely.get_coordinates(geometries)).all():
            raise ValueError("expected places in numbers, got others")
        parts, numbers = simple_parts(geometries)
    except Exception as error:  # whatever a library raises: the user has to know which file it is
        reason = " ".join(str(error).split())[:300]
        told = reason if reason.startswith("expected") else f"expected shapes, got {type(error).__name__}: {reason}"
        raise ValueError(f"{told} in {path}") from error
    number_of = {name: k for k, name in enumerate(classes)}
    labels = np.array([number_of[name] for name, _ in shapes], int)[numbers]
    features = Features(parts, labels, numbers, None, list(classes.values()), name=str(path))
    place = Georeference((rows, columns))
    burnt = burn(widen(features, place, width), place)
    return Stroked(burnt.labels.T[None], burnt.conflicts, len(shapes) - len(burnt.inside))
