# SPDX-License-Identifier: Apache-2.0
"""A network that sees each training image twice, the second time smaller and mirrored."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from medwsss.networks.resampling import resample

__all__ = ["Siamese"]


class Siamese(nn.Module):
    """In training ``s(x)`` and ``A⁻¹ s(A x)`` one after the other along the batch; in evaluation ``s(x)``.

    ``A`` scales by ``zoom`` and, if asked for, mirrors along ``flip``. One tensor comes out, so that a stock trainer,
    mixed precision and processes stay as they are; :class:`~medwsss.losses.EquivariantLoss` reads it.

    Args:
        network: from ``B C *S`` to ``B K *s``.
        zoom: of the second view; 0.3 in SEAM.
        flip: spatial axis along which it is mirrored, or ``None``.
        multiple_of: its size is rounded to multiples of it.

    Raises:
        ValueError: for a zoom that is not positive.
    """

    def __init__(self, network: nn.Module, zoom: float = 0.3, flip: int | None = None, multiple_of: int = 1) -> None:
        super().__init__()
        if not zoom > 0 or multiple_of < 1:
            raise ValueError(f"expected a positive zoom and multiple_of from 1, got {zoom} and {multiple_of}")
        self.network, self.zoom, self.flip, self.multiple_of = network, zoom, flip, multiple_of

    def forward(self, x: Tensor) -> Any:
        """Maps of one view or two."""
        maps = self.network(x)
        if not self.training:
            return maps
        step = self.multiple_of
        size = [max(step, round(n * self.zoom / step) * step) for n in x.shape[2:]]
        view = self._mirrored(resample(x, size, align_corners=False))
        back = resample(self._mirrored(self.network(view)), list(maps.shape[2:]), align_corners=False)
        return torch.cat((maps, back))

    def _mirrored(self, x: Tensor) -> Tensor:
        return x if self.flip is None else x.flip(2 + self.flip)
