# SPDX-License-Identifier: Apache-2.0
"""Autograd for filters that are their own transpose."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

__all__ = ["self_adjoint"]


def self_adjoint(apply: Callable[[Tensor], Tensor], values: Tensor) -> Tensor:
    """``Av`` of a linear ``v ↦ Av`` with ``Aᵀ = A``, which nothing has to be kept for; never in half precision.

    Example:
        >>> v = torch.tensor([1.0, 2.0], requires_grad=True)
        >>> self_adjoint(lambda x: x.flip(0), v)[0].backward()
        >>> v.grad.tolist()
        [0.0, 1.0]
    """
    result: Tensor = _SelfAdjoint.apply(values, apply)
    return result


class _SelfAdjoint(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, values: Tensor, apply: Callable[[Tensor], Tensor]) -> Tensor:
        ctx.linear = apply
        with torch.autocast(values.device.type, enabled=False):
            return apply(values)

    @staticmethod
    def backward(ctx: Any, outer: Tensor) -> tuple[Tensor, None]:
        """The filter itself, which can be differentiated again."""
        return self_adjoint(ctx.linear, outer), None
