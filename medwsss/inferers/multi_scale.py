# SPDX-License-Identifier: Apache-2.0
"""Whole images of any size through a network, at several scales and mirrored if asked for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from monai.inferers import Inferer
from torch import Tensor

from medwsss.networks.resampling import resample

__all__ = ["MultiScaleInferer"]


class MultiScaleInferer(Inferer):
    """Mean of the class probabilities over scales, and over the image and its mirror image, at the input's resolution.

    Args:
        scales: what the network gets to see, in terms of the input's size.
        flip: mirror along the first spatial axis, too, which runs along a picture's rows.
        multiple_of: sizes are rounded to multiples of it, for networks that don't take others.

    Shape:
        - input: ``B C *S``.
        - output: ``B K *S`` probabilities.

    Raises:
        ValueError: for no scale or one that is not positive, and for ``multiple_of`` below 1.

    Example:
        >>> biased = lambda x: torch.tensor([[[50.0, 0.0], [0.0, 50.0]]])  # left is class 0, whatever the image
        >>> image = torch.zeros(1, 1, 2)
        >>> [MultiScaleInferer(flip=flip)(image, biased)[0, 0].round(decimals=4).tolist() for flip in (False, True)]
        [[1.0, 0.0], [0.5, 0.5]]
    """

    def __init__(self, scales: Sequence[float] = (1.0,), flip: bool = False, multiple_of: int = 1) -> None:
        super().__init__()
        if not scales or min(scales) <= 0:
            raise ValueError(f"expected positive scales, got {list(scales)}")
        if multiple_of < 1:
            raise ValueError(f"expected multiple_of >= 1, got {multiple_of}")
        self.scales = tuple(scales)
        self.mirrors: tuple[tuple[int, ...], ...] = ((), (2,)) if flip else ((),)
        self.multiple_of = multiple_of

    def __call__(self, inputs: Tensor, network: Callable[..., Tensor], *args: Any, **kwargs: Any) -> Tensor:
        """The probabilities."""
        shape, step = list(inputs.shape[2:]), self.multiple_of
        means = []
        for scale in self.scales:
            size = [max(step, round(n * scale / step) * step) for n in shape]
            view = resample(inputs, size, align_corners=False)
            for axes in self.mirrors:
                probabilities = network(view.flip(axes), *args, **kwargs).float().softmax(1).flip(axes)
                means.append(resample(probabilities, shape, align_corners=False))
        return torch.stack(means).mean(0)
