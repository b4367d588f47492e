# SPDX-License-Identifier: Apache-2.0
"""PASCAL VOC 2012, extended by SBD to 10,582 training images, with the strokes of ScribbleSup::

    --source     VOCdevkit/VOC2012, or a folder above it
                 JPEGImages/NAME.jpg, SegmentationClass/NAME.png (255: void), ImageSets/Segmentation/{train,val}.txt
    --sbd        benchmark_RELEASE: dataset/cls/NAME.mat, dataset/{train,val}.txt
    --scribbles  NAME.xml (polylines) or NAME.png (255: unlabelled; a folder pascal_2012_scribble…)

Training are the images of SBD and of VOC's train list without VOC's val list, which is validation. Where both have a
mask, VOC's counts: it is finer. Strokes in XML are drawn three pixels wide with pixels counted from 0.

--length-ratio keeps the middle part of each stroke of that length (0: a click). Strokes in PNG are shortened, too, by
their pixels; where a publisher has a folder of PNG for each ratio, name that folder and leave the ratio alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import cast

from monai.data import MetaTensor
from scipy.io import loadmat

from data_prep.engine.completeness import PartialOptions, existing
from data_prep.engine.conversion import convert
from data_prep.engine.options import option, path_option
from data_prep.engine.sources import Case, Dataset, Files, read_text
from data_prep.formats.pictures import load, picture_files
from data_prep.formats.polylines import draw, read_polylines
from data_prep.formats.volumes import one_channel
from medwsss.keys import IMAGE, LABEL, SCRIBBLE, UNLABELED
from medwsss.transforms import MapWeakLabels, ShortenScribble

CLASSES = (
    *("background", "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow"),
    *("diningtable", "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor"),
)
SHORT_NAMES = {"plane": 1, "bike": 2, "table": 11, "plant": 16, "monitor": 20}  # in one of the copies of ScribbleSup
COUNTS: dict[str | None, int] = {"training": 10582, "validation": 1449}
WIDTH = 3.0  # pixels

LABELS = MapWeakLabels(len(CLASSES), void_values=UNLABELED)
SCRIBBLES = MapWeakLabels(len(CLASSES), ignore_values=UNLABELED)


@dataclass(frozen=True, kw_only=True)
class Options(PartialOptions):
    """Of the command."""

    sbd: Path | None = path_option("folder benchmark_RELEASE of the Semantic Boundaries Dataset", default=None)
    scribbles: Path | None = path_option("folder of ScribbleSup's strokes", default=None)
    length_ratio: float = option("0, 0.3, 0.5, 0.8 or 1 in the field (default: 1)", default=1.0, metavar="X")


def run(options: Options) -> int:
    """Convert."""
    if not 0 <= options.length_ratio <= 1:
        raise ValueError(f"expected a length ratio from 0 to 1, got {options.length_ratio}")
    voc = find_voc(options.source)
    cases = existing(list_cases(voc, options.sbd, options.scribbles), COUNTS, options.partial)
    roots = [root for root in (options.source, options.sbd, options.scribbles) if root is not None]
    make = partial(make_files, ratio=options.length_ratio)
    dataset = Dataset("PASCAL VOC 2012", CLASSES, cases, make, roots, spatial_dims=2, in_channels=3, void=True)
    return convert(dataset, options)


def find_voc(source: Path) -> Path:
    """The folder ``VOC2012`` at or below ``source``.

    Raises:
        ValueError: if there is none.
    """
    for folder in (source, source / "VOC2012", source / "VOCdevkit" / "VOC2012"):
        if (folder / "ImageSets" / "Segmentation").is_dir():
            return folder
    raise ValueError(f"expected VOCdevkit/VOC2012 with ImageSets/Segmentation, got {source}")


def list_cases(voc: Path, sbd: Path | None, scribbles: Path | None) -> list[Case]:
    """Cases by the lists of both data sets; their files need not exist."""
    train, val = (_names(voc / "ImageSets" / "Segmentation" / f"{name}.txt") for name in ("train", "val"))
    masks = {name: voc / "SegmentationClass" / f"{name}.png" for name in [*train, *val]}
    if sbd is not None:
        more = [name for part in ("train", "val") for name in _names(sbd / "dataset" / f"{part}.txt")]
        masks = {name: sbd / "dataset" / "cls" / f"{name}.mat" for name in more} | masks
    cases = []
    for name, mask in sorted(masks.items()):
        files = {IMAGE: voc / "JPEGImages" / f"{name}.jpg", LABEL: mask}
        section = "validation" if name in val else "training"
        if scribbles is not None and section == "training":
            polylines = scribbles / f"{name}.xml"
            files[SCRIBBLE] = polylines if polylines.exists() else scribbles / f"{name}.png"
        cases.append(Case(name, name, files, section))
    return cases


def make_files(case: Case, ratio: float) -> Files:
    """Image, mask and strokes of one photograph."""
    strokes = partial(read_strokes, ratio=ratio)
    return picture_files(case, LABELS, SCRIBBLES, read_mask=read_mask, read_strokes=strokes, grey_as_rgb=True)


def read_mask(path: Path) -> MetaTensor:
    """A picture, or SBD's ``.mat``."""
    if path.suffix != ".mat":
        return load(path)
    try:
        return MetaTensor(loadmat(path)["GTcls"]["Segmentation"][0, 0].T[None])
    except Exception as error:  # SciPy's are of many types
        raise ValueError(f"expected GTcls.Segmentation as in SBD, got {error} in {path}") from error


def read_strokes(path: Path, ratio: float) -> MetaTensor:
    """Polylines or a picture, shortened to ``ratio`` of their length."""
    if path.suffix == ".xml":
        size, polylines = read_polylines(path)
        classes = {name: k for k, name in enumerate(CLASSES)} | SHORT_NAMES
        try:
            return MetaTensor(draw(polylines, classes, size, WIDTH, ratio)[None])
        except ValueError as error:
            raise ValueError(f"{error} in {path}") from error
    strokes = one_channel(load(path))
    return cast(MetaTensor, ShortenScribble(ratio)(strokes)) if len(strokes) == 1 else strokes


def _names(path: Path) -> dict[str, None]:
    """The words of a list, in order."""
    if not path.is_file():
        raise ValueError(f"expected a list of names, got no file {path}")
    return dict.fromkeys(read_text(path).split())
