# SPDX-License-Identifier: Apache-2.0
"""The solver on a GPU: the table of :mod:`tests.benchmarks.solver`, bandwidth, and what self-labeling adds to training.

    python -m tests.benchmarks.gpu

Needs torch, NumPy and SciPy; problems whose data or readers are absent are skipped. Bandwidth is that of an ideal step,
which reads the logits, ``y``, ``y'``, the weights and the seeds once and writes ``y`` once, as a share of what copying
within the device reaches. Training is a ResNet-101 at output stride 16 on 12 images of 513² with 21 classes, in
bfloat16, where pseudo-labels are switched on and off from step to step. Writes ``output/benchmarks/gpu_*.json`` and
``.md``; ``python -m tests.benchmarks.footprint --device cuda`` measures memory.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from statistics import median
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from medwsss.keys import UNLABELED
from medwsss.solvers import NaturalGradient
from medwsss.solvers.backend import choose
from medwsss.solvers.mirror_step import PlainStep
from medwsss.terms import SelfLabelingEnergy
from medwsss.terms.cross_entropies import collision_cross_entropy
from medwsss.terms.relaxations import RELAXATIONS
from medwsss.terms.simplex import seed_mask
from tests.benchmarks.problems import PROBLEMS, mosaic
from tests.benchmarks.report import machine, now, save, table
from tests.benchmarks.solver import measure

SHAPES: list[tuple[int, int, tuple[int, ...]]] = [(8, 4, (160, 160)), (12, 21, (513, 513)), (1, 4, (192, 192, 192))]


def seconds(work: Callable[[], object], repeats: int = 20) -> float:
    """Median time, after three runs that don't count."""
    times = []
    for _ in range(repeats + 3):
        begin = now()
        work()
        times.append(now() - begin)
    return median(times[3:])


def inputs(batch: int, num_classes: int, size: tuple[int, ...], device: str) -> tuple[Tensor, Tensor, Tensor]:
    """Logits, guide and scribble."""
    logits, guide, scribble, _ = mosaic(batch, num_classes, size)
    return logits.to(device), guide.to(device), scribble.to(device)


def bandwidth(
    batch: int, num_classes: int, size: tuple[int, ...], device: str, copied: int = 2**30
) -> Iterator[dict[str, Any]]:
    """Bytes a second of one step, PyTorch's and the compiled one, and of a copy within the device."""
    source = torch.zeros(copied, dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    copy = 2 * copied / seconds(lambda: target.copy_(source))
    problem = SelfLabelingEnergy().bind(*inputs(batch, num_classes, size, device))
    y = problem.reset(problem.logits.softmax(1))
    stride = y.new_ones(batch)
    needed = 4 * y.nbytes + problem.pair_term.weight_map.nbytes + problem.free.nbytes
    for step in (PlainStep(problem), choose(problem).step(problem)):
        spent = seconds(lambda look=step: look(y, y, stride, 0.6))  # type: ignore[misc]
        yield {
            "shape": "×".join(map(str, y.shape)),
            "step": type(step).__name__,
            "milliseconds": 1e3 * spent,
            "gigabytes_a_second": needed / spent / 1e9,
            "copy": copy / 1e9,
            "share": needed / spent / copy,
        }


class Bottleneck(nn.Module):
    """ResNet's block."""

    def __init__(self, channels: int, width: int, stride: int = 1, dilation: int = 1) -> None:
        super().__init__()
        self.path = nn.Sequential(
            nn.Conv2d(channels, width, 1, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(True),
            nn.Conv2d(width, width, 3, stride, dilation, dilation, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(True),
            nn.Conv2d(width, 4 * width, 1, bias=False),
            nn.BatchNorm2d(4 * width),
        )
        same = channels == 4 * width
        self.skip = nn.Identity() if same else nn.Conv2d(channels, 4 * width, 1, stride, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.path(x) + self.skip(x))


def resnet(num_classes: int, blocks: tuple[int, ...] = (3, 4, 23, 3)) -> nn.Module:
    """ResNet-101 as a segmentation network: output stride 16, one convolution for a head."""
    layers: list[nn.Module] = [nn.Conv2d(3, 64, 7, 2, 3, bias=False), nn.BatchNorm2d(64), nn.ReLU(True)]
    layers.append(nn.MaxPool2d(3, 2, 1))
    channels = 64
    for stage, count in enumerate(blocks):
        width, stride, dilation = 64 * 2**stage, 2 if stage in (1, 2) else 1, 2 if stage == 3 else 1
        for block in range(count):
            layers.append(Bottleneck(channels, width, stride if block == 0 else 1, dilation))
            channels = 4 * width
    return nn.Sequential(*layers, nn.Conv2d(channels, num_classes, 1))


def training(
    batch: int, num_classes: int, size: tuple[int, int], device: str, max_steps: int = 10, **network: Any
) -> dict[str, Any]:
    """Seconds a training step with and without self-labeling."""
    logits, image, scribble = inputs(batch, num_classes, size, device)
    net = resnet(num_classes, **network).to(device)
    optimizer = torch.optim.SGD(net.parameters(), lr=1e-3, momentum=0.9)
    solver = NaturalGradient(SelfLabelingEnergy(), max_steps=max_steps)
    seeds = seed_mask(scribble).squeeze(1)
    labels = torch.where(seeds, scribble.squeeze(1), UNLABELED)
    solved = 0.0

    def step(self_labeling: bool) -> None:
        nonlocal solved
        with torch.autocast(device, torch.bfloat16):
            coarse = net(image / 255)
        # A network that learns nothing real would give the solver an unreal problem.
        predicted = F.interpolate(coarse.float(), size, mode="bilinear") + logits
        loss = F.cross_entropy(predicted, labels, ignore_index=UNLABELED)
        if self_labeling:
            begin = now()
            y = solver(predicted.detach(), image, scribble).labels
            solved = now() - begin
            loss = loss + 0.3 * collision_cross_entropy(y, predicted.softmax(1))[~seeds].mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    times: dict[bool, list[float]] = {False: [], True: []}
    for iteration in range(26):
        begin = now()
        step(iteration % 2 == 1)
        times[iteration % 2 == 1].append(now() - begin)
    without, with_labels = (median(times[kind][3:]) for kind in (False, True))
    shape = "×".join(map(str, logits.shape))
    return {
        "shape": shape,
        "seeds_only": without,
        "self_labeling": with_labels,
        "ratio": with_labels / without,
        "y_step": solved,
    }


def titles(row: dict[str, Any]) -> dict[str, str]:
    """Column titles from the names of a row's figures."""
    return {key: key.replace("_", " ") for key in row}


def main() -> None:
    """Measure, write, print; without a CUDA device, say so."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="one problem and two relaxations in the solver's table")
    arguments = parser.parse_args()
    if not torch.cuda.is_available():
        print("No CUDA device here: nothing to measure.")
        return
    for name, rows in (
        ("gpu_bandwidth", [row for shape in SHAPES for row in bandwidth(*shape, "cuda")]),
        ("gpu_training", [training(12, 21, (513, 513), "cuda")]),
    ):
        print(save(name, {"machine": machine(), "rows": rows}, table(rows, titles(rows[0]))), flush=True)
    problems = list(PROBLEMS)[1:2] if arguments.quick else list(PROBLEMS)
    relaxations = list(RELAXATIONS)[:2] if arguments.quick else list(RELAXATIONS)
    print(measure("gpu_solver", problems, ["collision_cross_entropy"], relaxations, "cuda"))


if __name__ == "__main__":
    main()
