# SPDX-License-Identifier: Apache-2.0
"""Pseudo-label problems of realistic size, smoothness and seed density, made from real data where there is any."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from medwsss.keys import UNLABELED, VOID
from medwsss.terms import GridNeighborhood

__all__ = ["PROBLEMS", "Problem"]

DATA = Path(__file__).parents[3] / "shared" / "data"
SEEDS = 0.03  # share of annotated voxels where the data bring no scribbles of their own
MODES = {1: "linear", 2: "bilinear", 3: "trilinear"}


class Problem(NamedTuple):
    logits: Tensor
    guide: Tensor
    scribble: Tensor
    neighborhood: GridNeighborhood


def upsampled(x: Tensor, size: tuple[int, ...]) -> Tensor:
    """``x`` (``B C *S``) interpolated to ``size``."""
    return F.interpolate(x, size=size, mode=MODES[len(size)], align_corners=False)


def network_like_logits(label: Tensor, num_classes: int, generator: torch.Generator) -> Tensor:
    """Logits as a half-trained network gives them: sure inside, blurred at borders (output stride 4), wrong in places.

    Args:
        label: ``B 1 *S`` classes; other values say nothing.
        num_classes: ``K``.
        generator: of the errors.
    """
    size = label.shape[2:]
    classes = torch.arange(num_classes).reshape(1, -1, *[1] * len(size))
    coarse = tuple(max(2, s // 4) for s in size)
    blurred = upsampled((label == classes).float(), coarse)
    blobs = torch.randn(label.shape[0], num_classes, *(max(2, s // 16) for s in size), generator=generator)
    return upsampled(6 * blurred + 1.5 * upsampled(blobs, coarse), tuple(size))


def scattered_seeds(label: Tensor, num_classes: int, generator: torch.Generator) -> Tensor:
    """Short runs of voxels along the last axis, about 3 % of all, in their true class; void stays void."""
    starts = torch.rand(label.shape, generator=generator) < SEEDS / 9
    runs = torch.zeros_like(starts)
    for shift in range(9):
        runs[..., shift:] |= starts[..., : label.shape[-1] - shift]
    return torch.where(label < num_classes, torch.where(runs, label, UNLABELED), VOID)


def _volume(path: Path) -> Tensor:
    import nibabel  # late, here and below: a GPU machine may have little more than torch

    return torch.from_numpy(np.asarray(nibabel.load(path).dataobj).astype(np.float32)).movedim(-1, 0)


def _acdc(count: int) -> list[tuple[Tensor, Tensor, Tensor]]:
    """Image (0 to 255), mask and scribble of the first volumes, each ``D H W``."""
    root = DATA / "acdc"
    items = json.loads((root / "dataset.json").read_text())["training"][:count]
    volumes = [[_volume(root / item[key]) for key in ("image", "mask", "scribble")] for item in items]
    return [(image * 255 / image.max(), mask, scribble) for image, mask, scribble in volumes]


def _centred(x: Tensor, size: int) -> Tensor:
    pad = [max(0, size - s) for s in x.shape[-2:]]
    x = F.pad(x, (pad[1] // 2, pad[1] - pad[1] // 2, pad[0] // 2, pad[0] - pad[0] // 2))
    top, left = ((s - size) // 2 for s in x.shape[-2:])
    return x[..., top : top + size, left : left + size]


def acdc_slices() -> Problem:
    """``N8 K4 160²``: the middle slices of eight cardiac volumes, with their own scribbles."""
    slices = [[_centred(v[len(v) // 2], 160) for v in volumes] for volumes in _acdc(8)]
    guide, label, scribble = (torch.stack(x)[:, None] for x in zip(*slices))
    logits = network_like_logits(label, 4, torch.Generator().manual_seed(0))
    scribble = torch.where(scribble == 4, UNLABELED, scribble).long()
    return Problem(logits, guide, scribble, GridNeighborhood(bandwidth="auto"))


def acdc_volume() -> Problem:
    """``N1 K4 96³``: one cardiac volume, resampled."""
    image, label, _ = _acdc(1)[0]
    guide = upsampled(image[None, None], (96, 96, 96))
    label = F.interpolate(label[None, None], (96, 96, 96)).long()
    generator = torch.Generator().manual_seed(1)
    logits = network_like_logits(label, 4, generator)
    return Problem(logits, guide, scattered_seeds(label, 4, generator), GridNeighborhood(bandwidth="auto"))


def camvid(index: int = 0) -> Problem:
    """``N1 K11 360×480``: one road scene."""
    from PIL import Image

    root = DATA / "camvid"
    item = json.loads((root / "dataset.json").read_text())["training"][index]
    guide = torch.from_numpy(np.array(Image.open(root / item["image"]).convert("RGB"))).movedim(-1, 0)[None].float()
    label = torch.from_numpy(np.array(Image.open(root / item["label"]))).long()[None, None]
    generator = torch.Generator().manual_seed(2 + index)
    logits = network_like_logits(label, 11, generator)
    return Problem(logits, guide, scattered_seeds(label, 11, generator), GridNeighborhood(bandwidth=9.0))


def mosaic(batch: int = 2, num_classes: int = 21, size: tuple[int, ...] = (256, 256), seed: int = 3) -> Problem:
    """``N2 K21 256²``: no data needed; cells of a Voronoi mosaic, a colour a class, with noise."""
    generator = torch.Generator().manual_seed(seed)
    axes = torch.meshgrid(*(torch.linspace(0, 1, s) for s in size), indexing="ij")
    grid = torch.stack(axes, -1).flatten(0, -2)
    label = torch.stack(
        [
            torch.cdist(grid, torch.rand(3 * num_classes, len(size), generator=generator)).argmin(1) % num_classes
            for _ in range(batch)
        ]
    ).reshape(batch, 1, *size)
    colours = 255 * torch.rand(num_classes, 3, generator=generator)
    guide = colours[label.squeeze(1)].movedim(-1, 1) + 9 * torch.randn(batch, 3, *size, generator=generator)
    logits = network_like_logits(label, num_classes, generator)
    return Problem(logits, guide, scattered_seeds(label, num_classes, generator), GridNeighborhood(bandwidth="auto"))


PROBLEMS: dict[str, Callable[[], Problem]] = {
    "N8 K4 160² ACDC": acdc_slices,
    "N2 K21 256² mosaic": mosaic,
    "N1 K11 360×480 CamVid": camvid,
    "N1 K4 96³ ACDC": acdc_volume,
}
