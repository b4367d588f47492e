# SPDX-License-Identifier: Apache-2.0
"""One case of a study, its files read once each: what is wrong with it, and its numbers."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from monai.data import MetaTensor
from monai.data.utils import affine_to_spacing
from torch import Tensor

from medwsss.keys import UNLABELED, VOID
from medwsss.study.axes import anatomical_order
from medwsss.study.grid import Grid, fault, misfit
from medwsss.study.intensities import existing, usual_range, void_of
from medwsss.study.labels import to_classes
from medwsss.study.mapping import MapWeakLabels
from medwsss.study.readers import loader

_MAX_LABELED = 0.5  # a "scribble" that labels more than this share of the voxels is a dense mask, or misread
_MAX_LOST = 0.5  # dense masks go on below nodata, if only as background
_WITH_ALPHA = (2, 4)  # channels of grey or colours with alpha
_MOSTLY = 0.95  # a class with this share of a scribble is not a class: its value means "nobody annotated"

Files = Any  #: a path, or a list of paths: the channels of one image
Draw = Callable[[Tensor, "Tensor | None", "Tensor | None"], bytes]  #: picture of an image, its scribble and its mask


@dataclass
class Findings:
    """What one reading of a case tells; no arrays of its size."""

    errors: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    shape: tuple[int, ...] = ()  #: channels, then spatial
    spacing: tuple[float, ...] = ()  #: in mm where the files say so
    anatomy: tuple[int, ...] | None = None  #: the patient's axis that each axis of a volume follows, if it is clear
    low: tuple[float, ...] = ()  #: smallest intensity of each channel, void apart
    high: tuple[float, ...] = ()
    range: tuple[float, float] | None = None  #: of the usual intensities, see ``intensities.usual_range``
    digest: str = ""  #: of the image's voxels: equal for equal images, whatever the file's name and compression
    annotation: str = ""  #: likewise, of what scribble and mask say of each voxel
    seeds: Tensor | None = None  #: voxels of each label value of the scribble
    mask: Tensor | None = None  #: and of the dense mask
    compared: int = 0  #: seeds where the mask knows better
    contradictions: int = 0  #: of those, the ones of another class
    picture: bytes | None = None


def examine(
    image: Files,
    labels: MapWeakLabels,
    scribble: Files | None = None,
    mask: Files | None = None,
    draw: Draw | None = None,
) -> Findings:
    """Read the files of one case and look at everything that would spoil training.

    Args:
        image: the image's file, or a list of files, one a channel.
        labels: what label values mean, in scribble and mask alike.
        scribble: the file with seeds, if there is one.
        mask: the file with dense labels, if there is one.
        draw: makes a picture while the arrays are here.
    """
    found = Findings()
    picture = _read(image, found)
    if picture is not None:
        _measure(picture, image, found)
        if problem := fault(Grid.of(picture), image):
            found.errors.append(problem)
        elif picture.ndim == 4 and picture.meta["placed"]:
            found.anatomy = anatomical_order(picture.affine)
    maps = {name: _labels(file, labels, picture, found) for name, file in (("scribble", scribble), ("mask", mask))}
    seeds, truth = maps["scribble"], maps["mask"]
    found.annotation = hashlib.blake2b(
        b"|".join(b"" if x is None else x.numpy().tobytes() for x in (seeds, truth))
    ).hexdigest()
    if seeds is not None:
        found.seeds = torch.bincount(seeds.flatten().long(), minlength=256)
        _judge_seeds(found, labels, scribble)
    if truth is not None:
        found.mask = torch.bincount(truth.flatten().long(), minlength=256)
        if not found.mask[: labels.num_classes].any():
            found.warnings.append(f"expected a mask with labels, got none (all unlabelled or void) in {mask}")
        elif labels.num_classes > 1 and not found.mask[1 : labels.num_classes].any():
            found.warnings.append(f"expected a mask with objects, got an empty one (nothing but class 0) in {mask}")
    if seeds is not None and truth is not None and seeds.shape == truth.shape:
        both = (seeds < labels.num_classes) & (truth < labels.num_classes)
        found.compared, found.contradictions = int(both.sum()), int((seeds != truth)[both].sum())
        if found.contradictions > found.compared / 2:
            found.warnings.append(
                f"expected seeds that agree with the mask, got {found.contradictions} of {found.compared} "
                f"of another class in {scribble}"
            )
    if draw is not None and picture is not None and not found.errors:
        found.picture = draw(picture, seeds, truth)
    return found


def _read(file: Files, found: Findings) -> MetaTensor | None:
    try:
        return loader()(file)  # type: ignore[no-any-return]
    except Exception as error:  # a user wants a list of all bad files
        text = str(error).split("\n")[0]
        named = text if text.startswith("expected") else f"expected an image, got {type(error).__name__}: {text}"
        found.errors.append(named if str(file) in named else f"{named} in {file}")
        return None


def _measure(image: MetaTensor, file: Files, found: Findings) -> None:
    voxels = image.as_tensor()
    found.shape = tuple(image.shape)
    found.spacing = tuple(affine_to_spacing(image.affine, image.ndim - 1).tolist())
    found.digest = hashlib.blake2b(voxels.numpy().tobytes() + str(found.shape).encode()).hexdigest()
    if image.meta.get("mode") == "P":
        found.errors.append(f"expected intensities, got palette indices in {file}: save it as grey or RGB")
    try:
        exists = existing(image, file, some=True)
    except ValueError as error:
        found.errors.append(str(error))
        return
    if empty := [c for c, there in enumerate(exists.flatten(1).any(1)) if not there]:
        found.warnings.append(f"expected data in every channel, got nothing but void in channels {empty} of {file}")
    found.low = tuple(torch.where(exists, voxels, torch.inf).flatten(1).amin(1).tolist())
    found.high = tuple(torch.where(exists, voxels, -torch.inf).flatten(1).amax(1).tolist())
    if found.low == found.high:
        values = ", ".join(f"{value:g}" for value in found.low)
        found.warnings.append(f"expected an image that shows something, got {values} in every voxel of {file}")
    found.range = usual_range(voxels)
    if image.meta.get("unit") == "degree":
        found.warnings.append(
            f"expected a raster in metres, got one in degrees: distances are not those on the ground, in {file}; "
            "gdalwarp -t_srs with its UTM zone would make them so"
        )
    if len(voxels) in _WITH_ALPHA and set(voxels[-1].unique().tolist()) == {0.0, float(UNLABELED)}:
        found.warnings.append(
            f"expected an alpha channel that is declared as one, got a last channel of nothing but 0 and {UNLABELED} "
            f"in {file}: it trains as data"
        )


def _labels(file: Files | None, labels: MapWeakLabels, image: MetaTensor | None, found: Findings) -> Tensor | None:
    raw = None if file is None else _read(file, found)
    if raw is None:
        return None
    if image is not None and (problem := misfit(Grid.of(image), Grid.of(raw), file)):
        found.errors.append(problem)
    try:
        classes = to_classes(raw, labels, file).as_tensor()
    except ValueError as error:
        found.errors.append(str(error))
        return None
    if image is not None and image.meta.get("void") and classes.shape[1:] == image.shape[1:]:
        void = void_of(image)
        seeds = classes < labels.num_classes
        if (lost := int((void & seeds).sum())) > _MAX_LOST * int(seeds.sum()):
            found.warnings.append(
                f"expected labels where there is an image, got {lost / int(seeds.sum()):.0%} of them in its void "
                f"({image.meta['void']}), where they do not count, in {file}"
            )
        classes[void] = VOID
    return classes


def _judge_seeds(found: Findings, labels: MapWeakLabels, file: Files) -> None:
    counts = found.seeds
    assert counts is not None
    seeds, existing = counts[: labels.num_classes], max(int(counts.sum() - counts[VOID]), 1)
    share = int(seeds.sum()) / existing
    if not share:
        found.warnings.append(f"expected seeds, got none: {file} contributes nothing to the seed term")
    if share <= _MAX_LABELED:
        return
    k = int(seeds.argmax())
    value = next(value for value, target in labels.table.items() if target == k)
    why = f"{share:.0%} labelled voxels in {file}"
    if int(seeds[k]) > _MOSTLY * existing and not counts[UNLABELED]:
        why += f": {value} is probably the value of unlabelled voxels (an inverted convention)"
    found.errors.append(f"expected a scribble, got {why}; if it is a dense mask, say so (dense)")
