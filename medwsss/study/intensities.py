# SPDX-License-Identifier: Apache-2.0
"""The voxels of an image: which of them exist, and the range of what they hold.

The reader (:mod:`medwsss.study.readers`) returns NaN where a file itself declares that there is nothing, by a nodata
value, a mask or an alpha channel; ``meta["void"]`` then says by what. NaN without it is a fault of the file.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from monai.utils import ImageMetaKey, convert_to_numpy
from torch import Tensor

__all__ = ["Range", "existing", "fits_eight_bits", "moments", "rounded", "usual_range", "void_of"]

Range = tuple[float, float]  #: lowest and highest

EIGHT_BITS: Range = (0.0, 255.0)
USUAL = (0.5, 99.5)  #: percentiles of an image: what lies outside is rare, if not an artefact
_LOOKED_AT = 1_000_000  # voxels of an image, evenly spread, for its percentiles


def existing(image: Any, file: Any = None, some: bool = False) -> Tensor:
    """Where an image has voxels, ``C *S`` bool: everywhere, but where its file declares that there is nothing.

    Args:
        image: ``C *S`` with the metadata of the study's reader.
        file: to be named; default: by the metadata.
        some: whether there has to be any.

    Raises:
        ValueError: for NaN and infinity that nobody declared, and where there is nothing but void if ``some``.
    """
    voxels, meta = torch.as_tensor(image).as_subclass(Tensor), getattr(image, "meta", {})
    name = file if file is not None else meta.get(ImageMetaKey.FILENAME_OR_OBJ, "an array without a file name")
    exists = ~voxels.isnan()
    undeclared = ~voxels.isfinite() if meta.get("void") is None else voxels.isinf()
    if bad := int(undeclared.sum()):
        remedy = "replace them by numbers"
        if str(name).lower().endswith((".tif", ".tiff")):
            remedy = "declare NaN as nodata (gdal_edit.py -a_nodata nan), if there is no image, and replace infinity"
        raise ValueError(f"expected finite intensities, got {bad} NaN or infinite voxels in {name}: {remedy}")
    if some and not exists.any():
        raise ValueError(f"expected an image, got nothing but void ({meta.get('void')}) in {name}")
    return exists


def void_of(image: Any) -> Tensor:
    """``1 *S`` bool: no channel has anything there."""
    return torch.as_tensor(image).as_subclass(Tensor).isnan().all(0, keepdim=True)


def usual_range(voxels: Any) -> Range | None:
    """From the 0.5th to the 99.5th percentile of an image's voxels, those that exist; ``None`` of none.

    Of a large image, every so manieth voxel is looked at.
    """
    values = convert_to_numpy(voxels).reshape(-1)
    values = values[np.isfinite(values)]
    if not values.size:
        return None
    low, high = np.percentile(values[:: -(-values.size // _LOOKED_AT)].astype(np.float64), USUAL)
    return float(low), float(high)


def moments(voxels: Tensor, exists: Tensor) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and deviation of each channel, where it has voxels; 0 where it has none.

    Example:
        >>> moments(torch.tensor([[1.0, 3.0, torch.nan]]), torch.tensor([[True, True, False]]))
        ((2.0,), (1.0,))
    """
    values, there = torch.where(exists, voxels, 0).flatten(1), exists.flatten(1)
    count = there.sum(1, keepdim=True).clamp_min(1)
    mean = values.sum(1, keepdim=True, dtype=torch.float64) / count
    apart = torch.where(there, values - mean.to(values.dtype), 0).square_().sum(1, keepdim=True, dtype=torch.float64)
    return tuple(mean[:, 0].tolist()), tuple((apart / count).sqrt()[:, 0].tolist())


def fits_eight_bits(voxels: Any) -> bool:
    """Whether an image holds nothing but whole numbers from 0 to 255, as a photograph does."""
    values = torch.as_tensor(voxels).as_subclass(Tensor)
    return bool(((values == values.round().clamp(*EIGHT_BITS)) | values.isnan()).all())


def rounded(ranges: Sequence[Range]) -> list[float]:
    """A range that holds all of ``ranges``, in round numbers, as an override is written.

    Example:
        >>> rounded([(37.0, 8911.0), (112.0, 9421.5)]), rounded([(0.031, 0.97)]), rounded([(5.0, 5.0)])
        ([0, 9500], [0.03, 0.97], [5, 6])
    """
    low, high = min(low for low, _ in ranges), max(high for _, high in ranges)
    if low == high:
        high += 1
    digits = 1 - math.floor(math.log10(high - low))
    step = 10.0**-digits
    ends = (math.floor(round(low / step, 6)) * step, math.ceil(round(high / step, 6)) * step)
    return [int(end) if end == int(end) else end for end in (round(end, max(digits, 0)) for end in ends)]
