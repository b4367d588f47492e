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

from monai.bundle import ConfigParser

from data_prep.__main__ import main as data_prep

__all__ = ["command", "epochs", "finished", "parsed", "prepared", "run", "spread", "write_lines"]


def prepared(folder: Path, words: Sequence[str]) -> Path:
    """The study's folder, made by this command of ``data_prep`` where it is not there."""
    if not (folder / "dataset.json").exists():
        if not words:
            raise ValueError(f"expected a dataset.json in {folder}, got none")
        if data_prep([*words, "--output", str(folder), "--workers", "1"]):
            raise SystemExit(1)  # it has said why
    return folder


def parsed(files: Sequence[str], options: Mapping[str, Any]) -> ConfigParser:
    """The bundle's configuration, to look values up."""
    parser = ConfigParser(ConfigParser.load_config_files(files))
    parser.update(dict(options))
    return parser


def epochs(parser: ConfigParser, iterations: int) -> int:
    """As many as make about this many iterations, at least 2."""
    items, samples, batch = map(parser.get_parsed_content, ("train_items", "samples_per_volume", "batch_size"))
    # the bundles drop the last batch unless it is the only one
    return max(2, round(iterations / max(1, int(len(items) * samples // batch))))


def command(files: Sequence[str], output: Path, options: Mapping[str, Any]) -> list[str]:
    """What comes after ``python`` to train with these configurations and overrides."""
    words = ["-m", "monai.bundle", "run", "training", "--config_file", str(list(files)), "--output_dir", str(output)]
    return words + [word for name, value in options.items() for word in (f"--{name}", str(value))]


def run(arguments: Sequence[str], output: Path, threads: int, **facts: Any) -> dict[str, Any]:
    """Train, unless that has been done, and return ``facts``, figures and command as one line.

    An interrupted training continues from its checkpoint; its CPU minutes are those of the last part.

    Raises:
        ValueError: where another command has begun in this folder.
        ChildProcessError: where the training fails, with the last line of its log.
    """
    result, log = output / "result.json", output / "log.txt"
    words = begun = " ".join(arguments)
    if result.exists():
        begun = " ".join(json.loads(result.read_text())["command"])
    elif log.exists():
        begun = log.read_text().partition("\n")[0]
    if begun != words:
        raise ValueError(f"expected the run of {words} in {output}, got that of {begun}; another --output keeps both")
    if not result.exists():
        output.mkdir(parents=True, exist_ok=True)
        environment = {**os.environ, "OMP_NUM_THREADS": str(threads)}
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        with log.open("a") as file:
            file.write(words + "\n")
            file.flush()
            training = [sys.executable, *arguments]
            status = subprocess.run(training, env=environment, stdout=file, stderr=subprocess.STDOUT).returncode
        if status:
            cause = log.read_text().splitlines()[-1]
            raise ChildProcessError(f"expected a training that ends, got exit status {status} in {log}: {cause}")
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        report = json.loads((output / "report.json").read_text())
        line = {**facts, "cpu_minutes": round(seconds / 60, 1), **report["validation"]}
        line |= {name: report[name] for name in ("cases", "last_epoch", "advice")}
        result.write_text(json.dumps({**line, "command": list(arguments)}) + "\n")
    row: dict[str, Any] = json.loads(result.read_text())
    return row


def finished(output: Path) -> list[dict[str, Any]]:
    """The lines of all runs in this folder that have been done."""
    return [json.loads(path.read_text()) for path in sorted(output.rglob("result.json"))]


def write_lines(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """One JSON line a run."""
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def spread(values: Sequence[float], digits: int) -> str:
    """Mean ± deviation."""
    return f"{mean(values):.{digits}f}" + (f" ± {stdev(values):.{digits}f}" if len(values) > 1 else "")
