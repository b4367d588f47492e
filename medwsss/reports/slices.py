# SPDX-License-Identifier: Apache-2.0
"""The slices of a case on which most of a prediction is wrong, small enough to keep of every case until the end."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from skimage.util import img_as_ubyte

from medwsss.keys import VOID
from medwsss.reports.pictures import stretch

__all__ = ["CaseSlices", "wrong_slices"]

_LARGEST = 1024  # pixels along the longer side; what is larger loses rows and columns


def _nothing() -> np.ndarray:
    return np.zeros((0, 0, 0), np.uint8)


@dataclass(frozen=True)
class CaseSlices:
    """Pictures ``slices × X × Y``: the first axis runs to the right, the second one down."""

    image: np.ndarray  #: ``… × 3`` uint8
    pred: np.ndarray  #: classes, uint8
    truth: np.ndarray  #: classes, ``UNLABELED`` or ``VOID``, uint8
    numbers: np.ndarray  #: of the slices, counted from 1
    count: int  #: of slices in all
    step: tuple[float, float]  #: from pixel to pixel, along X and Y
    thickness: float  #: from slice to slice
    unit: str  #: of these, empty where a file says nothing of it
    sides: str  #: letters of left, right, top and bottom, empty where a file says nothing of it
    pseudo: np.ndarray = field(default_factory=_nothing)  #: classes, uint8; of no slice where there is none
    strokes: np.ndarray = field(default_factory=_nothing)  #: classes, ``UNLABELED`` or ``VOID``, uint8; likewise

    def wrong(self) -> np.ndarray:
        """Pixels of each slice whose class is wrong."""
        return _wrong(self.pred, self.truth)

    def wrong_pseudo(self) -> np.ndarray:
        """Likewise of the pseudo-label."""
        return _wrong(self.pseudo, self.truth)


def wrong_slices(
    image: np.ndarray,
    pred: np.ndarray,
    truth: np.ndarray,
    spacing: Sequence[float],
    unit: str = "",
    axcodes: str = "",
    count: int = 3,
    pseudo: np.ndarray | None = None,
    strokes: np.ndarray | None = None,
) -> CaseSlices:
    """The ``count`` slices with most wrong voxels, in their order; where none is wrong, the one with most foreground.
    Where there is a pseudo-label, its wrong voxels count as those of the prediction do.

    Slices lie across the axis with the largest spacing, the last of equals. Grey values reach from the 1st to the 99th
    percentile of the whole volume, so that all slices of a case are comparable.

    Args:
        image: ``C *S`` with two or three axes.
        pred: ``*S`` classes.
        truth: ``*S`` classes, ``UNLABELED`` or ``VOID``.
        spacing: of each axis.
        unit: of the spacing.
        axcodes: where each axis runs to: ``LPI``.
        count: slices at most.
        pseudo: ``*S`` classes of the pseudo-label, if there is one.
        strokes: ``*S`` classes, ``UNLABELED`` or ``VOID``, if there are any.
    """
    more = (1,) * (3 - pred.ndim)  # a picture is a volume of one slice
    image = image.reshape(*image.shape, *more)
    spacing = [*spacing, *(0.0 for _ in more)]
    across = max(range(3), key=lambda axis: (spacing[axis], axis)) if spacing[2] else 2
    x, y = (axis for axis in range(3) if axis != across)
    given = {"pred": pred, "truth": truth, "pseudo": pseudo, "strokes": strokes}
    maps: dict[str, np.ndarray] = {
        name: np.moveaxis(each.reshape(*each.shape, *more), across, 0)
        for name, each in given.items()
        if each is not None
    }
    truth = maps["truth"]
    wrong = np.sum([_wrong(maps[name], truth) for name in ("pred", "pseudo") if name in maps], axis=0)
    if wrong.any():
        chosen = np.sort(np.argsort(-wrong, kind="stable")[: min(count, int((wrong > 0).sum()))])
    else:
        chosen = ((truth > 0) & (truth < VOID)).sum((1, 2)).argmax(keepdims=True)
    coarse = math.ceil(max(truth.shape[1:]) / _LARGEST)
    pick = (chosen, slice(None, None, coarse), slice(None, None, coarse))
    return CaseSlices(
        image=img_as_ubyte(np.moveaxis(stretch(image), across, 0)[pick]),
        numbers=chosen + 1,
        count=len(truth),
        step=(spacing[x] * coarse, spacing[y] * coarse),
        thickness=spacing[across],
        unit=unit,
        sides="".join((_OPPOSITE[axcodes[x]], axcodes[x], _OPPOSITE[axcodes[y]], axcodes[y])) if axcodes else "",
        **{name: each[pick].astype(np.uint8) for name, each in maps.items()},
    )


def _wrong(pred: np.ndarray, truth: np.ndarray) -> np.ndarray:
    return np.asarray(((pred != truth) & (truth < VOID)).sum((1, 2)))


_OPPOSITE = dict(zip("LRAPSI", "RLPAIS"))
