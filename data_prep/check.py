# SPDX-License-Identifier: Apache-2.0
"""Check a data list before training: files, shapes, affines, intensities, labels, seeds, splits; and suggest settings.

Every section of the list is read, each file once. Seeds are the key "scribble", else "label" in "training"; dense masks
are "mask", else "label". Patients are the key "patient"; without it, images whose names begin alike up to the end of
the first number are taken for one patient's, and that is a warning at most.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from tqdm import tqdm

from medwsss.keys import IMAGE, LABEL, SCRIBBLE, UNLABELED, VOID
from medwsss.parallel import parallel_map
from medwsss.reports.page import picture_of, write_page
from medwsss.study.datalist import find_shared, read_class_names, read_content, read_schema, resolve
from medwsss.study.findings import Case, examine
from medwsss.study.plan import plan_training
from medwsss.study.summary import DatalistSummary
from medwsss.transforms import SCHEMAS, MapWeakLabels

_NEEDS_LABELS = ("training", "validation")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("list", type=Path, help="the data list, JSON in MONAI's Decathlon style")
    parser.add_argument("--num-classes", type=int, help="default: by the list")
    parser.add_argument(
        "--ignore-values", type=int, nargs="*", help="values of unlabelled voxels; default: by the list"
    )
    parser.add_argument("--void-values", type=int, nargs="*", help="values of voxels that aren't there")
    parser.add_argument("--schema", choices=sorted(SCHEMAS), help="a known convention, instead of values")
    parser.add_argument("--annotation-key", help='key of what trains; default "scribble", else "label"')
    parser.add_argument("--dense", action="store_true", help="labels of the training section are dense masks")
    parser.add_argument("--allow-outside", action="store_true", help="accept files outside the list's folder")
    parser.add_argument("--workers", type=int, default=1, help="processes (default %(default)s)")
    parser.add_argument("--json", type=Path, help="write everything that was found")
    parser.add_argument("--html", type=Path, help="write a page of it, with pictures of cases")
    parser.add_argument("--pictures", type=int, default=24, help="cases on the page (default %(default)s)")


@dataclass(frozen=True)
class _Job:
    """Files of one case, and where in the list it is."""

    number: int
    section: str
    image: Any
    scribble: Any
    mask: Any
    labels: MapWeakLabels
    drawn: tuple[str, ...] | None  # names of the classes, for cases of which a picture is wanted

    def __call__(self) -> Case:
        draw = self.drawn and partial(picture_of, self.drawn, Path(str(self.image)).name)
        return examine(self.image, self.labels, self.scribble, self.mask, draw or None)


def run(arguments: argparse.Namespace) -> int:
    """Check, print, write what was asked for; 1 where there are errors, 0 otherwise, with warnings too."""
    path = arguments.list.absolute()
    content = read_content(path)
    options = {"num_classes": arguments.num_classes, "schema": arguments.schema}
    options |= {"ignore_values": arguments.ignore_values, "void_values": arguments.void_values}
    schema = read_schema(path, **{k: v for k, v in options.items() if v is not None})
    labels = MapWeakLabels.of(schema)
    names = tuple(read_class_names(path, schema.num_classes))
    sections = [name for name, items in content.items() if _is_section(items)]
    if not sections:
        raise ValueError(f"expected a data list with at least one item, got none in {path}")

    errors, warnings = find_shared(content, sections)
    errors += _contradicted_counts(content, sections)
    jobs: list[_Job] = []
    for section in sections:
        for index, item in enumerate(content[section]):
            files, problems = _files(item, section, f"{path}: {section}[{index}]", path.parent, arguments)
            errors += problems
            if not problems:
                jobs.append(_Job(number=len(jobs), section=section, labels=labels, drawn=None, **files))
    if arguments.html and jobs:
        stride = -(-len(jobs) // max(arguments.pictures, 1))
        jobs = [replace(job, drawn=None if job.number % stride else names) for job in jobs]

    summaries = {section: DatalistSummary(schema.num_classes) for section in sections}
    pictures = []
    for job, case in tqdm(_in_order(jobs, arguments.workers), total=len(jobs), desc="checking", disable=None):
        summaries[job.section].add(case, str(job.image))
        if case.picture:
            pictures.append((job.section, str(job.image), case.picture))
    for section, summary in summaries.items():
        if section == "training":
            summary.close()
        errors += summary.errors + _declared(content, summary, section)
        warnings += summary.warnings
    errors += _twins(summaries)

    training = summaries.get("training")
    plan = plan_training(training) if training and training.items else None
    tables = {section: f"{section}: {summary}" for section, summary in summaries.items()}
    for text in [*tables.values(), *([f"training would do\n{plan}"] if plan else [])]:
        print(text, end="\n\n")
    for kind, texts in (("warning", warnings), ("error", errors)):
        for text in texts:
            print(f"{kind}: {text}")
    print(f"{len(jobs)} cases, {len(errors)} errors, {len(warnings)} warnings")
    report = {"list": str(path), "errors": errors, "warnings": warnings, "plan": plan and asdict(plan)}
    report["sections"] = {section: _numbers(summary, names) for section, summary in summaries.items()}
    if arguments.json:
        arguments.json.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    if arguments.html:
        write_page(arguments.html, content.get("name", path.stem), tables, str(plan or ""), errors, warnings, pictures)
    return 1 if errors else 0


def _is_section(items: Any) -> bool:
    return isinstance(items, list) and any(isinstance(item, dict) and IMAGE in item for item in items)


def _files(
    item: Any, section: str, where: str, folder: Path, arguments: argparse.Namespace
) -> tuple[dict[str, Any], list[str]]:
    """Image, scribble and mask of an item, ``None`` for what it has not got; and what is wrong with their names."""
    if not isinstance(item, Mapping):
        return {}, [f"{where}: expected an item with an image and a label, got {item!r}"]
    training = section == "training"
    key = arguments.annotation_key if training else None
    seeds, dense = SCRIBBLE, "mask" if "mask" in item else LABEL
    if training and arguments.dense:
        dense = key or dense
    elif training:
        seeds = key or (SCRIBBLE if SCRIBBLE in item else LABEL)
    scribble, mask = item.get(seeds), item.get(dense)
    if scribble == mask:
        scribble, mask = (None, mask) if training and arguments.dense else (scribble, None)
    if scribble is None and mask is None and section in _NEEDS_LABELS:
        return {}, [f"{where}: expected a label for the image, got none under {seeds!r} or {dense!r}"]
    files: dict[str, Any] = {}
    problems = []
    for role, key, value in (("image", IMAGE, item.get(IMAGE)), ("scribble", seeds, scribble), ("mask", dense, mask)):
        files[role] = None
        if role == "image" or value is not None:
            files[role], found = resolve(folder, value, f"{where}[{key!r}]", arguments.allow_outside)
            problems += found
    return files, problems


def _in_order(jobs: list[_Job], workers: int) -> Iterator[tuple[_Job, Case]]:
    """Each job and its case as soon as those before are there: the report is the same for any number of workers."""
    waiting: dict[int, tuple[_Job, Case]] = {}
    due = 0
    for job, case in parallel_map(_Job.__call__, jobs, workers):
        waiting[job.number] = job, case
        while due in waiting:
            yield waiting.pop(due)
            due += 1


def _contradicted_counts(content: Mapping[str, Any], sections: list[str]) -> list[str]:
    told = {name: content.get(f"num{name.capitalize()}") for name in sections}
    return [
        f"expected {count} items in {name} (num{name.capitalize()}), got {len(content[name])}"
        for name, count in told.items()
        if isinstance(count, int) and count != len(content[name])
    ]


def _declared(content: Mapping[str, Any], summary: DatalistSummary, section: str) -> list[str]:
    """Where images are not what the list says of them."""
    problems = []
    channels = content.get("channel_names") or content.get("modality")
    if isinstance(channels, dict) and summary.channels not in (None, len(channels)):
        problems.append(f"expected {len(channels)} channels as declared, got {summary.channels} in {section}")
    axes = {"2D": 2, "3D": 3}.get(str(content.get("tensorImageSize")))
    if axes and summary.shape and len(summary.shape[0]) != axes:
        problems.append(f"expected {axes} axes (tensorImageSize), got {len(summary.shape[0])} in {section}")
    return problems


def _twins(summaries: Mapping[str, DatalistSummary]) -> list[str]:
    seen: dict[str, tuple[str, str]] = {}
    problems = []
    for section, summary in summaries.items():
        for digest, name in summary.digests.items():
            other, twin = seen.setdefault(digest, (section, name))
            if other != section and twin != name:  # the same name is told of without opening it
                problems.append(f"expected different images, got the same voxels in {other} ({twin}) and {name}")
    return problems


def _numbers(summary: DatalistSummary, names: tuple[str, ...]) -> dict[str, Any]:
    rows = {**dict(enumerate(names)), UNLABELED: "unlabelled", VOID: "void"}
    voxels = {kind: getattr(summary, kind).tolist() for kind in ("voxels", "mask_voxels")}
    plain = ("items", "channels", "shape", "spacing", "intensity", "compared", "contradictions")
    counts = {kind: {name: values[k] for k, name in rows.items()} for kind, values in voxels.items()}
    return {**{name: getattr(summary, name) for name in plain}, **counts}
