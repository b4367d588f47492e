# SPDX-License-Identifier: Apache-2.0
"""The one check of a study before work starts on it, whoever asks: the command, a training, an evaluation."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from monai.config import PathLike
from torch import Tensor
from tqdm import tqdm

from medwsss.files import read_json
from medwsss.keys import IMAGE, LABEL, SCRIBBLE
from medwsss.parallel import parallel_map
from medwsss.study.axes import differing_orders
from medwsss.study.datalist import find_shared, resolve, section_of
from medwsss.study.declared import read_class_names
from medwsss.study.findings import Files, Findings, examine
from medwsss.study.mapping import MapWeakLabels
from medwsss.study.patients import split_by_features
from medwsss.study.problems import raise_problems
from medwsss.study.summary import StudySummary
from medwsss.study.tags import check_tags, contradiction, is_tagged, miscounted_slices, read_slices, tag_schema

__all__ = ["StudyReport", "check_study"]

#: Picture of a case, by the image's file name: the image, its scribble and its mask.
Picture = Callable[[str, Tensor, "Tensor | None", "Tensor | None"], bytes]


@dataclass
class StudyReport:
    """What a check found."""

    sections: dict[str, StudySummary]  #: those that were opened, in numbers
    errors: list[str]  #: what keeps one from work, in the order of the list
    warnings: list[str]  #: what one ought to know
    pictures: list[tuple[str, str, bytes]]  #: section, image and PNG of some cases
    cases: int  #: that were opened
    tags: str = ""  #: a table of the training items' tags, if they have any

    def accepted(self) -> StudyReport:
        """The report itself, of a study that one can work on.

        Raises:
            ValueError: with every error in a line of its own, if there are any.

        Warns:
            UserWarning: of each warning.
        """
        raise_problems(self.errors)
        for text in self.warnings:
            warnings.warn(text, stacklevel=2)
        return self


@dataclass(frozen=True)
class _Job:
    """Files of one case, and where in the list it is."""

    number: int
    section: str
    labels: MapWeakLabels
    image: Files
    scribble: Files | None = None
    mask: Files | None = None
    picture: Picture | None = None
    tags: Sequence[Sequence[float]] | None = None

    def __call__(self) -> Findings:
        draw = self.picture and partial(self.picture, Path(str(self.image)).name)
        return examine(self.image, self.labels, self.scribble, self.mask, draw, self.tags is not None)


def check_study(
    datalist: PathLike,
    labels: MapWeakLabels,
    sections: Sequence[str] | None = None,
    annotation_key: str | None = None,
    dense: bool = False,
    allow_outside: bool = False,
    workers: int = 1,
    picture: Picture | None = None,
    pictures: int = 24,
    allow_constant_tags: bool = False,
) -> StudyReport:
    """Open the files of a study, each of them once, and look for everything that would spoil the work on it.

    What trains is the key ``scribble``, or ``label`` where no item has a scribble; dense masks are ``mask``, else
    ``label``, and the other way round in the section ``validation``, which measures by ``label``. Names and patients
    are compared over all sections of the list, voxels over those that are opened.

    Args:
        datalist: JSON in MONAI's Decathlon style; file names in it are relative to its folder.
        labels: what the label values mean, in scribbles and masks alike.
        sections: the ones to open; default: every one that has images.
        annotation_key: key of what trains, which every item of the section ``training`` then needs.
        dense: what trains are dense masks, which may label most voxels; scribbles beside them are not opened.
        allow_outside: accept files outside the folder of the list.
        workers: processes; the report is the same for any number.
        picture: draws a case.
        pictures: cases to draw, at most, evenly spread over the list.
        allow_constant_tags: a tag that all training images have is no error.

    Returns:
        Numbers of each section, and what is wrong: a file that is missing or cannot be read, NaN and palette indices in
        an image, another number of channels or axes than the first image has or the list declares, another shape or
        affine than the image's, undeclared label values, a scribble that is a dense mask or has an inverted ignore
        value, an image or a patient in two sections, under another name too, a single class. Warnings are of cases
        without a seed or object, seeds that contradict the mask, images that are there twice, classes that are never
        seeded, volumes in different anatomical orders, and patients in two sections by their files' names alone.

    Raises:
        ValueError: for a list that is not readable, and for a section that has no items.
    """
    path = Path(datalist).absolute()
    content = read_json(path, "a data list")
    known = [name for name, items in content.items() if _has_images(items)]
    opened = {name: section_of(content, name, path) for name in (known if sections is None else sections)}
    if not opened:
        raise ValueError(f"expected a data list with at least one item, got none in {path}")

    errors, doubts = find_shared(content, known)
    errors += _miscounted(content, known)
    if labels.num_classes < 2 and "training" in opened:
        errors.append(f"expected at least two classes, got one: every voxel is of it, background wants a name, {path}")
    schema = tag_schema(path) if any(is_tagged(content, name) for name in opened) else None
    training_tags: list[Sequence[float]] = []
    jobs: list[_Job] = []
    for section, items in opened.items():
        key = (annotation_key or _expected(items, dense)) if section == "training" else None
        for index, item in enumerate(items):
            where = f"{path}: {section}[{index}]"
            named, problems = _named(item, section, where, key, dense)
            files = {}
            for role, (name, value) in named.items():
                files[role], found = resolve(path.parent, value, f"{where}[{name!r}]", allow_outside)
                problems += found
            tags = None
            if schema is not None:
                tags, wrong = read_slices(item, where, schema, needed=section == "training" and is_tagged(content))
                problems += wrong
                training_tags += tags * (section == "training" and not wrong)
            errors += problems
            if not problems:
                jobs.append(_Job(len(jobs), section, labels, **files, tags=tags))
    stride = -(-len(jobs) // max(pictures, 1))
    jobs = [job if job.number % stride else replace(job, picture=picture) for job in jobs]

    classes = labels.num_classes, read_class_names(path, labels.num_classes), labels.values
    report = StudyReport({name: StudySummary(*classes) for name in opened}, errors, doubts, [], len(jobs))
    if schema is not None and training_tags:
        wrong, doubtful, report.tags = check_tags(training_tags, schema, allow_constant_tags)
        report.errors += wrong
        report.warnings += doubtful
    examined = parallel_map(_Job.__call__, jobs, workers, ordered=True)
    for job, case in tqdm(examined, total=len(jobs), desc="checking data", disable=None):
        report.sections[job.section].add(case, str(job.image))
        if schema and job.tags:
            report.errors += miscounted_slices(job.tags, case.shape[1:], schema, str(job.image))
            if case.mask is not None and (told := contradiction(job.tags, case.mask, schema)):
                report.warnings.append(f"{told} in {job.mask}")
        if case.picture:
            report.pictures.append((job.section, str(job.image), case.picture))
    for section, summary in report.sections.items():
        if section == "training":
            summary.close()
        report.errors += summary.errors + _misdeclared(content, summary, section)
        report.warnings += summary.warnings
    orders = [summary.anatomy for summary in report.sections.values()]
    report.warnings += differing_orders({order: name for found in reversed(orders) for order, name in found.items()})
    report.errors += [] if split_by_features(content) else _twins(report.sections)
    return report


def _expected(items: Sequence[Any], dense: bool) -> str | None:
    """The key that all items that train need, since one has it: training would not take the others either."""
    given = not dense and any(isinstance(item, Mapping) and SCRIBBLE in item for item in items)
    return SCRIBBLE if given and not is_tagged({"training": items}) else None


def _has_images(items: Any) -> bool:
    return isinstance(items, list) and any(isinstance(item, dict) and IMAGE in item for item in items)


def _named(
    item: Any, section: str, where: str, annotation_key: str | None, dense: bool
) -> tuple[dict[str, tuple[str, Any]], list[str]]:
    """``{role: (key, its value)}`` of what an item has of image, scribble and mask, and what it lacks."""
    if not isinstance(item, Mapping):
        return {}, [f"{where}: expected an item with an image and a label, got {item!r}"]
    masks = (LABEL, "mask") if section == "validation" else ("mask", LABEL)
    mask = next((key for key in masks if key in item), LABEL)
    keys = {"scribble": SCRIBBLE, "mask": mask}
    if section == "training" and is_tagged({section: [item]}) and annotation_key is None and SCRIBBLE not in item:
        keys = {"mask": mask}  # a mask beside tags is for figures
    elif section == "training":
        keys["scribble"] = annotation_key or (SCRIBBLE if SCRIBBLE in item else LABEL)
        keys = {"mask": annotation_key or mask} if dense else keys
    named = {r: (k, item.get(k)) for r, k in keys.items() if item.get(k) is not None or k == annotation_key}
    if len({str(value) for _, value in named.values()}) < len(named):
        del named["mask"]  # both are one file
    if not named and section in ("training", "validation") and not is_tagged({section: [item]}, section):
        tried = " or ".join(map(repr, dict.fromkeys(keys.values())))
        return {}, [f"{where}: expected a label for the image, got none under {tried}"]
    return {"image": (IMAGE, item.get(IMAGE)), **named}, []


def _miscounted(content: Mapping[str, Any], sections: Sequence[str]) -> list[str]:
    """Where a list has not as many items as it says."""
    declared = {name: content.get(f"num{name.capitalize()}") for name in sections}
    return [
        f"expected {count} items in {name} (num{name.capitalize()}), got {len(content[name])}"
        for name, count in declared.items()
        if isinstance(count, int) and count != len(content[name])
    ]


def _misdeclared(content: Mapping[str, Any], summary: StudySummary, section: str) -> list[str]:
    """Where images are not what the list says of them."""
    problems = []
    channels = content.get("channel_names") or content.get("modality")
    if isinstance(channels, dict) and summary.channels not in (None, len(channels)):
        problems.append(f"expected {len(channels)} channels as declared, got {summary.channels} in {section}")
    axes = {"2D": 2, "3D": 3}.get(str(content.get("tensorImageSize")))
    if axes and summary.shape and len(summary.shape[0]) != axes:
        problems.append(f"expected {axes} axes (tensorImageSize), got {len(summary.shape[0])} in {section}")
    return problems


def _twins(sections: Mapping[str, StudySummary]) -> list[str]:
    """Images that are in two sections under two names."""
    seen: dict[str, tuple[str, str]] = {}
    problems = []
    for section, summary in sections.items():
        for digest, name in summary.digests.items():
            other, twin = seen.setdefault(digest, (section, name))
            if other != section and twin != name:  # the same name is told of without opening it
                problems.append(f"expected different images, got the same voxels in {other} ({twin}) and {name}")
    return problems
