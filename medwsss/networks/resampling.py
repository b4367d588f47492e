# SPDX-License-Identifier: Apache-2.0
"""The one multilinear resampling of all networks, for every number of spatial axes."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

__all__ = ["resample"]


def resample(x: Tensor, size: list[int], align_corners: bool) -> Tensor:
    """Multilinear interpolation of ``B C *S`` to ``B C *size``; ``align_corners`` as in PyTorch.

    Scriptable, which is why it does not look the mode's name up in a dictionary of its module.
    """
    mode = ["linear", "bilinear", "trilinear"][len(size) - 1]
    return F.interpolate(x, size=size, mode=mode, align_corners=align_corners)
