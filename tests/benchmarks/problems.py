# SPDX-License-Identifier: Apache-2.0
"""Pseudo-label problems of realistic size, smoothness and seed density, made from real data where there is any."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from medwsss.keys import UNLABELED, VOID
from medwsss.terms import GridNeighborhood
from medwsss.transforms import SimulateScribble

__all__ = ["PROBLEMS", "STUDIES", "Problem"]

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


def _as_bundle(guide: Tensor, label: Tensor, scribble: Tensor, num_classes: int, seed: int, spacing: Any) -> Problem:
    """With the neighbourhood of the bundles' default; guides go from 0 to 255."""
    logits = network_like_logits(label, num_classes, torch.Generator().manual_seed(seed))
    return Problem(logits, guide, scribble, GridNeighborhood(bandwidth=5.1, spacing=spacing, smoothing=0.5))


def _drawn(label: Tensor, num_classes: int, **how: Any) -> Tensor:
    """Strokes in one mask, ``1 *S``, as ``python -m data_prep scribbles`` draws them."""
    return SimulateScribble(num_classes, **how).set_random_state(0)(label).as_subclass(Tensor)[None].long()


def hippocampus_study() -> Problem:
    """``N1 K3 35×51×35``: strokes of 0.3 of the skeleton on every fourth slice, far apart."""
    root = DATA / "hippocampus"
    item = json.loads((root / "dataset.json").read_text())["training"][0]
    image, label = (_volume(root / item[key]) for key in ("image", "label"))
    how = {"slice_axis": 1, "slice_step": 4, "background": "centerline", "jitter": 0, "length_ratio": 0.3}
    guide = (image * 255 / image.max())[None, None]
    return _as_bundle(guide, label[None, None].long(), _drawn(label[None], 3, **how), 3, 4, None)


def acdc_study() -> Problem:
    """``N1 K4 10×256×240``: one cardiac volume as it is, with its own scribbles."""
    image, label, scribble = (x[None, None] for x in _acdc(1)[0])
    scribble = torch.where(scribble == 4, UNLABELED, scribble).long()
    return _as_bundle(image, label.long(), scribble, 4, 5, (10.0, 1.68, 1.68))


def _photograph(root: Path, num_classes: int, size: tuple[int, ...], seed: int) -> Problem:
    """The first image of a study, at most so large, with strokes."""
    from PIL import Image

    item = json.loads((root / "dataset.json").read_text())["training"][0]
    crop = (..., *(slice(n) for n in size))
    guide = torch.from_numpy(np.array(Image.open(root / item["image"]).convert("RGB"))).movedim(-1, 0).float()[crop]
    label = torch.from_numpy(np.array(Image.open(root / item["label"]))).long()[None][crop]
    scribble = _drawn(torch.where(label < num_classes, label, UNLABELED), num_classes, slice_axis=None)
    return _as_bundle(guide[None], label[None], scribble, num_classes, seed, None)


def camvid_study() -> Problem:
    """``N1 K11 360×480``: one road scene with strokes."""
    return _photograph(DATA / "camvid", 11, (360, 480), 6)


def dubai_study() -> Problem:
    """``N1 K5 512²``: an aerial tile with strokes."""
    return _photograph(DATA / "remote_sensing" / "dubai", 5, (512, 512), 7)


PROBLEMS: dict[str, Callable[[], Problem]] = {
    "N8 K4 160² ACDC": acdc_slices,
    "N2 K21 256² mosaic": mosaic,
    "N1 K11 360×480 CamVid": camvid,
    "N1 K4 96³ ACDC": acdc_volume,
}

#: Whole images with strokes of their own kind and the neighbourhood of the bundles' default.
STUDIES: dict[str, Callable[[], Problem]] = {
    "Hippocampus": hippocampus_study,
    "ACDC 3-D": acdc_study,
    "CamVid strokes": camvid_study,
    "dubai tile": dubai_study,
}
