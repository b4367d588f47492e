# SPDX-License-Identifier: Apache-2.0
"""Dense filtering: its error against the exact sum over bandwidths, and time and memory beside the unfold formulation.

    python -m tests.benchmarks.dense [--data ../shared/data]

Images are CamVid's (64 x 64 pixels, resized), ACDC's (a slice of 64 x 64) and Hippocampus' (24 x 24 x 24), scaled to
grey levels from 0 to 255. Errors are of ``Σ_{j≠i} k_ij v_j``, for random distributions over three classes, in the norm
over all voxels. Times are of forward and backward on the CPU; memory is the peak above the inputs, in a process of its
own. ``unfold`` is GatedCRF's formulation, all windows of the image side by side; ours has the same ball of radius 5.
Photographs are CamVid's of 240 x 176 pixels, with 11 classes, as ``small.json`` of ``bundles/scribble_2d`` has them.
Writes ``output/benchmarks/dense.json`` and ``.md``.
"""

from __future__ import annotations

import argparse
import itertools
import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median
from typing import Any

import nibabel as nib
import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from medwsss.losses import RegularizedLoss
from medwsss.terms import DenseNeighborhood, WindowNeighborhood
from tests.benchmarks.footprint import peak
from tests.benchmarks.report import machine, save, table

SIZES = {"N4 C4 256²": (4, 4), "N2 C21 256²": (2, 21)}
RADIUS, SPATIAL, CONTRAST = 5, 6.0, 0.1
ERRORS = {
    "image": "image",
    "bandwidth": "β",
    "spatial": "s",
    "error": "error, %",
    "largest": "largest, % of the largest",
}
PHOTOGRAPHS = {"image": "photograph", "grid": "grid, s", "filter": "filter of 11 classes, s"}
COSTS = {"size": "batch", "method": "method", "seconds": "seconds", "mib": "peak above inputs, MiB"}


