# SPDX-License-Identifier: Apache-2.0
"""All voxels within a radius: GatedCRF's kernel of position and intensity, and the window of a dense affinity."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from torch import Tensor

from medwsss.terms.neighborhoods.contrast import ContrastNeighborhood
from medwsss.terms.neighborhoods.offsets import Offset

__all__ = ["WindowNeighborhood"]


@dataclass(frozen=True)
class WindowNeighborhood(ContrastNeighborhood):
    """All pairs within a radius on 1, 2 or 3 axes.

    ``w_ij = exp(−‖I_i − I_j‖² / 2β²) · exp(−d_ij² / 2s²)``, or ``… / d_ij`` without a spatial bandwidth ``s``, as
    :class:`GridNeighborhood` weighs, with which a window of radius 1 then agrees. ``d_ij`` is in units of the smallest
    spacing, in which the window is a ball: 40 half offsets at radius 5 in 2-D, 257 in 3-D. Their weights are made one
    offset at a time.

    Args:
        radius: of the window, in units of the smallest spacing, at ``dilation`` 1.
        dilation: only every so manieth voxel along each axis is a neighbour; the radius grows with it.
        bandwidth: ``β`` in the guide's units, ``"auto"`` (the mean of ``‖I_i − I_j‖²`` over the sample's own pairs is
            ``β²``), or ``math.inf``: contrast does not count.
        spatial_bandwidth: ``s`` in units of the smallest spacing; ``None``: weights fall as ``1 / d_ij``.
        spacing: voxel size along each spatial axis in any one unit (mm); ``None`` is isotropic.
        smoothing: of the guide, as in :class:`GridNeighborhood`.

    Raises:
        ValueError: for a radius, dilation, bandwidth or spacing that is not positive.

    Source: Obukhov et al., Gated CRF Loss for Weakly Supervised Semantic Image Segmentation, 2019 (the kernel).

    Example::

        >>> WindowNeighborhood(radius=1.5).offsets(ndim=2)  # half of the 8 neighbours
        [(0, 1), (1, -1), (1, 0), (1, 1)]
    """

    radius: float
    dilation: int = 1
    bandwidth: float | str = "auto"
    spatial_bandwidth: float | None = None
    spacing: Sequence[float] | None = None
    smoothing: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 1 <= self.radius < math.inf or self.dilation < 1:
            raise ValueError(f"expected radius and dilation from 1, got {self.radius} and {self.dilation}")
        if self.spatial_bandwidth is not None and not self.spatial_bandwidth > 0:
            raise ValueError(f"expected a positive spatial_bandwidth or None, got {self.spatial_bandwidth}")

    def offsets(self, ndim: int) -> list[tuple[int, ...]]:
        """Half the ball, so that each unordered pair comes once."""
        reach = [int(self.radius / size) for size in self.voxel_sizes(ndim)]
        steps = itertools.product(*(range(-r, r + 1) for r in reach))
        half = [step for step in steps if step > (0,) * ndim and self.distance(step) <= self.radius]
        return [tuple(self.dilation * s for s in step) for step in half]

    def weigh(self, guide: Tensor, exists: Tensor | None = None) -> Callable[[Offset], Tensor]:
        """As :meth:`ContrastNeighborhood.weigh`.

        Raises:
            ValueError: for a radius beyond the image's longest side, where there would be no pair at it.
        """
        sides = [(n - 1) * size for n, size in zip(guide.shape[2:], self.voxel_sizes(guide.ndim - 2))]
        if self.radius * self.dilation > max(sides):
            raise ValueError(
                f"expected a radius within the image, {max(sides):g} at most for {tuple(guide.shape[2:])} voxels, "
                f"got {self.radius * self.dilation:g}"
            )
        return super().weigh(guide, exists)

    def fall(self, w: Tensor, distance: float) -> Tensor:
        """``w exp(−d_ij² / 2s²)``, or ``w / d_ij``."""
        s = self.spatial_bandwidth
        return w.div_(distance) if s is None else w.mul_(math.exp(-(distance**2) / (2 * s**2)))
