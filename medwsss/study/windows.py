# SPDX-License-Identifier: Apache-2.0
"""Parts that what is too large for memory is worked on in, one after the other or side by side."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

__all__ = ["Box", "Window", "inside", "spread", "windows"]

Box = tuple[tuple[int, int], ...]  #: along each axis, the first voxel and the one after the last


class Window(NamedTuple):
    """A part that results are kept of, and the larger one that is looked at."""

    core: Box
    seen: Box

    @property
    def inner(self) -> tuple[slice, ...]:
        """The core within what is seen.

        Example:
            >>> Window(((4, 8),), ((2, 10),)).inner
            (slice(2, 6, None),)
        """
        return inside(self.core, self.seen)


def windows(shape: Sequence[int], core: Sequence[int], halo: Sequence[int]) -> Iterator[Window]:
    """Parts that cover a grid once, the last axis fastest, with what lies around them as far as the grid reaches.

    Args:
        shape: of the grid.
        core: voxels of a part along each axis.
        halo: voxels around it along each axis.

    Example:
        >>> [window.seen[1] for window in windows((4, 10), core=(4, 4), halo=(2, 2))]
        [(0, 6), (2, 10), (6, 10)]
    """
    cuts = [[(start, min(start + side, size)) for start in range(0, size, side)] for size, side in zip(shape, core)]
    for part in itertools.product(*cuts):
        seen = tuple((max(lo - far, 0), min(hi + far, size)) for (lo, hi), far, size in zip(part, halo, shape))
        yield Window(part, seen)


def inside(part: Box, of: Box) -> tuple[slice, ...]:
    """Where a part of a part lies in it."""
    return tuple(slice(lo - start, hi - start) for (lo, hi), (start, _) in zip(part, of))


def spread(shape: Sequence[int], side: int, places: int) -> Iterator[Box]:
    """All of a grid of up to ``(side · places)ⁿ`` voxels; of a larger one, parts evenly spread along each axis.

    Example:
        >>> list(spread((100,), side=2, places=3))
        [((0, 2),), ((49, 51),), ((98, 100),)]
    """
    if math.prod(shape) <= (side * places) ** len(shape):
        yield tuple((0, size) for size in shape)
        return
    starts = [np.unique(np.linspace(0, max(size - side, 0), places).astype(int)).tolist() for size in shape]
    for corner in itertools.product(*starts):
        yield tuple((start, min(start + side, size)) for start, size in zip(corner, shape))
