# SPDX-License-Identifier: Apache-2.0
"""CamVid, 11 classes, with blocks or strokes drawn into its dense masks::

    --source  {train,val,test}/NAME.png with {train,val,test}annot/NAME.png, as SegNet's tutorial has it,
              or images/{train,val}/NAME.jpg with labels/{train,val}/NAME.png; masks: 0 to 10, 11 void

Frames come from video: those of one drive look alike, and the usual split has drive 0016E5 on both sides.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path

from data_prep.engine.completeness import PartialOptions, existing
from data_prep.engine.conversion import convert
from data_prep.engine.sources import Case, Dataset, visible
from data_prep.formats.pictures import Annotation, AnnotationOptions, annotation_option, picture_files
from medwsss.keys import IMAGE, LABEL
from medwsss.study.readers import SUFFIXES, suffix_of
from medwsss.transforms import MapWeakLabels

CLASSES = (
    *("sky", "building", "pole", "road", "pavement", "tree"),
    *("sign symbol", "fence", "car", "pedestrian", "bicyclist"),
)
COUNTS: dict[str | None, int] = {"training": 367, "validation": 101, "test": 233}
SECTIONS = {"train": "training", "val": "validation", "test": "test"}
LABELS = MapWeakLabels(len(CLASSES), void_values=len(CLASSES))


@dataclass(frozen=True, kw_only=True)
class Options(PartialOptions, AnnotationOptions):
    """Of the command."""

    annotation: str = annotation_option("scribbles")


def run(options: Options) -> int:
    """Convert."""
    cases = list_cases(options.source)
    sections = {case.section for case in cases} | {"training", "validation"}  # test images may be left away
    expected = {section: count for section, count in COUNTS.items() if section in sections}
    cases = existing(cases, expected, options.partial)
    make = partial(picture_files, labels=LABELS, annotation=Annotation(len(CLASSES), options), grey_as_rgb=True)
    dataset = Dataset("CamVid", CLASSES, cases, make, [options.source], spatial_dims=2, in_channels=3, void=True)
    return convert(dataset, options)


def list_cases(source: Path) -> list[Case]:
    """A case an image; its mask need not exist."""
    cases = []
    for folder, section in SECTIONS.items():
        for images, masks in ((folder, f"{folder}annot"), (f"images/{folder}", f"labels/{folder}")):
            for image in [path for path in visible(source / images, "*") if suffix_of(path).lower() in SUFFIXES]:
                files = {IMAGE: image, LABEL: source / masks / f"{image.stem}.png"}
                cases.append(Case(image.stem, image.stem, files, section))
    return cases
