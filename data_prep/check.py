# SPDX-License-Identifier: Apache-2.0
"""Check a data list before training: files, shapes, affines, intensities, labels, seeds, splits; and plan the training.

Every section of the list is read, each file once; training begins with the same checks. Seeds are the key "scribble",
else "label" in "training"; dense masks are "mask", else "label", in "validation" the other way round. Patients are the
key "patient"; without it, images whose names differ in a frame, slice, session, modality, channel or word at their end
are taken for one patient's, and that is a warning at most. For the plan four cases with strokes are read once more, and
pseudo-labels of patches of them solved: how soon they settle says how many steps the solver is to take.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from data_prep.engine.options import option, path_option
from data_prep.settling import settling
from medwsss.files import read_json, write_json
from medwsss.keys import RECIPE, SCRIBBLE, UNLABELED, VOID
from medwsss.rasters.bands import has_bands
from medwsss.reports.page import picture_of, write_page
from medwsss.study import (
    SCHEMAS,
    MapWeakLabels,
    Recipe,
    StudySummary,
    briefly,
    check_study,
    facts_of,
    label_mapper,
    plan_training,
    plan_validation,
    read_class_names,
    read_recipe,
)

_WRITABLE = 0o222  # by anybody


@dataclass(frozen=True, kw_only=True)
class Options:
    """The command's options."""

    datalist: Path = path_option("the data list, JSON in MONAI's Decathlon style", flag="list")
    num_classes: int | None = option("default: by the list", default=None, type=int)
    ignore_values: tuple[int, ...] | None = option(
        "values of unlabelled voxels; default: by the list", default=None, type=int, nargs="*"
    )
    void_values: tuple[int, ...] | None = option(
        "values of voxels that aren't there", default=None, type=int, nargs="*"
    )
    schema: str | None = option("a known convention, instead of values", default=None, choices=sorted(SCHEMAS))
    annotation_key: str | None = option('key of what trains; default "scribble", else "label"', default=None)
    dense: bool = option("labels of the training section are dense masks", default=False)
    allow_outside: bool = option("accept files outside the list's folder", default=False)
    workers: int = option("processes (default %(default)s)", default=1)
    json: Path | None = path_option("write everything that was found", default=None)
    html: Path | None = path_option("write a page of it, with pictures of cases", default=None)
    pictures: int = option("cases on the page (default %(default)s)", default=24)
    recipe: Path | None = path_option("where the plan goes (default: recipe.json beside the list)", default=None)
    replan: bool = option("replace a recipe that was edited, or is of another version", default=False)
    minutes: float | None = option("plan for a training of so many minutes", default=None, type=float)
    spatial_dims: int | None = option("plan for volumes (3), or for slices (2)", default=None, type=int, choices=(2, 3))


def run(options: Options) -> int:
    """Check, print, write what was asked for; 1 where there are errors, 0 otherwise, with warnings too."""
    path = options.datalist.absolute()
    given = {name: getattr(options, name) for name in ("num_classes", "schema", "ignore_values", "void_values")}
    labels = label_mapper(path, **{k: v for k, v in given.items() if v is not None})
    names = read_class_names(path, labels.num_classes)
    report = check_study(
        path,
        labels,
        annotation_key=options.annotation_key,
        dense=options.dense,
        allow_outside=options.allow_outside,
        workers=options.workers,
        picture=partial(picture_of, names) if options.html else None,
        pictures=options.pictures,
    )
    training = report.sections.get("training")
    other = plan = None
    if training and training.items and not report.errors:
        other = _unplanned(read_json(path), bool(report.tags), training)
        plan = None if other else _plan(options, path, labels, training)
    tables = {section: f"{section}: {summary}" for section, summary in report.sections.items()}
    tables |= {"tags": f"training: {report.tags}"} if report.tags else {}
    recipe = f"none, bundles/{other}" if other else plan
    for text in [*tables.values(), *([f"recipe: {recipe}"] if recipe else [])]:
        print(text, end="\n\n")
    if training and training.items and not report.errors:
        print(plan_validation(path, allow_outside=options.allow_outside), end="\n\n")
    if plan:
        print(_write(plan, options.recipe or path.with_name(RECIPE), options.replan), end="\n\n")
    for kind, texts in (("warning", report.warnings), ("error", report.errors)):
        for text in briefly(texts):
            print(f"{kind}: {text}")
    print(f"{report.cases} cases, {len(report.errors)} errors, {len(report.warnings)} warnings")
    if options.json:
        found = {"list": str(path), "errors": report.errors, "warnings": report.warnings, "plan": plan and asdict(plan)}
        found["sections"] = {section: _numbers(summary, names) for section, summary in report.sections.items()}
        write_json(found, options.json)
    if options.html:
        title = read_json(path).get("name", path.stem)
        write_page(options.html, title, tables, str(recipe or ""), report.errors, report.warnings, report.pictures)
    return 1 if report.errors else 0


def _plan(options: Options, path: Path, labels: MapWeakLabels, training: StudySummary) -> Recipe:
    """The recipe; of volumes with strokes also by how soon their pseudo-labels settle."""
    facts = facts_of(training, options.spatial_dims, options.minutes)
    plan = plan_training(facts)
    if plan.bundle != "scribble" or facts.distance is None:  # photographs have few steps anyway, dense masks no solve
        return plan
    return plan_training(
        replace(facts, settling=settling(plan, path, labels, options.annotation_key, options.allow_outside))
    )


def _unplanned(content: Mapping[str, Any], tagged: bool, training: StudySummary) -> str | None:
    """The bundle for a list that no recipe is for, and what is to be said of it."""
    own = "has its own settings"
    if tagged and not any(SCRIBBLE in item for item in content["training"]):
        return f"image_tags {own}"
    if not has_bands(content, training.channels):
        return None
    bands, sides = training.channels or 0, training.shape[1] if training.shape else ()
    if bands <= max(sides, default=math.inf):
        return f"remote_sensing {own}"
    size = " × ".join(map(str, sides))  # a network of single pixels had 0.34 in place of 0.08 on EnMAP's tiles
    return f"remote_sensing {own}, and pixels.json on top is for images of {bands} bands and {size} pixels"


def _write(plan: Recipe, path: Path, replan: bool) -> str:
    """Write the recipe if nobody's work is lost by it; what was done."""
    keep = ""
    if path.exists() and not replan:
        try:
            if edited := read_recipe(path).edited:
                keep = f"it was edited ({', '.join(edited)}); --replan replaces it"
        except ValueError as error:
            keep = str(error)
    if keep:
        return f"recipe: {path} stays as it is, {keep}"
    try:
        if not path.absolute().parent.stat().st_mode & _WRITABLE:  # for root, nothing is protected
            raise OSError(f"expected to write {path}, got a folder that is read only")
        plan.write(path)
    except OSError as error:
        return f"recipe: {error}. --recipe FILE puts it elsewhere, and training takes it from there by the same option"
    return f"recipe: written to {path}"


def _numbers(summary: StudySummary, names: Sequence[str]) -> dict[str, Any]:
    rows = {**dict(enumerate(names)), UNLABELED: "unlabelled", VOID: "void"}
    voxels = {kind: getattr(summary, kind).tolist() for kind in ("voxels", "mask_voxels")}
    plain = ("items", "channels", "shape", "spacing", "intensity", "compared", "contradictions")
    counts = {kind: {name: values[k] for k, name in rows.items()} for kind, values in voxels.items()}
    return {**{name: getattr(summary, name) for name in plain}, **counts}
