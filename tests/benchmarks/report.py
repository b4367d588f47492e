# SPDX-License-Identifier: Apache-2.0
"""What the measurements share: the machine's name, a clock that waits for the GPU, tables and files."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

import torch
from ignite.engine import Engine, Events

__all__ = ["OUTPUT", "StepClock", "machine", "now", "save", "table"]

OUTPUT = Path("output/benchmarks")


def machine() -> dict[str, Any]:
    """What this runs on, and how busy it is."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.split(":")[1].strip() for line in lines if "model name" in line]
    return {
        "processor": names[0] if names else platform.processor(),
        **({"gpu": torch.cuda.get_device_name()} if torch.cuda.is_available() else {}),
        "threads": torch.get_num_threads(),
        "load": round(os.getloadavg()[0], 1),
        "torch": torch.__version__,
        "python": platform.python_version(),
    }


def now() -> float:
    """Seconds, once the GPU is done with what it was given."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return perf_counter()


class StepClock:
    """A trainer's handler: how long its steps take after the first ``skip``, and the GPU's peak memory in these."""

    def __init__(self, skip: int) -> None:
        self.skip = skip
        self.begin = 0.0
        self.times: list[float] = []

    def attach(self, engine: Engine) -> None:
        """Listen to each iteration."""
        engine.add_event_handler(Events.ITERATION_STARTED, self._start)
        engine.add_event_handler(Events.ITERATION_COMPLETED, lambda: self.times.append(now() - self.begin))

    def _start(self) -> None:
        if len(self.times) == self.skip and torch.cuda.is_available():
            torch.cuda.reset_peak_memory_stats()
        self.begin = now()

    @property
    def seconds(self) -> float:
        """Median of a step."""
        return median(self.times[self.skip :])

    @property
    def peak_gib(self) -> float | str:
        """Peak memory; on a CPU nothing tells it."""
        return torch.cuda.max_memory_allocated() / 2**30 if torch.cuda.is_available() else ""


def table(rows: Sequence[Mapping[str, Any]], columns: Mapping[str, str]) -> str:
    """Markdown: ``columns`` is the rows' keys and their titles."""
    lines = ["| " + " | ".join(columns.values()) + " |", "|---" * len(columns) + "|"]
    for row in rows:
        cells = (f"{row[key]:.4g}" if isinstance(row[key], float) else str(row[key]) for key in columns)
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def save(name: str, report: Mapping[str, Any], *text: str) -> str:
    """``name.json`` and ``name.md``, which begins with the machine; returns the latter."""
    OUTPUT.mkdir(parents=True, exist_ok=True)
    (OUTPUT / f"{name}.json").write_text(json.dumps(report, indent=1) + "\n")
    on = ", ".join(f"{key}: {value}" for key, value in report["machine"].items())
    markdown = "\n\n".join([on, *text]) + "\n"
    (OUTPUT / f"{name}.md").write_text(markdown)
    return markdown
