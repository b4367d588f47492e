# SPDX-License-Identifier: Apache-2.0
"""The nearest neighbours on a grid, the paper's ``N``."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from medwsss.terms.neighborhoods.contrast import ContrastNeighborhood

__all__ = ["GridNeighborhood"]


@dataclass(frozen=True)
class GridNeighborhood(ContrastNeighborhood):
    """Nearest neighbours on a grid of 1, 2 or 3 axes, with contrast weights.

    ``w_ij = exp(−‖I_i − I_j‖² / 2β²) / d_ij``, with ``‖·‖²`` summed over the guide's channels and ``d_ij`` the distance
    of the two voxels in units of the smallest spacing. ``I`` is the guide, smoothed a little if so asked: noise in one
    voxel makes all of its pairs look like borders, and labels do not pass.

    Args:
        connectivity: how many axes a step may move along: 1 is 4 neighbours in 2-D and 6 in 3-D, 2 is 8 and 18, 3 is
            26 in 3-D. More than the guide has axes means all of them.
        bandwidth: ``β`` in the guide's units (9 grey levels of 255 for natural images in the paper), or ``"auto"``:
            ``β²`` is the mean of ``‖I_i − I_j‖²`` over the sample's own pairs.
        spacing: voxel size along each spatial axis in any one unit (mm); ``None`` is isotropic. A step along a coarse
            axis is longer and weighs less.
        smoothing: standard deviation of the Gaussian that smooths the guide, in units of the smallest spacing; 0 takes
            the guide as it is. Smoothing lowers contrasts, so the bandwidth should be lower too.

    Raises:
        ValueError: for a connectivity below 1, a bandwidth that is neither positive nor ``"auto"``, a spacing that is
            not positive, or a smoothing that is negative or not finite.

    Example::

        >>> import torch
        >>> guide = torch.tensor([0.0, 9.0, 255.0]).reshape(1, 1, 3)  # a step of one bandwidth, and a border
        >>> (w,) = GridNeighborhood(bandwidth=9.0).weights(guide)
        >>> [round(x, 4) for x in w.flatten().tolist()]
        [0.6065, 0.0]
    """

    connectivity: int = 1
    bandwidth: float | str = "auto"
    spacing: Sequence[float] | None = None
    smoothing: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.connectivity < 1:
            raise ValueError(f"expected connectivity 1, 2 or 3, got {self.connectivity}")

    def offsets(self, ndim: int) -> list[tuple[int, ...]]:
        """Half the neighbourhood, so that each unordered pair comes once.

        1, 2 or 3 offsets on 1, 2 or 3 axes at connectivity 1, up to 1, 4 or 13.
        """
        steps = itertools.product((-1, 0, 1), repeat=ndim)
        origin = (0,) * ndim
        return [step for step in steps if step > origin and sum(map(abs, step)) <= self.connectivity]

    def fall(self, w: Tensor, distance: float) -> Tensor:
        """``w / d_ij``."""
        return w.div_(distance)
