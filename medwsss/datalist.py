# SPDX-License-Identifier: Apache-2.0
"""Data lists: read with care, and checked before training."""

from __future__ import annotations

import json
import math
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from monai.config import PathLike
from monai.data import MetaTensor
from monai.data.utils import affine_to_spacing, to_affine_nd
from monai.transforms import LoadImage
from tqdm import tqdm

from medwsss.keys import IMAGE, SCRIBBLE, UNLABELED, VOID
from medwsss.transforms import MapWeakLabels

_AFFINE_TOLERANCE = 0.1  # how far apart two affines may put a voxel, in voxels: headers are rounded
_MAX_LABELED = 0.5  # a "scribble" that labels more than this share of the voxels is probably a dense mask

Extent = tuple[tuple[float, ...], tuple[float, ...]]  #: smallest and largest value an axis or channel


def load_datalist(
    path: PathLike,
    section: str = "training",
    keys: Sequence[str] | Mapping[str, str] = (IMAGE, SCRIBBLE),
    allow_outside: bool = False,
) -> list[dict[str, Any]]:
    """Read one section of a data list in MONAI's Decathlon style.

    Text in the list is data: it is never evaluated as a bundle expression.

    Args:
        path: the JSON file; file names in it are relative to its folder.
        section: the list in it to read.
        keys: the keys every item must have; as a mapping ``{key in the result: key in the list}``.
        allow_outside: accept files outside the folder of the list.

    Returns:
        One dictionary an item with ``keys`` and nothing else, whose values are absolute paths (a list of paths, the
        channels of one image, where the data list has a list).

    Raises:
        ValueError: when the list is not readable, has no such section or an empty one; and, one line each, for items
            that lack a key, name a missing file, or name a file outside the folder (through a link, too).
    """
    path = Path(path).absolute()
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ValueError(f"expected a data list in JSON, got {path}: {error}") from error
    items = content.get(section) if isinstance(content, dict) else None
    if not isinstance(items, list) or not items:
        raise ValueError(f"expected a section {section!r} with at least one item, got none in {path}")

    folder, problems = path.parent, []
    loaded = []
    for index, item in enumerate(items):
        paths: dict[str, Any] = {}
        for key, source in (keys if isinstance(keys, Mapping) else dict(zip(keys, keys))).items():
            value: Any = item.get(source) if isinstance(item, dict) else None
            names: list[Any] = value if isinstance(value, list) else [value]
            where = f"{path}: {section}[{index}][{source!r}]"
            if not names or not all(name and isinstance(name, str) for name in names):
                problems.append(f"{where}: expected a file name, got {value!r}")
                continue
            for file in (folder / name for name in names):
                if not allow_outside and not file.resolve().is_relative_to(folder.resolve()):
                    problems.append(
                        f"{where}: expected a file in the folder of the list (or allow_outside), got {file}"
                    )
                elif not file.exists():
                    problems.append(f"{where}: expected an existing file, got {file}")
            paths[key] = [str(folder / name) for name in names] if isinstance(value, list) else str(folder / value)
        loaded.append(paths)
    _raise(problems)
    return loaded


def read_class_names(path: PathLike, num_classes: int) -> list[str]:
    """Names of the classes by the list's ``labels`` (``{"0": "background", …}``), else ``class k``."""
    labels = json.loads(Path(path).read_text(encoding="utf-8")).get("labels", {})
    return [str(labels.get(str(k), f"class {k}")) for k in range(num_classes)]


@dataclass
class DatalistSummary:
    """What a data list holds; ranges are smallest and largest value, an axis (a channel) each."""

    num_classes: int
    items: int = 0
    voxels: torch.Tensor = field(default_factory=lambda: torch.zeros(256, dtype=torch.int64))  #: count a label value
    shape: Extent | None = None
    spacing: Extent | None = None  #: in mm where the files say so
    intensity: Extent | None = None

    def add(self, image: MetaTensor, counts: torch.Tensor) -> None:
        """Add an image and its label counts."""
        shape = image.shape[1:]
        self.items += 1
        self.voxels += counts
        self.shape = _widened(self.shape, torch.tensor(shape))
        self.spacing = _widened(self.spacing, affine_to_spacing(image.affine, len(shape)))
        self.intensity = _widened(self.intensity, *image.as_tensor().flatten(1).aminmax(dim=1))

    @property
    def typical_spacing(self) -> list[float]:
        """One spacing for the whole list, for the distances in pair weights: the geometric middle of the range."""
        low, high = self.spacing or ((), ())
        return [math.sqrt(a * b) for a, b in zip(low, high)]

    def __str__(self) -> str:
        total = max(int(self.voxels.sum()), 1)
        rows = [(f"class {k}", k) for k in range(self.num_classes)] + [("unlabelled", UNLABELED), ("void", VOID)]
        lines = [f"{self.items} items", f"{'label':<12}{'voxels':>14}{'share':>10}"]
        lines += [f"{name:<12}{int(self.voxels[k]):>14}{int(self.voxels[k]) / total:>10.3%}" for name, k in rows]
        for name, extent in (("shape", self.shape), ("spacing", self.spacing), ("intensity", self.intensity)):
            low, high = (" x ".join(f"{v:g}" for v in values) for values in extent or ((), ()))
            lines.append(f"{name:<12}{low} .. {high}")
        return "\n".join(lines)


