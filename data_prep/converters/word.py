# SPDX-License-Identifier: Apache-2.0
"""WORD, abdominal CT with 16 organs, in its official layout (also below ``WORD-V0.1.0``)::

    imagesTr/word_0002.nii.gz    labelsTr/…    scribblesTr/…    100 cases
    imagesVal/…                  labelsVal/…                     20 cases
    imagesTs/…                   labelsTs/…                      30 cases; its masks are an archive of their own

Without ``scribblesTr`` the study is dense. WORD's scribble generator writes 255 where nothing is labelled.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

from data_prep.engine.completeness import PartialOptions, existing
from data_prep.engine.conversion import convert
from data_prep.engine.options import option
from data_prep.engine.sources import Case, Dataset, visible
from data_prep.engine.splits import SECTIONS
from data_prep.formats.volumes import volume_files
from medwsss.keys import IMAGE, LABEL, SCRIBBLE, UNLABELED
from medwsss.study.readers import stem_of
from medwsss.transforms import MapWeakLabels

CLASSES = (
    *("background", "liver", "spleen", "left kidney", "right kidney", "stomach", "gallbladder", "esophagus"),
    *("pancreas", "duodenum", "colon", "intestine", "adrenal", "rectum", "bladder"),
    *("left head of femur", "right head of femur"),
)
ENDINGS = dict(zip(SECTIONS, ("Tr", "Val", "Ts")))
COUNTS = dict(zip(SECTIONS, (100, 20, 30)))


@dataclass(frozen=True, kw_only=True)
class Options(PartialOptions):
    """Of the command."""

    ignore_value: int = option(
        "of unlabelled voxels in scribblesTr (default: %(default)s)", default=UNLABELED, metavar="V"
    )


def run(options: Options) -> int:
    """Convert."""
    source = options.source
    root = source / "WORD-V0.1.0" if (source / "WORD-V0.1.0").is_dir() else source
    has_scribbles = (root / "scribblesTr").is_dir()
    sections = [section for section in SECTIONS if section != "test" or (root / "labelsTs").is_dir()]
    cases = []
    for section in sections:
        for image in visible(root / f"images{ENDINGS[section]}", "*.nii.gz"):
            files = {IMAGE: image, LABEL: root / f"labels{ENDINGS[section]}" / image.name}
            if has_scribbles and section == "training":
                files[SCRIBBLE] = root / "scribblesTr" / image.name
            cases.append(Case(stem_of(image), stem_of(image), files, section))
    cases = existing(cases, {section: COUNTS[section] for section in sections}, options.partial)
    scribbles = MapWeakLabels(len(CLASSES), ignore_values=options.ignore_value)
    make = partial(volume_files, labels=MapWeakLabels(len(CLASSES)), scribbles=scribbles)
    return convert(Dataset("WORD", CLASSES, cases, make, [source]), options)
