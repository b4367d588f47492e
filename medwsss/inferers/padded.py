# SPDX-License-Identifier: Apache-2.0
"""Images of any size through a network that takes multiples of a size alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from monai.inferers import Inferer
from torch import Tensor
from torch.nn import functional as F

__all__ = ["PaddedInferer"]


class PaddedInferer(Inferer):
    """The image at once, padded at the far end of each axis by its last values, and what comes out cropped.

    Args:
        multiple_of: sizes that the network takes are multiples of it (the product of a U-Net's strides).

    Shape:
        - input: ``B C *S``.
        - output: of the network, at the input's size.

    Raises:
        ValueError: for a number below 1.

    Example:
        >>> import torch
        >>> halves = lambda x: x[..., ::2].repeat_interleave(2, -1)  # would fail on three
        >>> PaddedInferer(2)(torch.tensor([[[1.0, 2.0, 3.0]]]), halves).tolist()
        [[[1.0, 1.0, 3.0]]]
    """

    def __init__(self, multiple_of: int = 1) -> None:
        super().__init__()
        if multiple_of < 1:
            raise ValueError(f"expected multiple_of >= 1, got {multiple_of}")
        self.multiple_of = multiple_of

    def __call__(self, inputs: Tensor, network: Callable[..., Tensor], *args: Any, **kwargs: Any) -> Tensor:
        """What the network says."""
        shape = inputs.shape[2:]
        padding = [amount for size in reversed(shape) for amount in (0, -size % self.multiple_of)]
        padded = F.pad(inputs, padding, mode="replicate") if any(padding) else inputs
        output = network(padded, *args, **kwargs)
        for axis, size in enumerate(shape, 2):
            output = output.narrow(axis, 0, size)
        return output
