# SPDX-License-Identifier: Apache-2.0
"""Pseudo-labels of one block, and of a whole case on a coarser grid, which blocks start from."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from medwsss.blocks.options import LabelOptions
from medwsss.blocks.plan import Case
from medwsss.blocks.sources import create_array, open_source
from medwsss.files import sync, writing
from medwsss.keys import GUIDE, IMAGE, PRIOR, SCRIBBLE
from medwsss.parallel import parallel_map
from medwsss.rasters import GuideBandsd, ScaleBandsd
from medwsss.solvers import NaturalGradient
from medwsss.solvers.compiled.numba_step import interpolated
from medwsss.solvers.strided import as_cells
from medwsss.study.labels import to_classes
from medwsss.study.mapping import MapWeakLabels
from medwsss.study.schema import LabelSchema
from medwsss.study.windows import Box, Window, inside
from medwsss.terms.prior import with_prior
from medwsss.terms.simplex import one_hot, unlabeled_mask, void_mask
from medwsss.transforms import VoidLabelsd

__all__ = ["options_of", "read_inputs", "solve_block", "with_start"]

START = "start"  # among a case's files: labels of cells, K *cells


def options_of(case: Case) -> LabelOptions:
    """What was asked for, of a case in a plan."""
    return LabelOptions(**case.figures["options"])


def read_inputs(case: Case, seen: Box) -> tuple[Tensor, Tensor]:
    """Guide and scribble of a part, a batch of one."""
    statistics, schema = case.figures["statistics"], LabelSchema(**case.figures["schema"])
    scribble = open_source(case.files[SCRIBBLE])
    data: dict[Any, Any] = {IMAGE: open_source(case.files[IMAGE]).read(seen)}
    data[SCRIBBLE] = to_classes(scribble.read(seen), MapWeakLabels.of(schema), scribble.name)
    data = ScaleBandsd(IMAGE, statistics)(VoidLabelsd(SCRIBBLE)(data))
    data = GuideBandsd(IMAGE, statistics=statistics, how=options_of(case).guide)(data)
    guide, labels = (torch.as_tensor(data[key]).as_subclass(Tensor)[None] for key in (GUIDE, SCRIBBLE))
    return guide, labels


def _logits(case: Case, seen: Box, guide: Tensor) -> Tensor:
    """``ln π`` of a part, or 0: nobody has an opinion."""
    logits = guide.new_zeros(1, case.figures["schema"]["num_classes"], *guide.shape[2:])
    if PRIOR not in case.files:
        return logits
    prior = open_source(case.files[PRIOR]).read(seen).as_tensor()[None]
    return with_prior(logits, prior, options_of(case).prior_weight)


def solve_block(case: Case, window: Window) -> np.ndarray:
    """``y`` of a block's core, ``K *core`` in half precision."""
    guide, scribble = read_inputs(case, window.seen)
    classes: int = case.figures["schema"]["num_classes"]
    inner: tuple[Any, ...] = (0, slice(None), *window.inner)
    if not unlabeled_mask(scribble)[inner].any():  # nothing to solve for
        y = torch.where(void_mask(scribble), 1 / classes, one_hot(scribble, classes))
    else:
        solver = options_of(case).solver(len(case.shape), case.figures["spacing"], case.figures["bandwidth"])
        initial = _initial(case, window.seen) if START in case.files else None
        y = solver(_logits(case, window.seen, guide), guide, scribble, initial).labels
    return y[inner].half().numpy()


def with_start(case: Case, folder: Path, workers: int) -> Case:
    """The case with labels of all of it on a grid of cells, solved until the energy stops falling, in a file.

    Two cells of ``s`` voxels a side cost what their voxels do when the energy has ``λ / s``
    (:class:`~medwsss.solvers.StridedSolver`).
    """
    options, figures, ndim = options_of(case), case.figures, len(case.shape)
    side = options.cell(case.shape, figures["schema"]["num_classes"])
    cells, whole = [-(-size // side) for size in case.shape], list[np.ndarray]()
    for block, found in parallel_map(partial(_cells, case, side), range(len(case.blocks)), workers):
        whole = whole or [np.empty((*x.shape[:2], *cells), x.dtype) for x in found]
        place: tuple[Any, ...] = (..., *(slice(lo // side, -(-hi // side)) for lo, hi in case.blocks[block].core))
        for x, part in zip(whole, found):
            x[place] = part
    energy = replace(options, lam=options.lam / side).energy(ndim, figures["spacing"], figures["bandwidth"])
    logits, guide, scribble = map(torch.from_numpy, whole)
    y = NaturalGradient(energy)(logits, guide, scribble).labels[0].numpy()
    path, chunk = folder.absolute() / f"{case.name}_start.zarr", [max(each // side, 1) for each in case.core]
    with writing(path):
        create_array(path, [str(k) for k in range(len(y))], cells, chunk, "float32")[:] = y
    sync(path)
    return replace(case, files={**case.files, START: str(path)}, figures={**figures, "cell": side})


def _cells(case: Case, side: int, block: int) -> list[np.ndarray]:
    """Logits, guide and scribble of a block's cells; tensors would be passed on by a file each."""
    core = case.blocks[block].core
    guide, scribble = read_inputs(case, core)
    return [x.numpy() for x in as_cells(_logits(case, core, guide), guide, scribble, [side] * len(core))]


def _initial(case: Case, seen: Box) -> Tensor:
    """A part of the coarse labels, from cells to cells half as long until they are voxels."""
    side, cells = int(case.figures["cell"]), open_source(case.files[START])
    low = [max(first // side - 1, 0) for first, _ in seen]  # one around it, for the interpolation
    high = [min(-(-last // side) + 1, size) for (_, last), size in zip(seen, cells.shape)]
    y = cells.read(tuple(zip(low, high))).as_tensor()[None]
    for _ in range(side.bit_length() - 1):
        y = interpolated(y, [2] * len(seen), [2 * size for size in y.shape[2:]])
    of = tuple((first * side, last * side) for first, last in zip(low, high))
    part: tuple[Any, ...] = (..., *inside(seen, of))
    return y[part].contiguous()
