# SPDX-License-Identifier: Apache-2.0
"""Scribbles from dense masks, and shorter scribbles from long ones: array version."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from monai.config import NdarrayOrTensor
from monai.data import MetaTensor, get_track_meta
from monai.transforms import Randomizable, Transform
from monai.utils import TransformBackends, convert_to_dst_type, convert_to_tensor, ensure_tuple
from scipy import ndimage
from skimage import measure

from medwsss.keys import UNLABELED, VOID
from medwsss.study.mapping import MapWeakLabels
from medwsss.transforms.scribbles import strokes

KINDS = (*strokes.STROKES, "box")
COVERAGE = "coverage"  #: entry of the metadata: share of each class's voxels that is annotated


class SimulateScribble(Randomizable, Transform):
    """Draw scribbles into a dense mask as a hand would: region by region, on the slices somebody annotates.

    A region is a connected component of a class on a slice. Kinds of strokes:

    ==============  ================================================================================================
    ``centerline``  along the longest path of the region's skeleton; a doodle where it has no length
    ``border``      along the border, ``margin`` voxels inside or half-way to the middle where that is nearer
    ``click``       a dab near the middle
    ``block``       the deepest voxels; ``length_ratio`` is their share of the area
    ``box``         background alone: what is outside the foreground regions' bounding boxes, widened by ``margin``
    ==============  ================================================================================================

    For one seed, strokes of a smaller ``length_ratio``, ``width`` or ``slice_share`` lie inside those of a larger one.
    The next call draws other strokes: who draws anew in each epoch soon shows the whole mask, so write scribbles once
    (``python -m data_prep scribbles``). The defaults come from experts' scribbles: ``docs/scribbles.md``.

    Args:
        num_classes: number of classes K, background included.
        kind: of the strokes in foreground.
        background: kind of the strokes in class 0, or None for no strokes there.
        length_ratio: from 0, a single voxel, to 1, the whole stroke.
        width: of the brush, in voxels.
        jitter: how far the hand strays, as a share of the distance to the border.
        margin: distance from the border for ``border`` and ``box``, in voxels.
        per_class: only the largest region of a class on a slice gets a stroke, instead of each.
        slice_axis: across which slices lie; an image without it is one slice. None: strokes run through the volume.
        slice_step: annotate every so manieth slice.
        slice_share: annotate this share of those, drawn at random, but one at least.
        min_size: regions with fewer voxels than this stay without a stroke.
        ignore_values: values of the mask, beside ``UNLABELED``, that mean "nobody knows".

    Raises:
        ValueError: for a parameter out of its range.

    Example:
        >>> mask = torch.zeros(1, 32, 32).index_fill(1, torch.arange(8, 24), 1)
        >>> long, short = (SimulateScribble(2, length_ratio=r).set_random_state(0)(mask) for r in (1, 0.5))
        >>> bool((short == long)[short != UNLABELED].all())
        True
    """

    backend = [TransformBackends.NUMPY]

    def __init__(
        self,
        num_classes: int,
        kind: str = "centerline",
        background: str | None = "border",
        length_ratio: float = 1.0,
        width: int = 1,
        jitter: float = 0.8,
        margin: float = 15.0,
        per_class: bool = False,
        slice_axis: int | None = 2,
        slice_step: int = 1,
        slice_share: float = 1.0,
        min_size: int = 1,
        ignore_values: int | Sequence[int] = (),
    ) -> None:
        for name in (kind, background or kind):
            if name not in KINDS:
                raise ValueError(f"expected one of the kinds {', '.join(KINDS)}, got {name!r}")
        _check("from 0 to 1", 0, 1, length_ratio=length_ratio, jitter=jitter, slice_share=slice_share)
        _check("of at least 1", 1, math.inf, width=width, margin=margin, slice_step=slice_step, min_size=min_size)
        ignored = [int(value) for value in ensure_tuple(ignore_values)]
        self.labels = MapWeakLabels(num_classes, [*ignored, UNLABELED], VOID)
        self.kind, self.background = kind, kind if kind == "box" else background
        self.length_ratio, self.width, self.jitter, self.margin = length_ratio, width, jitter, margin
        self.per_class, self.min_size = per_class, min_size
        self.slice_axis, self.slice_step, self.slice_share = slice_axis, slice_step, slice_share
        self.seed = 0

    def randomize(self, data: Any = None) -> None:
        """Draw the number from which all strokes of a call follow."""
        self.seed = int(self.R.randint(2**32, dtype=np.uint32))

    def __call__(self, img: NdarrayOrTensor, randomize: bool = True) -> torch.Tensor:
        """Draw into one mask.

        Args:
            img: ``1 *S``, dense: classes, ``UNLABELED``, ``VOID`` or one of ``ignore_values``.
            randomize: whether to draw new strokes; otherwise those of the last call come again.

        Returns:
            ``uint8`` of the same shape: classes on strokes, ``VOID`` where the mask has it, ``UNLABELED`` elsewhere.
            Its metadata gain ``coverage``, a number for each class, 0 for one that the mask does not have.

        Raises:
            ValueError: for an undeclared value, and for another number of axes.
        """
        if randomize:
            self.randomize()
        mask = self.labels(img)
        dense = _slices(mask, self.slice_axis)
        scribble = np.where(dense == VOID, dense, np.uint8(UNLABELED))
        for z in self._annotated(len(dense)):
            self._draw(dense[z], scribble[z], z)
        out = _from_slices(scribble, self.slice_axis, mask)
        if isinstance(out, MetaTensor):
            classes = range(self.labels.num_classes)
            drawn, there = ([int((array == k).sum()) for k in classes] for array in (scribble, dense))
            out.meta[COVERAGE] = [a / max(b, 1) for a, b in zip(drawn, there)]
        return out

    def _annotated(self, count: int) -> np.ndarray:
        """Indices of the annotated ones of ``count`` slices; the step's remainder is split between both ends."""
        regular = np.arange((count - 1) % self.slice_step // 2, count, self.slice_step)
        shuffled = np.random.default_rng(self.seed).permutation(regular)
        return shuffled[: max(1, math.ceil(self.slice_share * len(regular)))]

    def _draw(self, dense: np.ndarray, scribble: np.ndarray, z: int) -> None:
        """Draw the strokes of slice ``z`` into ``scribble``."""
        numbered, regions = _regions(dense)
        regions = sorted((r for r in regions if r.size >= self.min_size), key=lambda r: r.size)
        if self.background == "box":
            scribble[_outside([r for r in regions if r.label], self.margin, dense.shape) & (dense == 0)] = 0
        if self.per_class:
            regions = list({r.label: r for r in regions}.values())  # the last one of a class is the largest
        depth = strokes.depths(numbered)
        for region in regions:
            kind = self.kind if region.label else self.background
            if kind in strokes.STROKES:
                # not the class, the other regions nor the other slices decide what is drawn
                rng = np.random.default_rng([self.seed, z, region.first])
                stroke = strokes.STROKES[kind](region.mask, depth[region.box], self.jitter, self.margin, rng)
                _paint(scribble, region, stroke, self.length_ratio, self.width)


class ShortenScribble(Transform):
    """Keep a part of each stroke of an existing scribble: the one around its middle, so that shorter ones nest.

    A stroke is a connected component of a class on a slice; the distance from its middle is that along the stroke.

    Args:
        length_ratio: share of a stroke's voxels to keep, from 0, a single voxel, to 1, all.
        slice_axis: see :py:class:`SimulateScribble`.

    Raises:
        ValueError: for a ratio out of its range.

    Example:
        >>> ShortenScribble(length_ratio=0.6)(torch.tensor([[[255, 1, 1, 1, 1, 1, 255]]])).tolist()
        [[[255, 255, 1, 1, 1, 255, 255]]]
    """

    backend = [TransformBackends.NUMPY]

    def __init__(self, length_ratio: float, slice_axis: int | None = 2) -> None:
        _check("from 0 to 1", 0, 1, length_ratio=length_ratio)
        self.length_ratio, self.slice_axis = length_ratio, slice_axis

    def __call__(self, img: NdarrayOrTensor) -> torch.Tensor:
        """Shorten the strokes of one scribble, ``1 *S`` as :py:class:`medwsss.transforms.MapWeakLabels` makes it.

        The result is ``uint8`` of the same shape, ``UNLABELED`` where a stroke was.
        """
        scribble = convert_to_tensor(img, dtype=torch.uint8, track_meta=get_track_meta())
        long = _slices(scribble, self.slice_axis)
        short = np.where(long == VOID, long, np.uint8(UNLABELED))
        for source, target in zip(long, short):
            for region in _regions(source)[1]:
                _paint(target, region, strokes.shorten(region.mask), self.length_ratio, width=1)
        return _from_slices(short, self.slice_axis, scribble)


class _Region(NamedTuple):
    """A connected component of a class on a slice."""

    label: int
    box: tuple[slice, ...]  #: where on the slice
    mask: np.ndarray  #: within the box
    size: int  #: voxels
    first: int  #: the first voxel's place on the slice


def _regions(labels: np.ndarray) -> tuple[np.ndarray, list[_Region]]:
    """A map of the components' numbers, and the components in turn."""
    numbered = measure.label(np.where(labels < VOID, labels + 1, 0), connectivity=labels.ndim)
    regions = []
    for number, box in enumerate(ndimage.find_objects(numbered), 1):
        mask = numbered[box] == number
        first = [int(i) + side.start for i, side in zip(np.unravel_index(mask.argmax(), mask.shape), box)]
        place = int(np.ravel_multi_index(first, labels.shape))
        regions.append(_Region(int(labels[tuple(first)]), box, mask, int(mask.sum()), place))
    return numbered, regions


def _slices(labels: torch.Tensor, axis: int | None) -> np.ndarray:
    """``1 *S`` as a stack of slices; a line is an image one voxel high, an image a volume of one slice."""
    if labels.ndim not in (2, 3, 4) or len(labels) != 1:
        raise ValueError(f"expected one channel and one to three spatial axes, got shape {tuple(labels.shape)}")
    volume = np.atleast_3d(labels[0].numpy(force=True))
    return np.ascontiguousarray(volume[None] if axis is None else np.moveaxis(volume, axis, 0))


def _from_slices(slices: np.ndarray, axis: int | None, like: torch.Tensor) -> torch.Tensor:
    """The inverse of :py:func:`_slices`, with type and metadata of ``like``."""
    volume = slices[0] if axis is None else np.moveaxis(slices, 0, axis)
    out: torch.Tensor = convert_to_dst_type(volume.reshape(like.shape), like)[0]
    return out


def _paint(target: np.ndarray, region: _Region, stroke: np.ndarray, length_ratio: float, width: int) -> None:
    """Write the region's class along the stroke, never outside the region."""
    part = stroke[: max(1, round(length_ratio * len(stroke)))]
    points = strokes.brush(part, width)
    points = points[((points >= 0) & (points < region.mask.shape)).all(1)]
    points = points[region.mask[tuple(points.T)]]
    target[region.box][tuple(points.T)] = region.label


def _outside(regions: Sequence[_Region], margin: float, shape: tuple[int, ...]) -> np.ndarray:
    """Where on a slice none of the regions' boxes reaches."""
    outside = np.ones(shape, bool)
    for region in regions:
        outside[tuple(slice(max(0, s.start - int(margin)), s.stop + int(margin)) for s in region.box)] = False
    return outside


def _check(wanted: str, low: float, high: float, **values: float) -> None:
    for name, value in values.items():
        if not low <= value <= high:
            raise ValueError(f"expected {name} {wanted}, got {value}")
