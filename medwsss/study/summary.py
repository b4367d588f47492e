# SPDX-License-Identifier: Apache-2.0
"""One section of a study in numbers: what its cases add up to."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch

from medwsss.keys import UNLABELED, VOID
from medwsss.study.axes import axis_order
from medwsss.study.findings import Findings
from medwsss.study.strokes import SeedStatistics

_SHOWN = 4  # channels whose ranges a table shows; of more than that, one range of them all

Extent = tuple[tuple[float, ...], tuple[float, ...]]  #: smallest and largest value an axis or channel


def _no_voxels() -> torch.Tensor:
    return torch.zeros(256, dtype=torch.int64)


@dataclass
class StudySummary:
    """What a section of a data list holds; ranges are smallest and largest value, an axis (a channel) each.

    Axes are in the order in which training has them: a volume's thick one is last.
    """

    num_classes: int
    names: Sequence[str] = ()  #: of the classes
    values: Sequence[str] = ()  #: of each class in the files, where it is not the class's number
    items: int = 0
    voxels: torch.Tensor = field(default_factory=_no_voxels)  #: of each value of what trains: scribble, else mask
    mask_voxels: torch.Tensor = field(default_factory=_no_voxels)  #: of each value of dense masks
    compared: int = 0  #: seeds where a mask knows better
    contradictions: int = 0  #: of those, the ones of another class
    shape: Extent | None = None
    spacing: Extent | None = None  #: in mm where the files say so
    intensity: Extent | None = None
    ranges: dict[str, tuple[float, float]] = field(default_factory=dict)  #: of usual intensities, by the image's name
    channels: int | None = None  #: of the first image
    moments: list[tuple[tuple[float, ...], ...]] = field(default_factory=list)  #: means and deviations of each case
    strokes: list[SeedStatistics] = field(default_factory=list)
    photographs: int = 0  #: cases of nothing but whole numbers from 0 to 255
    errors: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    turned: dict[str, int] = field(default_factory=dict)  #: volumes whose thick axis, this one, is not the last
    anatomy: dict[tuple[int, ...], str] = field(default_factory=dict)  #: orders of axes, each with a volume that has it
    _first: dict[str, str] = field(default_factory=dict)  # digest of an image: its name
    _contents: list[str] = field(default_factory=list)  # digests of each case's image and annotation

    def add(self, case: Findings, name: str) -> None:
        """Add a case; ``name`` is its image's."""
        self.errors += case.errors
        self.warnings += case.warnings
        if not case.shape:
            return
        channels, *axes_of_file = case.shape
        order = axis_order(axes_of_file, case.spacing)
        shape, spacing = ([values[axis] for axis in order] for values in (axes_of_file, case.spacing))
        if self.channels is None:
            self.channels, self.shape = channels, (tuple(shape), tuple(shape))
        axes = len(self.shape[0]) if self.shape else 0
        fits = (channels, len(shape)) == (self.channels, axes)
        if not fits:
            self.errors.append(
                f"expected {self.channels} channels and {axes} axes as in the first image, "
                f"got {channels} and {len(shape)} in {name}"
            )
        if case.low != case.high:  # images of one value are alike without being copies
            if case.digest in self._first:
                self.warnings.append(
                    f"expected different images, got the same voxels in {name} and {self._first[case.digest]}"
                )
            self._first.setdefault(case.digest, name)
        self._contents.append(case.digest + case.annotation)
        if case.errors or not fits:
            return
        self.items += 1
        if order != tuple(sorted(order)):
            self.turned[Path(name).name.strip("]'")] = order[-1]
        if case.anatomy:
            self.anatomy.setdefault(tuple(case.anatomy[axis] for axis in order), name)
        for voxels, counts in (
            (self.voxels, case.mask if case.seeds is None else case.seeds),
            (self.mask_voxels, case.mask),
        ):
            if counts is not None:
                voxels += counts
        self.compared += case.compared
        self.contradictions += case.contradictions
        self.shape = _widened(self.shape, shape, shape)
        self.spacing = _widened(self.spacing, spacing, spacing)
        self.intensity = _widened(self.intensity, case.low, case.high)
        if case.range is not None:
            self.ranges[name] = case.range
        if case.mean:
            self.moments.append((case.mean, case.std))
            self.photographs += case.photograph
        if case.strokes is not None:
            self.strokes.append(case.strokes)

    def close(self) -> None:
        """What only the whole list tells: classes that are never seeded."""
        if unseeded := [k for k in range(self.num_classes) if self.voxels.any() and not self.voxels[k]]:
            self.warnings.append(f"expected seeds of every class, got none in the whole list of classes {unseeded}")

    @property
    def typical_spacing(self) -> list[float]:
        """One spacing for the whole list, for the distances in pair weights: the geometric middle of the range."""
        return _middle(self.spacing)

    @property
    def typical_shape(self) -> list[float]:
        """The geometric middle of the range of shapes."""
        return _middle(self.shape)

    @property
    def digests(self) -> dict[str, str]:
        """``{digest of an image's voxels: its name}``."""
        return self._first

    @property
    def images(self) -> str:
        """Equal for the same images, whatever their order, files and labels."""
        return f"{self.items} images ({_digest(sorted(self._first))})"

    @property
    def fingerprint(self) -> str:
        """Equal for cases of equal voxels and labels in the same order, wherever their files are."""
        return f"{self.items} cases ({_digest(self._contents)})"

    def __str__(self) -> str:
        total = max(int(self.voxels.sum()), 1)
        names = self.names or [f"class {k}" for k in range(self.num_classes)]
        rows = [*zip(names, range(self.num_classes)), ("unlabelled", UNLABELED), ("void", VOID)]
        width = max(12, *(len(name) + 1 for name in names))
        masks = bool(self.mask_voxels.any()) and not torch.equal(self.voxels, self.mask_voxels)
        lines = [f"{self.items} items", f"{'label':<{width}}{'voxels':>14}{'share':>10}" + f"{'of mask':>10}" * masks]
        for name, k in rows:
            line = f"{name:<{width}}{int(self.voxels[k]):>14}{int(self.voxels[k]) / total:>10.3%}"
            if masks and k < self.num_classes:
                line += f"{int(self.voxels[k]) / max(int(self.mask_voxels[k]), 1):>10.3%}"
            lines.append(line)
        intensity = self.intensity
        if intensity and len(intensity[0]) > _SHOWN:
            intensity = (min(intensity[0]),), (max(intensity[1]),)
        for name, extent in (("shape", self.shape), ("spacing", self.spacing), ("intensity", intensity)):
            low, high = (" x ".join(f"{v:g}" for v in values) for values in extent or ((), ()))
            lines.append(f"{name:<12}{low} .. {high}")
        if self.values:
            told = ", ".join(f"{k} ({value})" for k, value in enumerate(self.values))
            lines.append(f"{'classes':<12}{told}, in brackets as the files have them; predictions have the first")
        for name, axis in list(self.turned.items())[:_SHOWN]:
            lines.append(f"{'axes':<12}{name}: thick axis {axis}, brought last in training")
        if len(self.turned) > _SHOWN:
            lines.append(f"{'axes':<12}and {len(self.turned) - _SHOWN} more")
        if self.compared:
            lines.append(f"{'agreement':<12}{self.contradictions} of {self.compared} seeds contradict the mask")
        return "\n".join(lines)


def _digest(texts: Sequence[str]) -> str:
    return hashlib.blake2b(" ".join(texts).encode(), digest_size=6).hexdigest()


def _middle(extent: Extent | None) -> list[float]:
    low, high = extent or ((), ())
    return [math.sqrt(a * b) for a, b in zip(low, high)]


def _widened(extent: Extent | None, low: Sequence[float], high: Sequence[float]) -> Extent:
    old_low, old_high = extent or (tuple(low), tuple(high))
    return tuple(map(min, old_low, low)), tuple(map(max, old_high, high))
