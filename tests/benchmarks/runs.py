# SPDX-License-Identifier: Apache-2.0
"""Trainings of a bundle for tables: the user's own command in a process of its own, once, with a line of JSON."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import mean, stdev
from typing import Any

__all__ = ["command", "run", "spread", "write_lines"]


def command(files: Sequence[str], output: Path, options: Mapping[str, Any]) -> list[str]:
    """What comes after ``python`` to train with these configurations and overrides."""
    words = ["-m", "monai.bundle", "run", "training", "--config_file", str(list(files)), "--output_dir", str(output)]
    return words + [word for name, value in options.items() for word in (f"--{name}", str(value))]


def run(arguments: Sequence[str], output: Path, threads: int, **facts: Any) -> dict[str, Any]:
    """Train, unless that has been done, and return ``facts``, figures and command as one line.

    An interrupted training continues from its checkpoint; its CPU minutes are those of the last part. A folder that
    holds the result of another command is an error.
    """
    result = output / "result.json"
    if not result.exists():
        output.mkdir(parents=True, exist_ok=True)
        environment = {**os.environ, "OMP_NUM_THREADS": str(threads)}
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        with (output / "log.txt").open("a") as log:
            log.write(" ".join(arguments) + "\n")
            log.flush()
            subprocess.run(
                [sys.executable, *arguments], check=True, env=environment, stdout=log, stderr=subprocess.STDOUT
            )
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        report = json.loads((output / "report.json").read_text())
        line = {**facts, "cpu_minutes": round(seconds / 60, 1), **report["validation"]}
        line |= {name: report[name] for name in ("cases", "last_epoch", "advice")}
        result.write_text(json.dumps({**line, "command": list(arguments)}) + "\n")
    row: dict[str, Any] = json.loads(result.read_text())
    if row["command"] != list(arguments):
        raise ValueError(f"expected the result of {list(arguments)} in {result}, got that of {row['command']}")
    return row


def write_lines(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """One JSON line a run."""
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def spread(values: Sequence[float], digits: int) -> str:
    """Mean ± deviation."""
    return f"{mean(values):.{digits}f}" + (f" ± {stdev(values):.{digits}f}" if len(values) > 1 else "")
