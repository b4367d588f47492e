# SPDX-License-Identifier: Apache-2.0
"""Cases of photographs and rasters: the image is copied byte by byte, its masks and strokes become PNG in our values.

Those of an image that is placed on the earth become GeoTIFF in the same place.

Arrays have a channel axis, then spatial axes in the order of MONAI's readers: the first one runs along a row.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
from monai.data import MetaTensor
from monai.utils import ensure_tuple
from PIL import Image

from data_prep.engine.options import ConverterOptions, option
from data_prep.engine.sources import Case, Files, copy_of
from data_prep.formats.encoding import encode_labels, encode_picture, encode_volume, is_tiff
from data_prep.formats.volumes import map_values
from medwsss.keys import IMAGE, LABEL, SCRIBBLE, VOID
from medwsss.study.grid import Grid, fault, misfit
from medwsss.study.intensities import existing, fits_eight_bits, usual_range, void_of
from medwsss.study.readers import loader, suffix_of
from medwsss.transforms import MapWeakLabels, SimulateScribble

PICTURES = (".png", ".jpg", ".jpeg", ".bmp")  #: suffixes
_ORIENTATION = 0x0112  # EXIF
ANNOTATIONS = {"blocks": "block", "scribbles": "centerline"}  #: value of an option: kind of ``SimulateScribble``


def load(path: Path) -> MetaTensor:
    """A file as ``C *S``; two axes of an NPY file are rows and columns, as in a picture."""
    image = cast(MetaTensor, loader()(path))
    return cast(MetaTensor, image.transpose(1, 2)) if _is_npy(path) and image.ndim == 3 else image


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


def is_turned(path: Path) -> bool:
    """Whether a picture (PNG, JPEG, BMP) is displayed in another orientation than its pixels are stored in."""
    if suffix_of(path).lower() not in PICTURES:
        return False
    try:
        with Image.open(path) as picture:
            return bool(picture.getexif().get(_ORIENTATION, 1) != 1)
    except OSError:  # it is told of where its pixels are needed
        return False


def annotation_option(default: str) -> Any:
    """What is drawn where nothing else is said."""
    return option("kind to draw (default: %(default)s)", default=default, choices=ANNOTATIONS)


@dataclass(frozen=True, kw_only=True)
class AnnotationOptions(ConverterOptions):
    """Of converters that draw annotations into dense masks; see :class:`Annotation`."""

    annotation: str = annotation_option("blocks")
    share: float = option("of each region's area, for blocks (default: %(default)s)", default=0.2, metavar="X")
    length_ratio: float = option("for scribbles; 0: clicks (default: 1)", default=1.0, metavar="X")


class Annotation:
    """Draws weak labels into the dense mask of a case: the same ones for the same seed and name.

    Args:
        num_classes: number of classes K.
        options: what to draw.
    """

    def __init__(self, num_classes: int, options: AnnotationOptions) -> None:
        kind = ANNOTATIONS[options.annotation]
        ratio = options.share if kind == "block" else options.length_ratio
        self.draw = SimulateScribble(num_classes, kind, background=kind, length_ratio=ratio)  # class 0 is one of many
        self.seed = options.seed

    def __call__(self, dense: np.ndarray, case: Case) -> np.ndarray:
        """``1 *S`` of classes, ``UNLABELED`` and ``VOID``."""
        self.draw.set_random_state(case.seed(self.seed))
        return np.asarray(self.draw(dense))


def picture_files(
    case: Case,
    labels: MapWeakLabels,
    scribbles: MapWeakLabels | Sequence[MapWeakLabels] = (),
    in_channels: int = 3,
    spatial_dims: int = 2,
    annotation: Annotation | None = None,
    grey_as_rgb: bool = False,
    read_mask: Callable[[Path], MetaTensor] = load,
    read_strokes: Callable[[Path], MetaTensor] = load,
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
        grey_as_rgb: a grey picture of 8 bits is written as RGB, which all readers of a data set of colours take it for.
        read_mask: loads a mask as ``C *S``.
        read_strokes: loads strokes as ``C *S``.

    Raises:
        ValueError: for an image with other channels or a palette, an affine that makes no sense, NaN or infinity that
            it does not declare, or nothing but void; for a label map of another size or in another place than the
            image, with several channels and no colours declared, with undeclared values, or without a label.
    """
    source = case.files[IMAGE]
    assert isinstance(source, Path)
    image = load(source)
    if image.meta.get("mode") == "P":
        raise ValueError(f"expected intensities, got palette indices in {source}: save it as grey or RGB")
    converted = grey_as_rgb and len(image) == 1 and fits_eight_bits(image) and not image.meta.get("void")
    if converted:
        image = cast(MetaTensor, image[[0, 0, 0]])
    if (len(image), image.ndim - 1) != (in_channels, spatial_dims):
        hint = ": grey among colours?" if {len(image), in_channels} == {1, 3} else ""
        raise ValueError(
            f"expected {in_channels} channels and {spatial_dims} axes, got shape {tuple(image.shape)} in {source}{hint}"
        )
    place = Grid.of(image)
    if problem := fault(place, source):
        raise ValueError(problem)
    existing(image, source, some=True)
    void = void_of(image).numpy()

    maps: dict[str, np.ndarray] = {}
    for key, read, conventions in ((LABEL, read_mask, labels), (SCRIBBLE, read_strokes, scribbles)):
        if isinstance(path := case.files.get(key), Path):
            raw = read(path)
            if problem := misfit(place, Grid.of(raw), path):
                raise ValueError(problem)
            candidates = [conventions] if isinstance(conventions, MapWeakLabels) else conventions
            maps[key] = np.where(void, VOID, _mapped(raw, candidates, maps.get(LABEL), path))
    if annotation is not None and case.section == "training":
        maps[SCRIBBLE] = annotation(maps[LABEL], case)

    if converted:
        copy = encode_picture(np.asarray(image), converted="grey to RGB")
    elif _is_npy(source):  # MONAI takes all axes of an NPY file for spatial ones, rows first
        copy = encode_volume(np.asarray(image[0]), np.eye(4), **facts_of(image))
    else:
        copy = copy_of(source, **facts_of(image))
    like = source if is_tiff(source) else None
    return {IMAGE: copy, **{key: encode_labels(array, like, place) for key, array in maps.items()}}


def may_hold_void(cases: Iterable[Case]) -> bool:
    """Whether label maps of the cases may get void: a TIFF may declare nodata or a mask, a PNG be transparent."""
    images = {path for case in cases for path in ensure_tuple(case.files[IMAGE])}
    return any(is_tiff(path) for case in cases for path in case.paths) or any(
        suffix_of(path).lower() == ".png" for path in images
    )


def facts_of(image: Any) -> dict[str, Any]:
    """What a data list says of an image that is not of 8 bits: its usual range, ``intensity``."""
    found = None if fits_eight_bits(image) else usual_range(image)
    return {} if found is None else {"intensity": list(found)}


def _is_npy(path: Path) -> bool:
    return suffix_of(path).lower() == ".npy"


def _mapped(raw: MetaTensor, candidates: Sequence[MapWeakLabels], dense: np.ndarray | None, path: Path) -> np.ndarray:
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
