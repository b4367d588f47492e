# SPDX-License-Identifier: Apache-2.0
"""Check a data list before training: files, shapes, affines, intensities, labels, seeds, splits; and suggest settings.

Every section of the list is read, each file once; training begins with the same checks. Seeds are the key "scribble",
else "label" in "training"; dense masks are "mask", else "label", in "validation" the other way round. Patients are the
key "patient"; without it, images whose names begin alike up to the end of the first number are taken for one patient's,
and that is a warning at most.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

from medwsss.files import read_json, write_json
from medwsss.keys import UNLABELED, VOID
from medwsss.reports.page import picture_of, write_page
from medwsss.study import (
    SCHEMAS,
    MapWeakLabels,
    StudySummary,
    check_study,
    plan_training,
    read_class_names,
    read_schema,
)


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


def run(arguments: argparse.Namespace) -> int:
    """Check, print, write what was asked for; 1 where there are errors, 0 otherwise, with warnings too."""
    path = arguments.list.absolute()
    options = {"num_classes": arguments.num_classes, "schema": arguments.schema}
    options |= {"ignore_values": arguments.ignore_values, "void_values": arguments.void_values}
    schema = read_schema(path, **{k: v for k, v in options.items() if v is not None})
    names = read_class_names(path, schema.num_classes)
    report = check_study(
        path,
        MapWeakLabels.of(schema),
        annotation_key=arguments.annotation_key,
        dense=arguments.dense,
        allow_outside=arguments.allow_outside,
        workers=arguments.workers,
        picture=partial(picture_of, names) if arguments.html else None,
        pictures=arguments.pictures,
    )
    training = report.sections.get("training")
    plan = plan_training(training) if training and training.items else None
    tables = {section: f"{section}: {summary}" for section, summary in report.sections.items()}
    for text in [*tables.values(), *([f"training would do\n{plan}"] if plan else [])]:
        print(text, end="\n\n")
    for kind, texts in (("warning", report.warnings), ("error", report.errors)):
        for text in texts:
            print(f"{kind}: {text}")
    print(f"{report.cases} cases, {len(report.errors)} errors, {len(report.warnings)} warnings")
    if arguments.json:
        found = {"list": str(path), "errors": report.errors, "warnings": report.warnings, "plan": plan and asdict(plan)}
        found["sections"] = {section: _numbers(summary, names) for section, summary in report.sections.items()}
        write_json(found, arguments.json)
    if arguments.html:
        title = read_json(path).get("name", path.stem)
        write_page(arguments.html, title, tables, str(plan or ""), report.errors, report.warnings, report.pictures)
    return 1 if report.errors else 0


def _numbers(summary: StudySummary, names: Sequence[str]) -> dict[str, Any]:
    rows = {**dict(enumerate(names)), UNLABELED: "unlabelled", VOID: "void"}
    voxels = {kind: getattr(summary, kind).tolist() for kind in ("voxels", "mask_voxels")}
    plain = ("items", "channels", "shape", "spacing", "intensity", "compared", "contradictions")
    counts = {kind: {name: values[k] for k, name in rows.items()} for kind, values in voxels.items()}
    return {**{name: getattr(summary, name) for name in plain}, **counts}