def images(data: Path) -> Iterator[tuple[str, Tensor]]:
    """Name and ``1 C *S`` in grey levels."""
    item = lambda name: json.loads((data / name / "dataset.json").read_text())["training"][3]["image"]  # noqa: E731
    photograph = Image.open(data / "camvid" / item("camvid")).convert("RGB").resize((64, 64))
    yield "CamVid 64²", torch.from_numpy(np.array(photograph, dtype=np.float64)).movedim(-1, 0)[None]
    slices = nib.load(data / "acdc" / item("acdc")).get_fdata()
    middle = [n // 2 for n in slices.shape]
    yield "ACDC 64²", grey(slices[middle[0] - 32 : middle[0] + 32, middle[1] - 32 : middle[1] + 32, middle[2]])
    volume = nib.load(data / "hippocampus" / item("hippocampus")).get_fdata()
    yield "Hippocampus 24³", grey(volume[4:28, 10:34, 4:28])


def grey(x: np.ndarray) -> Tensor:
    low, high = np.percentile(x, (0.5, 99.5))
    return torch.from_numpy(np.clip((x - low) / (high - low), 0, 1) * 255)[None, None]


def exact(values: Tensor, guide: Tensor, s: float, beta: float) -> Tensor:
    """The sum over all pairs, some voxels at a time."""
    places = torch.tensor(list(itertools.product(*map(range, guide.shape[2:]))), dtype=torch.float64) / s
    features = torch.cat([places, guide[0].flatten(1).T / beta], 1)
    v = values[0].flatten(1).T
    kernel = (torch.exp(-((some[:, None] - features) ** 2).sum(2) / 2) @ v for some in features.split(512))
    return (torch.cat(list(kernel)) - v).T.reshape(values.shape)


def errors(data: Path) -> list[dict[str, Any]]:
    rows = []
    for name, guide in images(data):
        s = 0.2 * max(guide.shape[2:])
        values = torch.randn(1, 3, *guide.shape[2:], dtype=torch.float64).mul(2).softmax(1)
        for beta, factor in [(5.0, 1), (9.0, 1), (15.0, 1), (30.0, 1), (9.0, 0.5), (9.0, 2)]:
            true = exact(values, guide, factor * s, beta)
            wrong = DenseNeighborhood(factor * s, beta).filter(values, guide) - true
            share, largest = wrong.norm() / true.norm(), wrong.abs().max() / true.abs().max()
            facts = {"image": name, "bandwidth": beta, "spatial": round(factor * s, 2)}
            rows.append({**facts, "error": round(100 * share.item(), 2), "largest": round(100 * largest.item(), 2)})
    return rows


def problem(batch: int, classes: int) -> tuple[Tensor, dict[str, Tensor]]:
    """Logits, and a target whose guide is smooth with noise, from 0 to 1."""
    torch.manual_seed(0)
    guide = F.interpolate(torch.rand(batch, 1, 16, 16), size=(256, 256), mode="bilinear")
    guide = (guide + 0.02 * torch.randn_like(guide)).clamp(0, 1)
    scribble = torch.full((batch, 1, 256, 256), 255)
    return torch.randn(batch, classes, 256, 256, requires_grad=True), {"scribble": scribble, "guide": guide}


def unfold(logits: Tensor, target: dict[str, Tensor]) -> Tensor:
    """``Σ w_ij (1 − σ_i·σ_j)`` with every voxel's window beside it, as GatedCRF has it; the ball is a mask."""
    sigma, guide, side = logits.softmax(1), target["guide"], 2 * RADIUS + 1
    axis = torch.arange(side) - RADIUS
    apart = (axis[:, None] ** 2 + axis**2).flatten()
    near = torch.exp(-apart / (2 * SPATIAL**2)) * ((apart <= RADIUS**2) & (apart > 0))

    def windows(x: Tensor) -> Tensor:
        return F.unfold(x, side, padding=RADIUS).reshape(len(x), x.shape[1], side * side, *x.shape[2:])

    inside = windows(torch.ones_like(guide))
    w = torch.exp(-((windows(guide) - guide.unsqueeze(2)) ** 2).sum(1, keepdim=True) / (2 * CONTRAST**2)) * inside
    w = w * near.reshape(1, 1, -1, 1, 1)
    pairs = (w.squeeze(1) * (1 - (windows(sigma) * sigma.unsqueeze(2)).sum(1))).sum()
    return pairs / 2 / sigma[:, :1].numel()


def methods() -> dict[str, Callable[[Tensor, dict[str, Tensor]], Tensor]]:
    window = WindowNeighborhood(RADIUS, bandwidth=CONTRAST, spatial_bandwidth=SPATIAL)
    dense = DenseNeighborhood(51.2, 15 / 255)
    return {
        "unfold, radius 5": unfold,
        "window, radius 5": RegularizedLoss("bilinear", window, eta=0, lam=1),
        "DenseCRF loss": RegularizedLoss("bilinear", dense, eta=0, lam=1e-4),
        "dense, one filter": lambda z, target: dense.filter(z.detach(), target["guide"]).sum() + 0 * z.sum(),
    }


def cost(size: str, method: str) -> dict[str, Any]:
    """Of one method, in this process."""
    logits, target = problem(*SIZES[size])
    work = methods()[method]

    def once() -> float:
        start = time.perf_counter()
        logits.grad = None
        work(logits, target).backward()
        return time.perf_counter() - start

    above, _ = peak(once, "cpu")
    seconds = median(once() for _ in range(3))
    return {"size": size, "method": method, "seconds": round(seconds, 3), "mib": round(above / 2**20)}


def photographs(data: Path) -> Iterator[dict[str, Any]]:
    """Seconds for the grid of a photograph, and for a filter with it."""
    items = json.loads((data / "camvid" / "dataset.json").read_text())["training"]
    for item in items[:: len(items) // 3][:3]:
        picture = Image.open(data / "camvid" / item["image"]).convert("RGB").resize((240, 176))
        guide = torch.from_numpy(np.array(picture, dtype=np.float32)).movedim(-1, 0)[None]
        neighborhood, values = DenseNeighborhood(48.0, 9.0), torch.rand(11, 176 * 240)
        start = time.perf_counter()
        (grid,) = neighborhood.grids(guide)
        took, times = time.perf_counter() - start, []
        for _ in range(6):
            start = time.perf_counter()
            grid.apply(values)
            times.append(time.perf_counter() - start)
        yield {"image": Path(item["image"]).stem, "grid": round(took, 3), "filter": round(median(times[1:]), 3)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--cost", nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.cost:
        print(json.dumps(cost(*arguments.cost)))
        return
    costs = []
    for size, method in itertools.product(SIZES, methods()):
        words = [sys.executable, "-m", "tests.benchmarks.dense", "--cost", size, method]
        costs.append(json.loads(subprocess.run(words, capture_output=True, text=True, check=True).stdout))
    found = {"errors": errors(arguments.data), "costs": costs, "photographs": list(photographs(arguments.data))}
    tables = ((found["errors"], ERRORS), (costs, COSTS), (found["photographs"], PHOTOGRAPHS))
    text = "\n\n".join(table(*each) for each in tables) + "\n"
    print(save("dense", {"machine": machine(), **found}, text))


if __name__ == "__main__":
    main()
