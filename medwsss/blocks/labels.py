# SPDX-License-Identifier: Apache-2.0
"""Pseudo-labels in blocks: Eq. (8)'s ``y`` of whole cases by a fixed schedule of steps, the same as in one piece."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from monai.config import PathLike

from medwsss.blocks.options import LabelOptions
from medwsss.blocks.plan import Case, Plan, read_plan
from medwsss.blocks.solve import read_inputs, with_start
from medwsss.blocks.sources import Source, check_files, open_source
from medwsss.files import location
from medwsss.keys import GUIDE, IMAGE, PRIOR, SCRIBBLE
from medwsss.label_store import name_cases
from medwsss.parallel import parallel_map
from medwsss.rasters import BandStatistics, read_bands, study_bandwidth
from medwsss.study import label_mapper, load_training
from medwsss.study.declared import read_class_names
from medwsss.study.grid import misfit
from medwsss.study.problems import raise_problems
from medwsss.study.readers import stem_of
from medwsss.study.windows import spread
from medwsss.terms.simplex import one_hot

__all__ = ["plan_labels"]

logger = logging.getLogger(__name__)

_SIDE = {1: 2**14, 2: 128, 3: 32}  # of parts that intensities are measured in, so many along each axis:
_PLACES = 4


def plan_labels(
    datalist: PathLike,
    options: LabelOptions,
    given: Mapping[str, Any],
    output: Path,
    annotation_key: str = SCRIBBLE,
    allow_outside: bool = False,
    workers: int = 1,
) -> Plan:
    """Look at every case once: whether its files are whole and belong together, and what of it holds for all blocks.

    Args:
        datalist: with ``training`` items of an ``image`` and a scribble; no dense label is looked at.
        options: how to solve.
        given: what the plan keeps, to tell whether a later call asks for the same.
        output: folder of the plan, which coarse labels go to.
        annotation_key: of the scribbles.
        allow_outside: accept files outside the list's folder.
        workers: processes.

    Raises:
        ValueError: naming files and what is wrong with them.
    """
    schema = label_mapper(datalist).schema
    if schema.num_classes < 2:
        raise ValueError(f"expected at least two classes, got {schema.num_classes} in {datalist}")
    weight = 0.0 if options.probabilities else options.prior_weight
    items = name_cases(load_training(datalist, annotation_key, weight, allow_outside))
    stems = [stem_of(item[IMAGE] if isinstance(item[IMAGE], str) else item[IMAGE][0]) for item in items]
    unique = len({stem.lower() for stem in stems}) == len(stems)
    bands = None
    if all(isinstance(item[IMAGE], str) and item[IMAGE].lower().endswith((".tif", ".tiff")) for item in items):
        bands = read_bands(datalist, allow_outside)
    plain = {name: value for name, value in asdict(schema).items() if value is not None}
    cases, problems = [], []
    for item, stem in zip(items, stems):
        try:
            name = stem if unique else str(item["case"])
            files = {key: item[key] for key in (IMAGE, SCRIBBLE, PRIOR) if key in item}
            if options.probabilities:
                files[PRIOR] = str(location(options.probabilities).absolute() / f"{name}.zarr")
            case = _look(name, files, options, plain, bands, workers)
            cases.append(with_start(case, output, workers) if options.start == "coarse" else case)
        except (ValueError, OSError) as error:  # the others' faults are to be told too
            problems.append(str(error))
    raise_problems(problems)
    return Plan("labels", dict(given), read_class_names(datalist, schema.num_classes), cases)


def _look(
    name: str, files: dict, options: LabelOptions, schema: dict, bands: dict[str, Any] | None, workers: int
) -> Case:
    """A case with its figures."""
    image, scribble = open_source(files[IMAGE]), open_source(files[SCRIBBLE])
    for source in (image, scribble):
        check_files(source.name.split(", "))
    if problem := misfit(image.grid, scribble.grid, scribble.name):
        raise ValueError(problem)
    if PRIOR in files:
        prior = open_source(files[PRIOR])
        _check_whole(location(prior.name))
        if (prior.channels, prior.shape) != (schema["num_classes"], image.shape):
            raise ValueError(
                f"expected a prior of {schema['num_classes']} classes and the shape {image.shape} of the image, got "
                f"{prior.channels} and {prior.shape} in {prior.name}"
            )
    figures: dict[str, Any] = {"spacing": image.spacing, "schema": schema, "options": asdict(options)}
    figures["statistics"] = bands or _measure(image).to_dict()
    core, halo, reach = options.cut(image.shape, image.spacing, schema["num_classes"])
    if any(far < needed and side < size for far, needed, side, size in zip(halo, reach, core, image.shape)):
        logger.warning("With a halo of %s and not %s, labels of %s depend on where it is cut.", halo, reach, name)
    case = Case(name, files, image.shape, core, halo, figures)
    figures["bytes"] = case.sizes()
    seeds = np.sum([n for _, n in parallel_map(partial(_survey, case), range(len(case.blocks)), workers)], 0)
    if not seeds.sum():
        raise ValueError(f"expected seeds of some class, got none in {scribble.name}")
    figures["seeds"] = [int(n) for n in seeds]
    figures["bandwidth"] = options.bandwidth if options.bandwidth != "auto" else _bandwidth(case)
    return case


def _check_whole(path: Path) -> None:
    """Refuse what blocks have not finished yet, or pseudo-labels in the place of predictions."""
    plan = read_plan(path.parent)
    if path.suffix == ".zarr" and plan is not None:
        case = next((each for each in plan.cases if each.name == path.stem), None)
        done = len(list((path.parent / "done" / path.stem).glob("*.json")))
        if plan.task != "infer" or case is None or done < len(case.blocks):
            raise ValueError(
                f"expected a finished infer in {path.parent}, got {plan.task} with {done} blocks of {path}"
            )


def _measure(image: Source) -> BandStatistics:
    """Of an image's voxels; of a large one, of parts evenly spread."""
    boxes = spread(image.shape, _SIDE[len(image.shape)], _PLACES)
    pixels = np.concatenate([image.read(box).numpy().reshape(image.channels, -1) for box in boxes], axis=1)
    return BandStatistics.of_pixels([f"channel {k + 1}" for k in range(image.channels)], pixels)


def _bandwidth(case: Case) -> float:
    """Of the parts that intensities are measured in."""
    inputs = (read_inputs(case, box) for box in spread(case.shape, _SIDE[len(case.shape)], _PLACES))
    try:
        return study_bandwidth([{GUIDE: guide[0], SCRIBBLE: scribble[0]} for guide, scribble in inputs])
    except ValueError as error:
        raise ValueError(f"{error} in {case.files[IMAGE]}") from error


def _survey(case: Case, block: int) -> list[int]:
    """Seeds of each class in a block."""
    _, scribble = read_inputs(case, case.blocks[block].core)
    counts: list[int] = one_hot(scribble, case.figures["schema"]["num_classes"]).flatten(2).sum((0, 2)).long().tolist()
    return counts
