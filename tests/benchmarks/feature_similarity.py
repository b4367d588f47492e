# SPDX-License-Identifier: Apache-2.0
"""Memory and time of the feature-similarity loss, forward and backward, against its gate and against a training step.

    python -m tests.benchmarks.feature_similarity

The gate is the activation maps, B × C × cells, in single precision; each image shows three of the tags. Memory is above
what was there before, by a process of its own whose allocator hands back what is freed; time is the CPU's, of one
thread. The step is that of ``bundles/scribble_2d/small.json`` on seeds alone: its U-Net, four crops of 240 × 176,
forward, backward and optimiser.
Writes ``output/benchmarks/feature_similarity.json`` and ``.md``.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path
from statistics import median
from time import process_time
from typing import Any

import torch
from monai.networks.nets import UNet

from medwsss.keys import GUIDE, TAGS
from medwsss.losses import FeatureSimilarityLoss, PartialCrossEntropyLoss
from tests.benchmarks.footprint import peak
from tests.benchmarks.report import machine, save, table

CASES: dict[str, tuple[int, int, tuple[int, ...], float]] = {  # images, tags, cells, σ
    "maps of the bundle": (8, 3, (24, 24), 2.0),
    "the paper's maps": (8, 20, (56, 56), 5.0),
    "the paper's maps, σ 2": (8, 20, (56, 56), 2.0),
    "a volume": (1, 3, (96, 96, 96), 2.0),
}
COLUMNS = {
    "case": "case",
    "shape": "gate",
    "sigma": "σ",
    "gate_mib": "gate, MiB",
    "multiple": "peak above inputs / gate",
    "peak_gib": "whole process, GiB",
    "seconds": "CPU seconds",
    "share": "of a training step",
}


def once(case: str, repeats: int) -> dict[str, float]:
    """What the process of one case measures."""
    batch, number, size, sigma = CASES[case]
    loss = FeatureSimilarityLoss(sigma=sigma)

    def work(size: tuple[int, ...]) -> Any:
        generator = torch.Generator().manual_seed(0)
        scores = torch.randn(batch, number, *size, generator=generator, requires_grad=True)
        guide = torch.rand(batch, 3, *size, generator=generator)
        target = {GUIDE: guide, TAGS: torch.arange(number).expand(batch, -1).lt(3).float()}
        return lambda: torch.autograd.grad(loss(scores, target), scores)

    work((8,) * len(size))()
    given = work(size)
    above, whole = peak(given, "cpu")
    times = []
    for _ in range(repeats):
        begin = process_time()
        given()
        times.append(process_time() - begin)
    gate = 4 * batch * number * torch.Size(size).numel()
    return {"gate_mib": gate / 2**20, "multiple": above / gate, "peak_gib": whole / 2**30, "seconds": median(times)}


def step_seconds(repeats: int) -> float:
    """A step of ``small.json``."""
    settings = json.loads(Path("bundles/scribble_2d/small.json").read_text())
    names = ("channels", "strides", "num_res_units", "norm")
    network = UNet(2, 3, 21, **{name: settings["network_def"][name] for name in names})
    optimizer, loss = torch.optim.AdamW(network.parameters()), PartialCrossEntropyLoss()
    image = torch.rand(settings["batch_size"], 3, *settings["patch_size"])
    seeds = torch.where(torch.rand_like(image[:, :1]) < 0.02, 1, 255)
    times = []
    for _ in range(repeats + 1):
        begin = process_time()
        optimizer.zero_grad()
        loss(network(image), seeds).backward()
        optimizer.step()
        times.append(process_time() - begin)
    return median(times[1:])


def main() -> None:
    """Measure, write, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--one", choices=CASES, help=argparse.SUPPRESS)
    options = parser.parse_args()
    torch.set_num_threads(1)
    if options.one:
        print(json.dumps(once(options.one, options.repeats)))
        return
    step, rows = step_seconds(options.repeats), []
    for case, (batch, number, size, sigma) in CASES.items():
        row: dict[str, Any] = {"case": case, "shape": "×".join(map(str, (batch, number, *size))), "sigma": sigma}
        command = [sys.executable, "-m", "tests.benchmarks.feature_similarity", "--one", case]
        command.append("--repeats")
        for repeats, changes in ((0, {"MALLOC_MMAP_THRESHOLD_": "65536"}), (options.repeats, {})):
            ran = subprocess.run(
                [*command, str(max(repeats, 1))], check=True, stdout=subprocess.PIPE, env={**os.environ, **changes}
            )
            figures = json.loads(ran.stdout)
            row |= figures if not repeats else {"seconds": figures["seconds"], "share": figures["seconds"] / step}
        rows.append(row)
    report = {"machine": machine(), "step_seconds": step, "rows": rows}
    told = f"a step of scribble_2d/small.json: {step:.3f} CPU s"
    print(save("feature_similarity", report, table(rows, COLUMNS), told))


if __name__ == "__main__":
    main()
