# SPDX-License-Identifier: Apache-2.0
"""What is left of a network's distributions when an image is done: class numbers, and how sure they are."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import torch
from monai.data import MetaTensor
from monai.inferers import Inferer
from monai.utils import convert_to_tensor
from torch import Tensor

from medwsss.terms.simplex import uncertainty

__all__ = ["MAPS", "ClassMapInferer", "class_maps"]

MAPS = ("uncertainty", "probabilities")


def class_maps(sigma: Tensor, maps: Sequence[str] = ()) -> Tensor:
    """Class numbers ``argmax_k σ_k`` of distributions, and maps that go along.

    ``uncertainty`` is that of :func:`~medwsss.terms.simplex.uncertainty`, 0 (sure) to 1; ``probabilities`` are σ.

    Args:
        sigma: ``B K *S``, at least two classes.
        maps: of :py:data:`MAPS`.

    Returns:
        ``B M *S``: class numbers first, then the maps in the order of :py:data:`MAPS`, all in single precision.

    Example:
        >>> sigma = torch.tensor([[[0.5, 0.0], [0.5, 1.0]]])
        >>> class_maps(sigma, ["uncertainty"]).tolist()
        [[[0.0, 1.0], [1.0, 0.0]]]
    """
    out = [sigma.argmax(1, keepdim=True).float()]
    if "uncertainty" in maps:
        out.append(uncertainty(sigma.float()).unsqueeze(1))
    if "probabilities" in maps:
        out.append(sigma.float())
    return torch.cat(out, 1)


class ClassMapInferer(Inferer):
    """:py:func:`class_maps` of what another inferer says, block by block, so that many classes need no more memory.

    Blocks are cut where windows begin: those of a block are windows of the whole image, and each voxel has all of its
    own in one block. The result is that of the whole image, but for rounding; windows across the border of two blocks
    are computed twice.

    Args:
        inferer: gives distributions ``B K *S``; its windows, if it has any, are those of MONAI's sliding window.
        maps: see :py:func:`class_maps`.
        window: size of its windows; default: the image is taken whole.
        overlap: of its windows.
        largest: voxels of a block, unless the smallest block has more: less than two windows along each axis.

    Shape:
        - input: ``B C *S``.
        - output: ``B M *S``, in the CPU's memory.

    Raises:
        ValueError: for other maps, and an overlap that is none.
    """

    def __init__(
        self,
        inferer: Inferer,
        maps: Sequence[str] = (),
        window: Sequence[int] | None = None,
        overlap: float = 0.5,
        largest: int = 2**25,
    ) -> None:
        super().__init__()
        if unknown := set(maps) - set(MAPS):
            raise ValueError(f"expected maps of {MAPS}, got {sorted(unknown)}")
        if not 0 <= overlap < 1:
            raise ValueError(f"expected an overlap from 0 and below 1, got {overlap}")
        self.inferer, self.maps, self.window, self.overlap, self.largest = inferer, maps, window, overlap, largest

    def __call__(self, inputs: Tensor, network: Callable[..., Tensor], *args: Any, **kwargs: Any) -> Tensor:
        """The maps of the image."""
        image: Tensor = convert_to_tensor(inputs, track_meta=False)
        out = None
        for block in self._blocks(image.shape[2:]):
            sigma = self.inferer(image[block.seen], network, *args, **kwargs)
            part = class_maps(sigma, self.maps)
            del sigma
            if out is None:
                out = torch.empty(*part.shape[:2], *image.shape[2:])
            out[block.kept] = part[block.inner].cpu()
        assert out is not None
        return MetaTensor(out).copy_meta_from(inputs) if isinstance(inputs, MetaTensor) else out

    def _blocks(self, shape: Sequence[int]) -> Iterator[_Block]:
        window = shape if self.window is None else [min(n, w) for n, w in zip(shape, self.window)]
        steps = [max(int(w * (1 - self.overlap)), 1) for w in window]  # as MONAI counts
        numbers = [math.ceil((n - w) / step) + 1 for n, w, step in zip(shape, window, steps)]
        cuts, sizes = [[_Cut(0, n, 0, n)] for n in shape], list(shape)
        for axis in sorted(range(len(shape)), key=numbers.__getitem__, reverse=True):
            if (voxels := math.prod(sizes)) > self.largest:
                starts = [min(k * steps[axis], shape[axis] - window[axis]) for k in range(numbers[axis])]
                length = self.largest * shape[axis] // voxels
                cuts[axis] = list(_cut(starts, window[axis], shape[axis], length))
                sizes[axis] = max(cut.last - cut.first for cut in cuts[axis])
        return map(_Block, itertools.product(*cuts))


class _Cut(NamedTuple):
    """Along one axis, from where to where a block is, and from where to where it counts."""

    first: int
    last: int
    low: int
    high: int


class _Block:
    """Which voxels of the image a block is, which of them count, and where those are in the block."""

    def __init__(self, cuts: tuple[_Cut, ...]) -> None:
        every = (slice(None),) * 2  # batch and channels
        self.seen = every + tuple(slice(cut.first, cut.last) for cut in cuts)
        self.kept = every + tuple(slice(cut.low, cut.high) for cut in cuts)
        self.inner = every + tuple(slice(cut.low - cut.first, cut.high - cut.first) for cut in cuts)


def _cut(starts: Sequence[int], size: int, end: int, length: int) -> Iterator[_Cut]:
    """Blocks of a length at most, if that is enough to go on, which begin and end with a window."""
    low = 0
    while low < end:
        windows = [k for k, start in enumerate(starts) if start + size > low]  # from the first one that sees ``low``
        first = starts[windows[0]]
        last = [k for k in windows if starts[k] <= low or starts[k] + size - first <= length][-1]
        high = starts[last + 1] if last + 1 < len(starts) else end
        yield _Cut(first, starts[last] + size, low, high)
        low = high
