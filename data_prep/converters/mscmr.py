# SPDX-License-Identifier: Apache-2.0
"""MSCMR (late gadolinium enhancement) with expert scribbles, in CycleMix's layout and with its split::

    MSCMR_dataset/train/images/subject2_DE.nii.gz      labels/subject2_DE_scribble.nii.gz     25; 4 is unlabelled
    MSCMR_dataset/val/images/subject1_DE.nii.gz        labels/subject1_DE_manual.nii.gz       5
    MSCMR_dataset/TestSet/images/subject3_DE.nii.gz    labels/subject3_DE_manual.nii.gz       15

The mask of subject 43 fits its image voxel by voxel while its affine does not: the images' affines count.
"""

from __future__ import annotations

from functools import partial

from data_prep.engine.completeness import PartialOptions, existing
from data_prep.engine.conversion import convert
from data_prep.engine.sources import Case, Dataset
from data_prep.engine.splits import SECTIONS, SPLITS
from data_prep.formats.volumes import volume_files
from medwsss.keys import IMAGE, LABEL, SCRIBBLE
from medwsss.transforms import SCHEMAS, MapWeakLabels

CLASSES = ("background", "right ventricle cavity", "myocardium", "left ventricle cavity")
FOLDERS = dict(zip(SECTIONS, ("train", "val", "TestSet")))


Options = PartialOptions


def run(options: Options) -> int:
    """Convert."""
    root = next((path for path in (options.source / "MSCMR_dataset", options.source) if path.is_dir()), None)
    if root is None or not (root / "train").is_dir():
        raise ValueError(f"expected folders {', '.join(FOLDERS.values())} in {options.source}, got none")
    (split,) = SPLITS["mscmr"]
    cases = []
    for section, folder in FOLDERS.items():
        key, ending = (SCRIBBLE, "scribble") if section == "training" else (LABEL, "manual")
        for number in sorted(getattr(split, section)):
            name = f"subject{number}_DE"
            files = {
                IMAGE: root / folder / "images" / f"{name}.nii.gz",
                key: root / folder / "labels" / f"{name}_{ending}.nii.gz",
            }
            cases.append(Case(name, f"subject{number}", files, section))
    cases = existing(cases, {section: len(getattr(split, section)) for section in SECTIONS}, options.partial)
    scribbles = MapWeakLabels.of(SCHEMAS["mscmr"]())
    make = partial(volume_files, labels=MapWeakLabels(len(CLASSES)), scribbles=scribbles, trust_voxels=True)
    return convert(Dataset("MSCMR", CLASSES, cases, make, [options.source]), options)
