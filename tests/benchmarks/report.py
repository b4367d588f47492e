# SPDX-License-Identifier: Apache-2.0
"""What the measurements share: the machine's name, a clock that waits for the GPU, tables and files."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Mapping, Sequence
from pathlib import Path
from time import perf_counter
from typing import Any

import torch

__all__ = ["OUTPUT", "machine", "now", "save", "table"]

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
