# SPDX-License-Identifier: Apache-2.0
"""How large what one sees is: the scale of a picture, and the bar that shows it."""

from __future__ import annotations

import math

import nibabel as nib
import torch
from monai.data import MetaTensor
from monai.utils import convert_to_numpy

__all__ = ["bar_length", "scale_of"]

_BAR = 0.3  # of the width that a scale bar takes at most


def scale_of(image: torch.Tensor) -> tuple[list[float], str]:
    """Spacing of the axes of ``C *S``, and its unit: 1 of a plain tensor; no unit where its file says nothing of it.

    Example:
        >>> scale_of(MetaTensor(torch.zeros(1, 4, 4), affine=torch.diag(torch.tensor([0.5, 2.0, 1.0, 1.0]))))
        ([0.5, 2.0], '')
    """
    axes = image.ndim - 1
    if not isinstance(image, MetaTensor):
        return [1.0] * axes, ""
    spacing = nib.affines.voxel_sizes(convert_to_numpy(image.affine))[:axes].round(4).tolist()
    return spacing, str(image.meta.get("unit", "mm")) if image.meta.get("placed") else ""


def bar_length(width: float) -> float:
    """The longest of 1, 2, 5, 10, … that takes three tenths of a width at most.

    Example:
        >>> [bar_length(width) for width in (4, 100, 180)]
        [1.0, 20.0, 50.0]
    """
    power = 10.0 ** math.floor(math.log10(_BAR * width))
    return max(factor * power for factor in (1, 2, 5) if factor * power <= _BAR * width)
