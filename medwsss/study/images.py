# SPDX-License-Identifier: Apache-2.0
"""Whether the images of a section are such as a bundle takes: their channels, and the range of their intensities."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence

from medwsss.study.intensities import rounded
from medwsss.study.summary import StudySummary

__all__ = ["check_images"]

NARROW = 20  #: images that fill less than this part of a range are of another one


def check_images(
    study: StudySummary | None, in_channels: int, axes: Sequence[int], intensity_range: Sequence[float] | None = None
) -> StudySummary | None:
    """Check that a bundle can work on the images of a section, and return the section.

    Args:
        study: the section; one that was not opened is passed over.
        in_channels: channels that the network takes.
        axes: numbers of axes in space that images may have.
        intensity_range: lower and upper end of what the bundle takes for black and white; ``None``: it scales each
            image by its own percentiles.

    Raises:
        ValueError: for other numbers of channels or axes, for an ``intensity_range`` that is none, and for images that
            are clearly of another range, with the override that helps.

    Warns:
        UserWarning: of single images that hardly fill the range, unless they are of one value.
    """
    if study is None or study.channels is None:
        return study
    if study.channels != in_channels:
        raise ValueError(
            f"expected images of {in_channels} channels, got {study.channels}: --in_channels {study.channels}"
        )
    found = len(study.shape[0]) if study.shape else 0
    if found not in axes:
        raise ValueError(f"expected images of {' or '.join(map(str, axes))} axes, got {found}: --spatial_dims {found}")
    if intensity_range is None:
        return study
    try:
        low, high = map(float, intensity_range)
    except (TypeError, ValueError):
        low = high = math.nan
    if not -math.inf < low < high < math.inf:
        raise ValueError(f"expected intensity_range as two numbers, the smaller one first, got {intensity_range}")
    width, ranges = high - low, study.ranges
    if not ranges:
        return study
    lowest, highest = min(ranges, key=lambda name: ranges[name][0]), max(ranges, key=lambda name: ranges[name][1])
    least, most = ranges[lowest][0], ranges[highest][1]
    about = f"expected intensities of about {low:g} to {high:g} (intensity_range)"
    if least < low - width or most > high + width or most - least < width / NARROW:
        low, high = rounded(list(ranges.values()))
        raise ValueError(
            f"{about}, got {least:g} in {lowest} and {most:g} in {highest}; "
            f"--intensity_range '[{low:g},{high:g}]' would fit"
        )
    if narrow := [name for name, (a, b) in ranges.items() if 0 < b - a < width / NARROW]:
        a, b = ranges[narrow[0]]
        more = f" and as little in {len(narrow) - 1} more" if narrow[1:] else ""
        warnings.warn(f"{about} in each image, got {a:g} to {b:g} in {narrow[0]}{more}", stacklevel=2)
    return study
