# SPDX-License-Identifier: Apache-2.0
"""Whole images of any size through a network, at several scales and mirrored if asked for."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from monai.inferers import Inferer
from torch import Tensor

from medwsss.networks.resampling import resample

__all__ = ["MultiScaleInferer"]


class MultiScaleInferer(Inferer):
    """Mean of the class probabilities over scales, and over the image and its mirror images, at the input's resolution.

    Args:
        scales: what the network gets to see, in terms of the input's size.
        flip: spatial axes along which the image is mirrored, too, in all combinations: with two axes, four views are
            averaged. ``True`` is the first one, which runs along a picture's rows.
        multiple_of: sizes are rounded to multiples of it, for networks that don't take others.
        inferer: how each view goes through the network (in windows, say) to logits of its size; default: at once.
        softmax: average probabilities; without, what the network gives, such as the score maps of tags.

    Shape:
        - input: ``B C *S``.
        - output: ``B K *S`` probabilities, or scores.

    Raises:
        ValueError: for no scale or one that is not positive, and for ``multiple_of`` below 1.

    Example:
        >>> import torch
        >>> biased = lambda x: torch.tensor([[[50.0, 0.0], [0.0, 50.0]]])  # left is class 0, whatever the image
        >>> image = torch.zeros(1, 1, 2)
        >>> [MultiScaleInferer(flip=flip)(image, biased)[0, 0].round(decimals=4).tolist() for flip in (False, True)]
        [[1.0, 0.0], [0.5, 0.5]]
    """

    def __init__(
        self,
        scales: Sequence[float] = (1.0,),
        flip: bool | Sequence[int] = False,
        multiple_of: int = 1,
        inferer: Inferer | None = None,
        softmax: bool = True,
    ) -> None:
        super().__init__()
        if not scales or min(scales) <= 0:
            raise ValueError(f"expected positive scales, got {list(scales)}")
        if multiple_of < 1:
            raise ValueError(f"expected multiple_of >= 1, got {multiple_of}")
        self.scales = tuple(scales)
        axes = tuple(range(flip)) if isinstance(flip, bool) else tuple(flip)
        chosen = (itertools.combinations(axes, count) for count in range(len(axes) + 1))
        self.mirrors = [[2 + axis for axis in each] for each in itertools.chain(*chosen)]
        self.multiple_of, self.inferer, self.softmax = multiple_of, inferer, softmax

    def __call__(self, inputs: Tensor, network: Callable[..., Tensor], *args: Any, **kwargs: Any) -> Tensor:
        """The probabilities."""
        shape, step = list(inputs.shape[2:]), self.multiple_of
        through = network if self.inferer is None else partial(self.inferer, network=network)
        total: Any = 0
        for scale in self.scales:
            size = [max(step, round(n * scale / step) * step) for n in shape]
            view = _resized(inputs, size)
            for axes in self.mirrors:
                maps = through(_mirrored(view, axes), *args, **kwargs).float()
                total = total + _resized(_mirrored(maps.softmax(1) if self.softmax else maps, axes), shape)
        mean: Tensor = total / (len(self.scales) * len(self.mirrors))
        return mean


def _resized(x: Tensor, size: list[int]) -> Tensor:
    return x if list(x.shape[2:]) == size else resample(x, size, align_corners=False)  # which would copy it


def _mirrored(x: Tensor, axes: list[int]) -> Tensor:
    return x.flip(axes) if axes else x
