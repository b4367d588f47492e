# SPDX-License-Identifier: Apache-2.0
"""Peak memory of a solve above its inputs, in multiples of the logits' bytes, and seconds a voxel, as volumes grow.

    python -m tests.benchmarks.footprint [--sizes 64 96 128 192] [--large] [--device cuda]

Each figure comes from a process of its own. On the CPU the peak is the kernel's own high-water mark, reset before the
solve, with an allocator that hands back what is freed, so that the figure is what is alive at the peak; seconds are
measured with the allocator as it is. Writes ``output/benchmarks/footprint_<device>.json`` and ``.md``.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import torch
from torch import Tensor

from medwsss.solvers import NaturalGradient
from medwsss.terms import SelfLabelingEnergy
from tests.benchmarks.problems import mosaic
from tests.benchmarks.report import machine, now, save, table

STEPS = 10
LARGE = (256, 8)
COLUMNS = {
    "size": "volume",
    "num_classes": "classes",
    "logits_gib": "logits, GiB",
    "multiple": "peak above inputs / logits",
    "peak_gib": "whole process at the peak, GiB",
    "nanoseconds_a_voxel": f"{STEPS} steps, ns a voxel",
}


def of_process(name: str) -> int:
    """A figure of ``/proc/self/status`` in bytes."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(name))


def peak(work: Callable[[], object], device: str) -> tuple[int, int]:
    """Bytes in use at the peak of the work: above those before it, and in all."""
    if device == "cuda":
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        work()
        return torch.cuda.max_memory_allocated() - before, torch.cuda.max_memory_allocated()
    Path("/proc/self/clear_refs").write_text("5")  # resets the high-water mark
    before = of_process("VmRSS")
    work()
    return of_process("VmHWM") - before, of_process("VmHWM")


def solve_once(size: int, num_classes: int, device: str, repeats: int) -> dict[str, float]:
    """What the process of one figure measures."""
    solver = NaturalGradient(SelfLabelingEnergy(), max_steps=STEPS, tolerance=0)

    def inputs(size: int) -> tuple[Tensor, Tensor, Tensor]:
        logits, guide, scribble, _ = mosaic(1, num_classes, (size,) * 3)
        return logits.to(device), guide[:, :1].contiguous().to(device), scribble.to(device)

    solver(*inputs(8))  # compiles
    given = inputs(size)
    above, whole = peak(lambda: solver(*given), device)
    times = []
    for _ in range(repeats):
        begin = now()
        solver(*given)
        times.append(now() - begin)
    return {
        "logits_gib": given[0].nbytes / 2**30,
        "multiple": above / given[0].nbytes,
        "peak_gib": whole / 2**30,
        "nanoseconds_a_voxel": 1e9 * median(times) / size**3,
    }


def measure(size: int, num_classes: int, arguments: argparse.Namespace) -> dict[str, Any]:
    """One row, from two processes: memory where freed blocks go back at once, time where they don't."""
    row: dict[str, Any] = {"size": f"{size}³", "num_classes": num_classes}
    for changes, taken in (({"MALLOC_MMAP_THRESHOLD_": "65536"}, list(COLUMNS)[2:5]), ({}, list(COLUMNS)[5:])):
        options = ["--one", str(size), str(num_classes), "--device", arguments.device]
        options += ["--threads", str(arguments.threads), "--repeats", str(arguments.repeats)]
        command = [sys.executable, "-m", "tests.benchmarks.footprint", *options]
        output = subprocess.run(command, check=True, stdout=subprocess.PIPE, env={**os.environ, **changes}).stdout
        figures = json.loads(output)
        row |= {key: figures[key] for key in taken}
    return row


def main() -> None:
    """Measure, write, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=[64, 96, 128, 192])
    parser.add_argument("--classes", type=int, default=4)
    parser.add_argument("--large", action="store_true", help="256³ with 8 classes, too")
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--one", type=int, nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    if arguments.one:
        size, num_classes = arguments.one
        print(json.dumps(solve_once(size, num_classes, arguments.device, arguments.repeats)))
        return
    report: dict[str, Any] = {"machine": machine(), "rows": []}
    for size, num_classes in [(size, arguments.classes) for size in arguments.sizes] + [LARGE] * arguments.large:
        report["rows"].append(measure(size, num_classes, arguments))
        save(f"footprint_{arguments.device}", report, table(report["rows"], COLUMNS))
    seconds = [row["nanoseconds_a_voxel"] for row in report["rows"][: len(arguments.sizes)]]
    report["growth"] = seconds[-1] / seconds[0]
    growth = f"time a voxel from the first size to the last: {report['growth']:.2f} times"
    print(save(f"footprint_{arguments.device}", report, table(report["rows"], COLUMNS), growth))


if __name__ == "__main__":
    main()
