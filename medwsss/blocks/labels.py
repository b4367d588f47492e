# SPDX-License-Identifier: Apache-2.0
"""Pseudo-labels in blocks: Eq. (8)'s ``y`` of whole cases by a fixed schedule of steps, the same as in one piece."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from monai.config import PathLike
from torch import Tensor

from medwsss.blocks.plan import Case, Plan
from medwsss.blocks.sources import Source, check_files, open_source
from medwsss.keys import GUIDE, IMAGE, PRIOR, SCRIBBLE
from medwsss.label_store import name_cases
from medwsss.parallel import parallel_map
from medwsss.rasters import BandStatistics, GuideBandsd, ScaleBandsd, read_bands
from medwsss.solvers import NaturalGradient
from medwsss.study import label_mapper, load_training
from medwsss.study.declared import read_class_names
from medwsss.study.grid import misfit
from medwsss.study.labels import to_classes
from medwsss.study.mapping import MapWeakLabels
from medwsss.study.problems import raise_problems
from medwsss.study.readers import stem_of
from medwsss.study.schema import LabelSchema
from medwsss.study.windows import Box, Window, inside, spread
from medwsss.terms import GridNeighborhood, SelfLabelingEnergy
from medwsss.terms.prior import with_prior
from medwsss.terms.simplex import one_hot, unlabeled_mask, void_mask
from medwsss.transforms import VoidLabelsd

__all__ = ["LabelOptions", "plan_labels", "solve_block"]

logger = logging.getLogger(__name__)

_CORE = {1: 2**20, 2: 1024, 3: 128}  # voxels a side of a block, by the number of axes
_LEVELS = {1: 3, 2: 3, 3: 1}  # coarser grids: each doubles the halo, which a volume pays for in the third power
_CONNECTIVITY = {1: 1, 2: 2, 3: 1}  # as in the bundles
_SIDE = {1: 2**14, 2: 128, 3: 32}  # of parts that intensities are measured in, so many along each axis:
_PLACES = 4
_DIGITS = 6  # of a bandwidth: sums of parts are rounded, in whatever number of processes


@dataclass(frozen=True)
class LabelOptions:
    """How pseudo-labels are solved; defaults are those of the bundles.

    Args:
        core: voxels a side of a block, rounded up to what the coarser grids need; default: 1024, in 3-D 128.
        halo: voxels around it; default: as far as anything has a say, so that a block has the labels of the whole.
        steps: of the solver, all of which are taken.
        levels: coarser grids that a solve starts on; default: 3, in 3-D 1.
        coarse_steps: on each of them.
        cross_entropy, relaxation, eta, lam: see :class:`~medwsss.terms.SelfLabelingEnergy`.
        connectivity: see :class:`~medwsss.terms.GridNeighborhood`; default: 2, in 3-D 1.
        bandwidth: in units of the guide, whose bands go from 0 to 1; ``"auto"``: of each whole case's own contrasts.
        guide: see :class:`~medwsss.rasters.GuideBandsd`.
        prior_weight: of the data list's ``prior``.
    """

    core: int | None = None
    halo: int | None = None
    steps: int = 30
    levels: int | None = None
    coarse_steps: int = 6
    cross_entropy: str = "collision_cross_entropy"
    relaxation: str = "log_quadratic"
    eta: float = 0.005
    lam: float = 6.0
    connectivity: int | None = None
    bandwidth: float | str = "auto"
    guide: str = "auto"
    prior_weight: float = 0.0

    def solver(self, ndim: int, spacing: Sequence[float] | None, bandwidth: float | str) -> NaturalGradient:
        """That of one case."""
        neighborhood = GridNeighborhood(self.connectivity or _CONNECTIVITY[ndim], bandwidth, spacing)
        energy = SelfLabelingEnergy(self.cross_entropy, self.relaxation, neighborhood, self.eta, self.lam)
        levels = _LEVELS[ndim] if self.levels is None else self.levels
        fixed: dict[str, Any] = {"tolerance": 0, "stride": 1.0, "safeguard": False}
        return NaturalGradient(energy, self.steps, levels=levels, coarse_steps=self.coarse_steps, **fixed)

    def cut(self, shape: Sequence[int], spacing: Sequence[float] | None) -> tuple[list[int], list[int]]:
        """Core and halo of a case's blocks: multiples of the cells of the coarsest grid."""
        solver = self.solver(len(shape), spacing, bandwidth=1.0)
        cell = 2**solver.levels
        core = _CORE[len(shape)] if self.core is None else self.core
        halo = solver.reach(shape) if self.halo is None else [self.halo] * len(shape)
        if core < 1 or min(halo) < 0:
            raise ValueError(f"expected a core of at least 1 voxel and a halo from 0, got {core} and {list(halo)}")
        core = -(-core // cell) * cell
        return [min(core, size) for size in shape], [-(-far // cell) * cell for far in halo]


def plan_labels(
    datalist: PathLike,
    options: LabelOptions,
    given: Mapping[str, Any],
    annotation_key: str = SCRIBBLE,
    allow_outside: bool = False,
    workers: int = 1,
) -> Plan:
    """Look at every case once: whether its files are whole and belong together, and what of it holds for all blocks.

    Args:
        datalist: with ``training`` items of an ``image`` and a scribble; no dense label is looked at.
        options: how to solve.
        given: what the plan keeps, to tell whether a later call asks for the same.
        annotation_key: of the scribbles.
        allow_outside: accept files outside the list's folder.
        workers: processes.

    Raises:
        ValueError: naming files and what is wrong with them.
    """
    options.solver(2, None, 1.0)  # its own errors, before anything is read
    schema = label_mapper(datalist).schema
    if schema.num_classes < 2:
        raise ValueError(f"expected at least two classes, got {schema.num_classes} in {datalist}")
    items = name_cases(load_training(datalist, annotation_key, options.prior_weight, allow_outside))
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
            cases.append(_look(name, files, options, plain, bands, workers))
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
        if (prior.channels, prior.shape) != (schema["num_classes"], image.shape):
            raise ValueError(
                f"expected a prior of {schema['num_classes']} classes and the shape {image.shape} of the image, got "
                f"{prior.channels} and {prior.shape} in {prior.name}"
            )
    figures: dict[str, Any] = {"spacing": image.spacing, "schema": schema, "options": asdict(options)}
    figures["statistics"] = bands or _measure(image).to_dict()
    core, halo = options.cut(image.shape, image.spacing)
    reach = options.solver(len(image.shape), image.spacing, 1.0).reach(image.shape)
    if any(far < needed and side < size for far, needed, side, size in zip(halo, reach, core, image.shape)):
        logger.warning("With a halo of %s and not %s, labels of %s depend on where it is cut.", halo, list(reach), name)
    case = Case(name, files, image.shape, core, halo, figures)
    figures["bytes"] = case.sizes()
    sums = sorted(parallel_map(partial(_survey, case), range(len(case.blocks)), workers))
    total, count, seeds = (np.sum([each[n] for _, each in sums], 0) for n in range(3))
    if not seeds.sum():
        raise ValueError(f"expected seeds of some class, got none in {scribble.name}")
    figures["seeds"] = [int(n) for n in seeds]
    figures["bandwidth"] = options.bandwidth
    if options.bandwidth == "auto":
        if not total:
            raise ValueError(f"expected an image with contrasts for a bandwidth of its own, got none in {image.name}")
        figures["bandwidth"] = float(f"{(float(total) / float(count)) ** 0.5:.{_DIGITS}g}")
    return case


def _measure(image: Source) -> BandStatistics:
    """Of an image's voxels; of a large one, of parts evenly spread."""
    boxes = spread(image.shape, _SIDE[len(image.shape)], _PLACES)
    pixels = np.concatenate([image.read(box).numpy().reshape(image.channels, -1) for box in boxes], axis=1)
    return BandStatistics.of_pixels([f"channel {k + 1}" for k in range(image.channels)], pixels)


def _survey(case: Case, block: int) -> tuple[float, float, list[int]]:
    """Sums over a block: contrasts of its pairs, how many these are, and seeds of each class."""
    core = case.blocks[block].core
    seen: Box = tuple((max(low - 1, 0), min(high + 1, size)) for (low, high), size in zip(core, case.shape))
    guide, scribble = _inputs(case, seen)
    first = torch.zeros_like(scribble, dtype=torch.bool)
    within: tuple[Any, ...] = (..., *inside(core, seen))
    first[within] = True
    counts = one_hot(scribble, case.figures["schema"]["num_classes"]).mul_(first).flatten(2).sum((0, 2))
    neighborhood = _options(case).solver(len(case.shape), case.figures["spacing"], "auto").energy.neighborhood
    assert isinstance(neighborhood, GridNeighborhood)
    total, count = neighborhood.contrast(guide.double(), ~void_mask(scribble), first)
    return float(total), float(count), counts.long().tolist()


def _options(case: Case) -> LabelOptions:
    return LabelOptions(**case.figures["options"])


def _inputs(case: Case, seen: Box) -> tuple[Tensor, Tensor]:
    """Guide and scribble of a part, a batch of one."""
    statistics, schema = case.figures["statistics"], LabelSchema(**case.figures["schema"])
    scribble = open_source(case.files[SCRIBBLE])
    data: dict[Any, Any] = {IMAGE: open_source(case.files[IMAGE]).read(seen)}
    data[SCRIBBLE] = to_classes(scribble.read(seen), MapWeakLabels.of(schema), scribble.name)
    data = ScaleBandsd(IMAGE, statistics)(VoidLabelsd(SCRIBBLE)(data))
    data = GuideBandsd(IMAGE, statistics=statistics, how=_options(case).guide)(data)
    guide, labels = (torch.as_tensor(data[key]).as_subclass(Tensor)[None] for key in (GUIDE, SCRIBBLE))
    return guide, labels


def solve_block(case: Case, window: Window) -> np.ndarray:
    """``y`` of a block's core, ``K *core`` in half precision."""
    guide, scribble = _inputs(case, window.seen)
    classes: int = case.figures["schema"]["num_classes"]
    inner: tuple[Any, ...] = (0, slice(None), *window.inner)
    if not unlabeled_mask(scribble)[inner].any():  # nothing to solve for
        y = torch.where(void_mask(scribble), 1 / classes, one_hot(scribble, classes))
    else:
        logits = guide.new_zeros(1, classes, *guide.shape[2:])
        if PRIOR in case.files:
            prior = open_source(case.files[PRIOR]).read(window.seen).as_tensor()[None]
            logits = with_prior(logits, prior, _options(case).prior_weight)
        solver = _options(case).solver(len(case.shape), case.figures["spacing"], case.figures["bandwidth"])
        y = solver(logits, guide, scribble).labels
    return y[inner].half().numpy()
