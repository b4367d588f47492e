# SPDX-License-Identifier: Apache-2.0
"""Images that are too large to go through a network in one piece."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from monai.inferers import Inferer, SlidingWindowInferer
from torch import Tensor

__all__ = ["TiledInferer"]

logger = logging.getLogger(__name__)


class TiledInferer(Inferer):
    """Another inferer on the whole image up to a size, and tile by tile beyond it.

    Tiles overlap by a quarter and fade into each other; their predictions are put together in the CPU's memory, which
    takes ``8 K`` bytes a pixel.

    Args:
        inferer: what an image or a tile goes through.
        tile: spatial size of a tile.
        largest: voxels of the largest image that is taken whole.

    Shape:
        as ``inferer``, whose output has the resolution of its input.

    Raises:
        ValueError: for a tile that is larger than ``largest``, and one of no size.
    """

    def __init__(self, inferer: Inferer, tile: Sequence[int], largest: int) -> None:
        super().__init__()
        if min(tile) < 1 or math.prod(tile) > largest:
            raise ValueError(f"expected tiles of at most {largest} voxels, got {list(tile)}")
        self.inferer, self.tile, self.largest = inferer, tuple(tile), largest
        self.windows = SlidingWindowInferer(self.tile, 1, overlap=0.25, mode="gaussian", device="cpu")

    def __call__(self, inputs: Tensor, network: Callable[..., Tensor], *args: Any, **kwargs: Any) -> Any:
        """What ``inferer`` says of the image."""
        shape = tuple(inputs.shape[2:])
        if math.prod(shape) <= self.largest:
            return self.inferer(inputs, network, *args, **kwargs)
        logger.info("An image of %s goes through the network in tiles of %s.", shape, self.tile)
        return self.windows(inputs, partial(self.inferer, network=network), *args, **kwargs)
