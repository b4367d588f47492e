# SPDX-License-Identifier: Apache-2.0
"""What a data set's ``dataset.json`` says of itself, in nnU-Net's words of both versions and in the Decathlon's."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from medwsss.study.datalist import label_names

_CHANNELS = ("channel_names", "modality")  # the second is nnU-Net's first version and the Decathlon


def names_by_number(description: Mapping[str, Any], path: Path) -> dict[int, str]:
    """``{number: name}`` of ``labels``, whichever way round.

    Raises:
        ValueError: where they are something else, or none, naming the file.
    """
    try:
        names = label_names(description)
    except ValueError as error:
        raise ValueError(f"{error} in {path}") from error
    if not names or len(names) != len(description["labels"]):
        raise ValueError(f"expected labels 0, 1, … in {path}, got {sorted(names)}")
    return names


def count_channels(description: Mapping[str, Any], path: Path, default: int | None = None) -> int:
    """Number of channels of an image.

    Raises:
        ValueError: where they are not told and there is no ``default``, or in a way nobody knows.
    """
    told = next((description[key] for key in _CHANNELS if description.get(key)), None)
    if isinstance(told, (dict, list)):
        return len(told)
    if isinstance(told, str) or (told is None and default is not None):
        return 1 if told else default or 1
    raise ValueError(f"expected {' or '.join(_CHANNELS)}, a name a channel, in {path}, got {told}")


def check_count(description: Mapping[str, Any], found: int, what: str, path: Path) -> None:
    """Compare the number of cases with ``numTraining``, where that is told; ``ValueError`` if it is another."""
    expected = description.get("numTraining")
    if isinstance(expected, int) and expected != found:
        raise ValueError(f"expected numTraining = {expected} {what}, got {found} in {path}")
