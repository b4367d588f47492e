# SPDX-License-Identifier: Apache-2.0
"""Volumes through a network of slices, for whatever it says of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from monai.inferers import Inferer
from monai.utils import convert_to_tensor
from torch import Tensor

__all__ = ["SlicesInferer"]


class SlicesInferer(Inferer):
    """Each slice across an axis as an image of its own, several at a time; MONAI's ``SliceInferer`` cuts windows, too.

    Args:
        inferer: of images, with an output of their size.
        axis: across which slices lie; ``None``: images go on as they are.
        batch_size: slices at a time.

    Shape:
        - input: ``B C *S``.
        - output: ``B K *S``.

    Raises:
        ValueError: for a number of slices below 1.
    """

    def __init__(self, inferer: Inferer, axis: int | None = None, batch_size: int = 8) -> None:
        super().__init__()
        if batch_size < 1:
            raise ValueError(f"expected batch_size >= 1, got {batch_size}")
        self.inferer, self.axis, self.batch_size = inferer, axis, batch_size

    def __call__(self, inputs: Tensor, network: Callable[..., Tensor], *args: Any, **kwargs: Any) -> Tensor:
        """What the network says."""
        image: Tensor = convert_to_tensor(inputs, track_meta=False)
        if self.axis is None:
            alone: Tensor = self.inferer(image, network, *args, **kwargs)
            return alone
        slices = image.movedim(self.axis + 2, 1)
        parts = slices.flatten(0, 1).split(self.batch_size)
        out = torch.cat([self.inferer(part, network, *args, **kwargs) for part in parts])
        volume: Tensor = out.unflatten(0, slices.shape[:2]).movedim(1, self.axis + 2)
        return volume
