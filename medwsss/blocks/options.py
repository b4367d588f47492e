# SPDX-License-Identifier: Apache-2.0
"""How pseudo-labels are solved in blocks, and how far around a block anything has a say."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from medwsss.solvers import NaturalGradient
from medwsss.terms import GridNeighborhood, SelfLabelingEnergy

__all__ = ["LabelOptions"]

_CORE = {1: 2**20, 2: 1024, 3: 128}  # voxels a side of a block, by the number of axes
_LEVELS = {1: 3, 2: 3, 3: 1}  # coarser grids: each doubles the halo, which a volume pays for in the third power
_CONNECTIVITY = {1: 1, 2: 2, 3: 1}  # as in the bundles


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
        prior_weight: of the data list's ``prior``, or of ``probabilities``.
        probabilities: folder of a finished ``infer`` of the same images, in the place of priors in the list.
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
    probabilities: str | None = None

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