def check_datalist(
    items: Sequence[Mapping[str, Any]],
    labels: MapWeakLabels,
    image_key: str = IMAGE,
    label_key: str = SCRIBBLE,
    dense: bool = False,
) -> DatalistSummary:
    """Open every file of a data list once and check that one can train on it.

    Args:
        items: from :py:func:`load_datalist`.
        labels: what the label values mean.
        image_key: key of the images.
        label_key: key of the label maps.
        dense: the labels are dense masks: do not warn that they label most voxels.

    Returns:
        counts and ranges, with a table as its text.

    Raises:
        ValueError: one line for each file that cannot be read, for each image with NaN or infinity, with another
            number of channels or axes than the first, or with another shape or affine than its label map, and for
            each label map with undeclared values.

    Warns:
        UserWarning: for a volume without any seed, for a scribble with more than half of its voxels labelled, and for
            classes that are never seeded in the whole list.
    """
    if not items:
        raise ValueError("expected a data list with at least one item, got an empty one")
    load = LoadImage(ensure_channel_first=True)
    problems: list[str] = []
    summary = DatalistSummary(labels.num_classes)
    first: torch.Size | None = None
    for item in tqdm(items, desc="checking data", disable=None):
        image = _read(load, item[image_key], problems)
        label = _read(load, item[label_key], problems)
        if image is not None:
            first = first or image.shape
            problems += _image_problems(image, first, item[image_key])
        if label is not None:
            try:
                mapped = labels(label)
            except ValueError as error:
                problems.append(str(error))
            else:
                if len(mapped) != 1:
                    problems.append(f"expected one channel of labels, got {len(mapped)} in {item[label_key]}")
                counts = torch.bincount(mapped.flatten().long(), minlength=256)
                _warn_about_seeds(counts, labels.num_classes, item[label_key], dense)
        if image is not None and label is not None:
            problems += _pair_problems(image, label, item[label_key])
            if not problems:
                summary.add(image, counts)
    _raise(problems)
    if unseeded := [k for k in range(labels.num_classes) if not summary.voxels[k]]:
        warnings.warn(f"expected seeds of every class, got none in the whole list of classes {unseeded}", stacklevel=2)
    return summary


def _read(load: LoadImage, file: Any, problems: list[str]) -> MetaTensor | None:
    try:
        return load(file)  # type: ignore[no-any-return]
    except Exception as error:  # whatever a reader raises: the user gets a list of all bad files
        problems.append(f"expected a readable image, got {type(error).__name__} in {file}: {error}".split("\n")[0])
        return None


def _image_problems(image: MetaTensor, first: torch.Size, file: Any) -> list[str]:
    problems = []
    if bad := int((~torch.isfinite(image)).sum()):
        problems.append(f"expected finite intensities, got {bad} NaN or infinite voxels in {file}")
    if (image.shape[0], image.ndim) != (first[0], len(first)):
        problems.append(
            f"expected {first[0]} channels and {len(first) - 1} axes as in the first image, "
            f"got {image.shape[0]} and {image.ndim - 1} in {file}"
        )
    return problems


def _pair_problems(image: MetaTensor, label: MetaTensor, file: Any) -> list[str]:
    shape = tuple(image.shape[1:])
    if tuple(label.shape[1:]) != shape:
        return [f"expected the shape {shape} of the image, got {tuple(label.shape[1:])} in {file}"]
    difference = to_affine_nd(len(shape), image.affine) - to_affine_nd(len(shape), label.affine)
    far = torch.tensor([*(n - 1.0 for n in shape), 1.0], dtype=difference.dtype)
    drift = float((difference.abs() @ far).norm())  # no voxel lies further apart than this
    spacing = float(affine_to_spacing(image.affine, len(shape)).min())
    if drift > _AFFINE_TOLERANCE * spacing:
        return [f"expected the affine of the image, got one that moves voxels by up to {drift:.3g} mm in {file}"]
    return []


def _warn_about_seeds(counts: torch.Tensor, num_classes: int, file: Any, dense: bool) -> None:
    seeds = int(counts[:num_classes].sum())
    share = seeds / max(int(counts.sum() - counts[VOID]), 1)
    if not seeds:
        warnings.warn(f"expected seeds, got none: {file} contributes nothing to the seed term", stacklevel=3)
    if share > _MAX_LABELED and not dense:
        warnings.warn(f"expected a scribble, got {share:.0%} labelled voxels (a dense mask?) in {file}", stacklevel=3)


def _widened(extent: Extent | None, low: torch.Tensor, high: torch.Tensor | None = None) -> Extent:
    values = low.tolist(), (low if high is None else high).tolist()
    old_low, old_high = extent or values
    return tuple(map(min, old_low, values[0])), tuple(map(max, old_high, values[1]))


def _raise(problems: list[str]) -> None:
    if problems:
        raise ValueError(f"expected a usable data list, got {len(problems)} problems:\n" + "\n".join(problems))
