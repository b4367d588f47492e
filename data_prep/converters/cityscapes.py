# SPDX-License-Identifier: Apache-2.0
"""Cityscapes, 19 classes, with blocks for labels::

    --source  leftImg8bit/{train,val}/CITY/CITY_NNNNNN_NNNNNN_leftImg8bit.png
              gtFine/{train,val}/CITY/CITY_NNNNNN_NNNNNN_gtFine_labelIds.png, else …_labelTrainIds.png
    --blocks  optional: a folder of Tree Energy Loss, as cityscapes/train/sparse_label/block20, with a PNG a training
              image whose name begins with CITY_NNNNNN_NNNNNN, in train ids or label ids (255: unlabelled)

Without --blocks, blocks of --share of each region are drawn into the fine masks.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path

from data_prep.engine.completeness import PartialOptions, existing
from data_prep.engine.conversion import convert
from data_prep.engine.options import path_option
from data_prep.engine.sources import Case, Dataset, Files, visible
from data_prep.formats.pictures import Annotation, AnnotationOptions, files_by, picture_files
from medwsss.keys import IMAGE, LABEL, SCRIBBLE, UNLABELED
from medwsss.transforms import MapWeakLabels

CLASSES = (
    *("road", "sidewalk", "building", "wall", "fence", "pole", "traffic light", "traffic sign", "vegetation"),
    *("terrain", "sky", "person", "rider", "car", "truck", "bus", "train", "motorcycle", "bicycle"),
)
LABEL_IDS = (7, 8, 11, 12, 13, 17, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 31, 32, 33)  #: of the classes
OTHER_IDS = [value for value in range(34) if value not in LABEL_IDS]
COUNTS: dict[str | None, int] = {"training": 2975, "validation": 500}
SECTIONS = {"train": "training", "val": "validation"}

_IDS = {value: k for k, value in enumerate(LABEL_IDS)}
LABELS = {
    "labelIds": MapWeakLabels(len(CLASSES), void_values=OTHER_IDS, mapping=_IDS),
    "labelTrainIds": MapWeakLabels(len(CLASSES), void_values=UNLABELED),
}
BLOCKS = (
    MapWeakLabels(len(CLASSES), ignore_values=UNLABELED),
    MapWeakLabels(len(CLASSES), ignore_values=[*OTHER_IDS, UNLABELED], mapping=_IDS),
)


@dataclass(frozen=True, kw_only=True)
class Options(PartialOptions, AnnotationOptions):
    """Of the command."""

    blocks: Path | None = path_option("folder of published blocks", default=None)


def run(options: Options) -> int:
    """Convert."""
    cases = existing(list_cases(options.source, options.blocks), COUNTS, options.partial)
    roots = [root for root in (options.source, options.blocks) if root is not None]
    annotation = None if options.blocks else Annotation(len(CLASSES), options)
    make = partial(make_files, annotation=annotation)
    dataset = Dataset("Cityscapes", CLASSES, cases, make, roots, spatial_dims=2, in_channels=3, void=True)
    return convert(dataset, options)


def list_cases(source: Path, blocks: Path | None) -> list[Case]:
    """A case an image; its other files need not exist."""
    sparse = {} if blocks is None else files_by(visible(blocks, "**/*.png"), _frame)
    cases = []
    for folder, section in SECTIONS.items():
        for image in visible(source / "leftImg8bit" / folder, "*/*_leftImg8bit.png"):
            frame = _frame(image)
            stem = source / "gtFine" / folder / image.parent.name / f"{frame}_gtFine_"
            masks = [stem.with_name(f"{stem.name}{kind}.png") for kind in LABELS]
            files = {IMAGE: image, LABEL: next((mask for mask in masks if mask.exists()), masks[0])}
            if blocks is not None and section == "training":
                files[SCRIBBLE] = sparse.get(frame, blocks / f"{image.stem}.png")
            cases.append(Case(frame, image.parent.name, files, section))
    return cases


def make_files(case: Case, annotation: Annotation | None) -> Files:
    """Image, mask and blocks of one frame."""
    kind = str(case.files[LABEL]).removesuffix(".png").rsplit("_", 1)[-1]
    return picture_files(case, LABELS[kind], BLOCKS, annotation=annotation, grey_as_rgb=True)


def _frame(path: Path) -> str:
    """``CITY_NNNNNN_NNNNNN`` of a file's name."""
    return "_".join(path.stem.split("_")[:3])
