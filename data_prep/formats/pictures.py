# SPDX-License-Identifier: Apache-2.0
"""Cases of photographs and rasters: the image is copied byte by byte, its masks and strokes become PNG in our values.

Arrays have a channel axis, then spatial axes in the order of MONAI's readers: the first one runs along a row.
"""

from __future__ import annotations

import argparse
import io
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, cast
from zlib import crc32

import numpy as np
from monai.data import MetaTensor
from monai.transforms import LoadImage
from PIL import Image

from data_prep.engine.conversion import Case, File, Files
from data_prep.formats.volumes import encode_volume, map_values
from medwsss.keys import IMAGE, LABEL, SCRIBBLE, VOID
from medwsss.study.readers import StudyReader
from medwsss.transforms import MapWeakLabels, SimulateScribble

SUFFIXES = (".nii.gz", ".nii", ".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".npy")
ANNOTATIONS = {"blocks": "block", "scribbles": "centerline"}  #: name of an option: kind of ``SimulateScribble``

_load = LoadImage(reader=StudyReader(), ensure_channel_first=True)


def load(path: Path) -> MetaTensor:
    """Any file of :data:`SUFFIXES` as ``C *S``; two axes of an NPY file are rows and columns, as in a picture."""
    image = cast(MetaTensor, _load(path))
    return cast(MetaTensor, image.transpose(1, 2)) if suffix_of(path) == ".npy" and image.ndim == 3 else image


def files_by(paths: Iterable[Path], name_of: Callable[[Path], str]) -> dict[str, Path]:
    """``{name: path}``.

    Raises:
        ValueError: for two files of one name.
    """
    found: dict[str, Path] = {}
    for path in sorted(paths):
        if (other := found.setdefault(name_of(path), path)) != path:
            raise ValueError(f"expected one file of a name, got {other} and {path}")
    return found


def suffix_of(path: Path) -> str:
    """The one of :data:`SUFFIXES` that ``path`` ends with, whatever its case, else an empty string."""
    return next((suffix for suffix in SUFFIXES if path.name.lower().endswith(suffix)), "")


def add_annotation_arguments(parser: argparse.ArgumentParser, default: str) -> None:
    """The options of annotations drawn into dense masks; see :class:`Annotation`."""
    parser.add_argument("--annotation", choices=ANNOTATIONS, default=default, help=f"kind to draw (default: {default})")
    parser.add_argument(
        "--share", type=float, default=0.2, metavar="X", help="of each region's area, for blocks (default: 0.2)"
    )
    parser.add_argument(
        "--length-ratio", type=float, default=1.0, metavar="X", help="for scribbles; 0: clicks (default: 1)"
    )


class Annotation:
    """Draws weak labels into the dense mask of a case: the same ones for the same seed and name.

    Args:
        num_classes: number of classes K.
        arguments: of :func:`add_annotation_arguments`.
    """

    def __init__(self, num_classes: int, arguments: argparse.Namespace) -> None:
        kind = ANNOTATIONS[arguments.annotation]
        ratio = arguments.share if kind == "block" else arguments.length_ratio
        self.draw = SimulateScribble(num_classes, kind, background=kind, length_ratio=ratio)  # class 0 is one of many
        self.seed = arguments.seed

    def __call__(self, dense: np.ndarray, name: str) -> np.ndarray:
        """``1 *S`` of classes, ``UNLABELED`` and ``VOID``."""
        self.draw.set_random_state(crc32(f"{self.seed} {name}".encode()))
        return np.asarray(self.draw(dense))


def picture_files(
    case: Case,
    labels: MapWeakLabels,
    scribbles: MapWeakLabels | Sequence[MapWeakLabels] = (),
    in_channels: int = 3,
    spatial_dims: int = 2,
    annotation: Annotation | None = None,
    read_mask: Callable[[Path], Any] = load,
    read_strokes: Callable[[Path], Any] = load,
) -> Files:
    """The files of a case whose sources are pictures or rasters.

    Args:
        case: with an image and a mask or strokes or both.
        labels: what the values of the mask mean.
        scribbles: what those of the strokes mean. Of several conventions, the first counts under which the strokes
            agree with the mask.
        in_channels: of the image.
        spatial_dims: of the image.
        annotation: draws the strokes of a training case into its mask.
        read_mask: loads a mask as ``C *S``.
        read_strokes: loads strokes as ``C *S``.

    Raises:
        ValueError: for an image with other channels, a label map of another size than the image, undeclared values
            or colours, and a label map without a single label.
    """
    source = case.files[IMAGE]
    assert isinstance(source, Path)
    image = load(source)
    if (len(image), image.ndim - 1) != (in_channels, spatial_dims):
        raise ValueError(
            f"expected {in_channels} channels and {spatial_dims} axes, got shape {tuple(image.shape)} in {source}"
        )
    nodata = image.meta.get("nodata")
    void = nodata is not None and np.isclose(image, nodata, rtol=0, atol=0, equal_nan=True).all(0, keepdims=True)

    maps: dict[str, np.ndarray] = {}
    for key, read, conventions in ((LABEL, read_mask, labels), (SCRIBBLE, read_strokes, scribbles)):
        if isinstance(path := case.files.get(key), Path):
            raw = np.asarray(read(path))
            _check_size(raw, image, path)
            candidates = [conventions] if isinstance(conventions, MapWeakLabels) else conventions
            maps[key] = np.where(void, VOID, _mapped(raw, candidates, maps.get(LABEL), path))
    if annotation is not None and case.section == "training":
        maps[SCRIBBLE] = annotation(maps[LABEL], case.name)

    # MONAI takes all axes of an NPY file for spatial ones, rows first
    own = suffix_of(source)
    copy = encode_volume(np.asarray(image[0]), np.eye(4)) if own == ".npy" else File(own, source)
    return {IMAGE: copy, **{key: _encode(array) for key, array in maps.items()}}


def _check_size(labels: np.ndarray, image: MetaTensor, path: Path) -> None:
    size, own = tuple(image.shape[1:]), labels.shape[1:]
    if own != size:
        hint = " (axes in another order)" if sorted(own) == sorted(size) else ""
        raise ValueError(f"expected the size {size} of the image, got {own}{hint} in {path}")


def _mapped(raw: np.ndarray, candidates: Sequence[MapWeakLabels], dense: np.ndarray | None, path: Path) -> np.ndarray:
    """``raw`` in our values, by the first of the conventions that fits it and agrees with the ``dense`` mask."""
    problem: ValueError | None = None
    for convention in candidates:
        try:
            mapped = map_values(raw, convention, path)
        except ValueError as error:
            problem = problem or error
            continue
        wrong = 0.0 if dense is None or len(candidates) == 1 else _disagreement(mapped, dense)
        if wrong == 0:
            return mapped
        problem = ValueError(f"expected strokes that agree with the mask, got {wrong:.1%} that do not in {path}")
    raise problem or ValueError(f"expected a convention for {path}, got none")


def _disagreement(strokes: np.ndarray, dense: np.ndarray) -> float:
    """Share of the labelled pixels that have another class in ``dense``, where that has one."""
    both = (strokes < VOID) & (dense < VOID)
    return float((strokes != dense)[both].mean()) if both.any() else 0.0


def _encode(labels: np.ndarray) -> File:
    """``1 *S`` as PNG, a volume as NIfTI; equal arguments, equal bytes."""
    if labels.ndim > 3:
        return encode_volume(labels[0], np.eye(4))
    buffer = io.BytesIO()
    Image.fromarray(labels[0].T.astype(np.uint8)).save(buffer, "PNG")
    return File(".png", buffer.getvalue())
