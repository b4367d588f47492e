# SPDX-License-Identifier: Apache-2.0
"""Losses in mixed precision: their filters, sums and logarithms are not for half precision."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

__all__ = ["without_autocast"]

Loss = TypeVar("Loss", bound=nn.Module)
Forward = Callable[[Loss, Tensor, Any], Tensor]


def without_autocast(forward: Forward[Loss]) -> Forward[Loss]:
    """``forward`` of a loss as if there were no ``torch.autocast`` around it.

    There products of matrices, and so what is blurred by them, are in half precision, whatever goes in, and LAPACK's
    decompositions end in an error.
    """

    @wraps(forward)
    def wrapped(self: Loss, input: Tensor, target: Any) -> Tensor:  # noqa: A002 (MONAI's name)
        with torch.autocast(input.device.type, enabled=False):
            return forward(self, input, target)

    return wrapped
