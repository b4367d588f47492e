# SPDX-License-Identifier: Apache-2.0
"""ADE20K as in the scene parsing challenge, 150 classes, with blocks for labels::

    --source  ADEChallengeData2016, or the folder above it
              images/{training,validation}/ADE_{train,val}_NNNNNNNN.jpg
              annotations/{training,validation}/ADE_{train,val}_NNNNNNNN.png (1 to 150; 0: void)
              objectInfo150.txt, optional: names of the classes
    --blocks  optional: a folder of Tree Energy Loss, as ade20k/train/sparse_label/block20, with a PNG a training
              image, classes counted from 1 (0: unlabelled) or from 0 (255: unlabelled)

Without --blocks, blocks of --share of each region are drawn into the dense masks.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path

from data_prep.engine.completeness import PartialOptions, existing
from data_prep.engine.conversion import convert
from data_prep.engine.options import path_option
from data_prep.engine.sources import Case, Dataset, read_text, visible
from data_prep.formats.pictures import Annotation, AnnotationOptions, picture_files
from medwsss.keys import IMAGE, LABEL, SCRIBBLE, UNLABELED
from medwsss.transforms import MapWeakLabels

NUM_CLASSES = 150
COUNTS: dict[str | None, int] = {"training": 20210, "validation": 2000}

_FROM_ONE = {k + 1: k for k in range(NUM_CLASSES)}
LABELS = MapWeakLabels(NUM_CLASSES, void_values=0, mapping=_FROM_ONE)
BLOCKS = (
    MapWeakLabels(NUM_CLASSES, ignore_values=[0, UNLABELED], mapping=_FROM_ONE),
    MapWeakLabels(NUM_CLASSES, ignore_values=UNLABELED),
)


@dataclass(frozen=True, kw_only=True)
class Options(PartialOptions, AnnotationOptions):
    """Of the command."""

    blocks: Path | None = path_option("folder of published blocks", default=None)


def run(options: Options) -> int:
    """Convert."""
    inner = options.source / "ADEChallengeData2016"
    source = inner if inner.is_dir() else options.source
    cases = existing(list_cases(source, options.blocks), COUNTS, options.partial)
    roots = [root for root in (options.source, options.blocks) if root is not None]
    annotation = None if options.blocks else Annotation(NUM_CLASSES, options)
    make = partial(picture_files, labels=LABELS, scribbles=BLOCKS, annotation=annotation, grey_as_rgb=True)
    dataset = Dataset("ADE20K", read_names(source), cases, make, roots, spatial_dims=2, in_channels=3, void=True)
    return convert(dataset, options)


def list_cases(source: Path, blocks: Path | None) -> list[Case]:
    """A case an image; its other files need not exist."""
    cases = []
    for section in ("training", "validation"):  # the folders are named like our sections
        for image in visible(source / "images" / section, "*.jpg"):
            files = {IMAGE: image, LABEL: source / "annotations" / section / f"{image.stem}.png"}
            if blocks is not None and section == "training":
                files[SCRIBBLE] = blocks / f"{image.stem}.png"
            cases.append(Case(image.stem, image.stem, files, section))
    return cases


def read_names(source: Path) -> list[str]:
    """Names of the classes by ``objectInfo150.txt`` (Idx, Ratio, Train, Val, Name; tabs between), else numbers.

    Raises:
        ValueError: for a table of other classes.
    """
    path = source / "objectInfo150.txt"
    if not path.exists():
        return [f"class {k}" for k in range(NUM_CLASSES)]
    rows = [line.split("\t") for line in read_text(path).splitlines()[1:] if line.strip()]
    if [row[0].strip() for row in rows] != [str(k + 1) for k in range(NUM_CLASSES)]:
        raise ValueError(f"expected rows 1 to {NUM_CLASSES}, got {len(rows)} others in {path}")
    return [row[-1].strip() for row in rows]
