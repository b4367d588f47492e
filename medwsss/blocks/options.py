# SPDX-License-Identifier: Apache-2.0
"""How pseudo-labels are solved in blocks, and how far around a block anything has a say."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from medwsss.solvers import NaturalGradient
from medwsss.terms import GridNeighborhood, SelfLabelingEnergy
from medwsss.terms.relaxations import RELAXATIONS

__all__ = ["STARTS", "LabelOptions"]

STARTS = ("coarse", "levels")

_CORE = {1: 2**20, 2: 1024, 3: 128}  # voxels a side of a block, by the number of axes
_LEVELS = {1: 3, 2: 3, 3: 1}  # coarser grids: each doubles the halo, which a volume pays for in the third power
_LEAST_CELL, _MOST_CELLS = 4, 2**23  # of the whole case's coarse grid: a side, and numbers of all classes
_CONNECTIVITY = {1: 1, 2: 2, 3: 1}  # as in the bundles


@dataclass(frozen=True)
class LabelOptions:
    """How pseudo-labels are solved; defaults are those of the bundles.

    Args:
        core: voxels a side of a block, rounded up to what the coarser grids need; default: 1024, in 3-D 128.
        halo: voxels around it; default: as far as anything has a say, so that a block has the labels of the whole.
        steps: of the solver, all of which are taken.
        start: what blocks start from: ``"coarse"``, labels of the whole case on a coarser grid, in which strokes reach
            everywhere; or ``"levels"``, coarser grids of each block's own.
        levels: how many of the latter; default: 3, in 3-D 1.
        coarse_steps: on each of them.
        cross_entropy, relaxation, eta, lam: see :class:`~medwsss.terms.SelfLabelingEnergy`.
        connectivity: see :class:`~medwsss.terms.GridNeighborhood`; default: 2, in 3-D 1.
        bandwidth: in units of the guide, whose bands go from 0 to 1; ``"auto"``: half the median contrast of each case.
        guide: see :class:`~medwsss.rasters.GuideBandsd`.
        prior_weight: of the data list's ``prior``, or of ``probabilities``.
        probabilities: folder of a finished ``infer`` of the same images, in the place of priors in the list.
    """

    core: int | None = None
    halo: int | None = None
    steps: int = 30
    start: str = "coarse"
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
    probabilities: str | None = None

    def __post_init__(self) -> None:
        if self.start not in STARTS or self.start == "coarse" and self.levels is not None:
            raise ValueError(f"expected start in {STARTS}, and levels with the second, got {self.start}, {self.levels}")
        self.solver(2, None, 1.0)  # its own errors
        if self.start == "coarse" and not RELAXATIONS[self.relaxation].zero_on_equals:
            raise ValueError(f'expected start "levels" of {self.relaxation}, which would be stuck where it starts')

    def energy(self, ndim: int, spacing: Sequence[float] | None, bandwidth: float | str) -> SelfLabelingEnergy:
        """That of one case."""
        neighborhood = GridNeighborhood(self.connectivity or _CONNECTIVITY[ndim], bandwidth, spacing)
        return SelfLabelingEnergy(self.cross_entropy, self.relaxation, neighborhood, self.eta, self.lam)

    def solver(self, ndim: int, spacing: Sequence[float] | None, bandwidth: float | str) -> NaturalGradient:
        """That of one case's blocks."""
        levels = 0 if self.start == "coarse" else _LEVELS[ndim] if self.levels is None else self.levels
        fixed: dict[str, Any] = {"tolerance": 0, "stride": 1.0, "safeguard": False}
        energy = self.energy(ndim, spacing, bandwidth)
        return NaturalGradient(energy, self.steps, levels=levels, coarse_steps=self.coarse_steps, **fixed)

    def cell(self, shape: Sequence[int], classes: int) -> int:
        """Voxels a side of the cells of the coarsest grid; of the whole case's, as few as memory allows."""
        if self.start == "levels":
            levels: int = self.solver(len(shape), None, 1.0).levels
            return int(2**levels)
        side = _LEAST_CELL
        while math.prod(-(-size // side) for size in shape) * classes > _MOST_CELLS:
            side *= 2
        return side

    def cut(
        self, shape: Sequence[int], spacing: Sequence[float] | None, classes: int
    ) -> tuple[list[int], list[int], list[int]]:
        """Core and halo of a case's blocks, multiples of cells, and the halo beyond which nothing has a say."""
        cell, reach = self.cell(shape, classes), self.solver(len(shape), spacing, bandwidth=1.0).reach(shape)
        core = _CORE[len(shape)] if self.core is None else self.core
        halo = reach if self.halo is None else [self.halo] * len(shape)
        if core < 1 or min(halo) < 0:
            raise ValueError(f"expected a core of at least 1 voxel and a halo from 0, got {core} and {list(halo)}")
        core = -(-core // cell) * cell
        return [min(core, size) for size in shape], [-(-far // cell) * cell for far in halo], list(reach)
