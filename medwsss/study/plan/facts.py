# SPDX-License-Identifier: Apache-2.0
"""What a plan looks at: a study and a machine in a few numbers."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from statistics import median
from typing import Any

import numpy as np
import torch

from medwsss.study.summary import StudySummary

__all__ = ["STEPS", "Facts", "facts_of"]

STEPS = (3, 8, 15, 30)  #: of the solver, after which pseudo-labels are compared with those after the last of them
_HOUNSFIELD = -500  # in MR and in photographs nothing is as low; lungs and the air around a patient are
_MIB = 2**20


@dataclass(frozen=True, kw_only=True)
class Facts:
    """The fingerprint of a section that trains; axes are in training's order, a thick one last."""

    images: str  #: how many, and a digest of their voxels
    items: int
    channels: int
    num_classes: int
    shape: list[float]  #: the middle of the smallest and the largest
    smallest: list[float]
    largest: list[float]
    spacing: list[float]  #: in mm where the files say so
    turned: int  #: volumes that lie on another axis in their files
    seeds: list[int]  #: of each class
    labeled: float  #: share of the voxels
    distance: float | None  #: from a voxel to the nearest stroke, in units of the spacing, on average
    noise: float | None  #: median difference of neighbours with seeds of one class, in shares of the usual range
    range: list[float]  #: usual intensities of all images
    foreground: list[float] | None  #: usual intensities of seeds of the classes from 1 on
    mean: list[float]  #: of each channel
    std: list[float]
    photographs: bool  #: images of whole numbers from 0 to 255
    hounsfield: bool  #: computed tomography, by its intensities: one scale for all images
    device: str  #: "cuda" or "cpu"
    memory: float | None  #: of the machine, in MiB
    settling: list[float] | None = None  #: share of the objects in which labels after :data:`STEPS` still differ
    spatial_dims: int | None = None  #: if somebody asked for it
    minutes: float | None = None  #: likewise

    @property
    def axes(self) -> int:
        """Of an image."""
        return len(self.shape)

    @classmethod
    def of(cls, content: Any) -> Facts:
        """Facts as JSON has them.

        Raises:
            ValueError: naming those that are missing, unknown, or of another kind.
        """
        if not isinstance(content, Mapping):
            raise ValueError(f"expected facts of a study, got {content!r}")
        known = {each.name: str(each.type) for each in fields(cls)}
        if odd := sorted(known.keys() ^ content.keys()):
            raise ValueError(f"expected facts of a study, got others or none of {', '.join(odd)}")
        for name, value in content.items():
            if not _is_of(value, known[name]):
                raise ValueError(f"expected {name} of a study to be {known[name]}, got {value!r}")
        return cls(**content)

    def plain(self) -> dict[str, Any]:
        """As JSON has them."""
        return asdict(self)


def _is_of(value: Any, kind: str) -> bool:
    if value is None:
        return kind.endswith("None")
    kind = kind.removesuffix(" | None")
    if kind.startswith("list"):
        return isinstance(value, list) and all(_is_of(each, kind[5:-1]) for each in value)
    if kind in ("bool", "str"):
        return type(value).__name__ == kind
    return isinstance(value, int if kind == "int" else (int, float)) and not isinstance(value, bool)


def facts_of(summary: StudySummary, spatial_dims: int | None = None, minutes: float | None = None) -> Facts:
    """The facts of a section that holds at least one item, and of this machine."""
    ranges = [*summary.ranges.values()] or [(0.0, 1.0)]
    labels, total = summary.voxels, max(int(summary.voxels.sum()), 1)
    seeds = labels[: summary.num_classes].tolist()
    means, stds = (np.asarray([case[k] for case in summary.moments]) for k in (0, 1))
    mean = means.mean(0)
    std = np.sqrt((stds**2 + (means - mean) ** 2).mean(0))
    noise, distance, objects = (
        [v for s in summary.strokes if (v := getattr(s, name)) is not None] for name in _OF_SEEDS
    )
    smallest, largest = summary.shape or ((), ())
    return Facts(
        images=summary.images,
        items=summary.items,
        channels=summary.channels or 1,
        num_classes=summary.num_classes,
        shape=_rounded(summary.typical_shape),
        smallest=list(smallest),
        largest=list(largest),
        spacing=_rounded(summary.typical_spacing),
        turned=len(summary.turned),
        seeds=seeds,
        labeled=round(sum(seeds) / total, 6),
        distance=round(float(np.mean(distance)), 3) if distance else None,
        noise=round(median(noise), 6) if noise else None,
        range=_rounded([min(low for low, _ in ranges), max(high for _, high in ranges)]),
        foreground=_rounded([median(end) for end in zip(*objects)]) if objects else None,
        mean=_rounded(mean),
        std=_rounded(std),
        photographs=summary.photographs == summary.items,
        hounsfield=len(smallest) == 3 and median(low for low, _ in ranges) < _HOUNSFIELD,
        device="cuda" if torch.cuda.is_available() else "cpu",
        memory=_memory(),
        spatial_dims=spatial_dims,
        minutes=minutes,
    )


_OF_SEEDS = ("noise", "distance", "foreground")


def _rounded(values: Sequence[float] | np.ndarray) -> list[float]:
    """To six digits, so that a file says all of it."""
    return [float(f"{value:.6g}") for value in values]


def _memory() -> float | None:
    try:
        return round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / _MIB)
    except (AttributeError, OSError, ValueError):  # Windows does not say
        return None
