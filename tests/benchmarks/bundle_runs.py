# SPDX-License-Identifier: Apache-2.0
"""Trainings of ``bundles/scribble_2d`` for tables: each once, a line of JSON with the command that repeats it."""

from __future__ import annotations

import argparse
import ast
import gc
import json
import shlex
import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from monai.bundle import ConfigWorkflow

from data_prep.__main__ import main as data_prep
from medwsss.datalist import read_content, read_schema
from medwsss.keys import SCRIBBLE

BUNDLE = "bundles/scribble_2d"
BATCH = 4  # of small.json


@dataclass(frozen=True)
class Method:
    """What to put on top of ``train.json`` and ``small.json``."""

    overlays: Sequence[str] = ()
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Bench:
    """What all runs of a table have in common: iterations of each, the folder of the results, and more overrides."""

    iterations: int
    output: Path
    extra: Mapping[str, Any]

    def run(self, method: Method, datalist: Path, seed: int) -> dict[str, Any]:
        """Train, unless that has been done, and return the line: ``command``, ``IoU`` of each class, ``cpu_seconds``.

        A run that was interrupted starts over, so that its time is that of one training. The figures are those of the
        last epoch, the only one to be validated.
        """
        content = read_content(datalist)
        epochs = max(2, round(self.iterations / (len(content["training"]) // BATCH)))
        options = {"dataset_dir": str(datalist.parent), "num_classes": read_schema(datalist).num_classes, "seed": seed}
        options |= {"epochs": epochs, "val_interval": epochs, **method.options, **self.extra}
        files = [f"{BUNDLE}/{name}.json" for name in ("train", "small", *method.overlays)]
        words = ["python", "-m", "monai.bundle", "run", "training", "--config_file", str(files)]
        command = shlex.join([*words, *(word for key, value in options.items() for word in (f"--{key}", str(value)))])

        results = self.output / "runs.jsonl"
        lines = results.read_text().splitlines() if results.exists() else []
        done = {row["command"]: row for row in map(json.loads, lines)}
        if command in done:
            return dict(done[command])
        folder = self.output / "run"
        shutil.rmtree(folder, ignore_errors=True)
        start = time.process_time()
        # the data are looked at once, by data_prep check, and not by every run
        unchecked = {"study": None, "val_study": None, "output_dir": str(folder)}
        flow = ConfigWorkflow(files, logging_file=False, run_id="training", **options, **unchecked)
        flow.initialize()
        flow.run()
        flow.finalize()
        seconds = time.process_time() - start
        figures = json.loads((folder / "report.json").read_text())["validation"]["IoU"]
        iterations = flow.parser.get_parsed_content("train#trainer").state.iteration
        row = {"command": command, "iterations": iterations, "cpu_seconds": round(seconds), "IoU": figures}
        del flow
        gc.collect()  # trainer and handlers hold each other, and through them the images in memory
        results.parent.mkdir(parents=True, exist_ok=True)
        with results.open("a") as file:
            file.write(json.dumps(row) + "\n")
        return row


def shortened(datalist: Path, length: float) -> Path:
    """The data list with strokes of this length ratio, made beside the whole one if it is not there.

    Raises:
        ValueError: for a data list without strokes.
    """
    if any(SCRIBBLE not in item for item in read_content(datalist)["training"]):
        raise ValueError(f"expected a data list with strokes (python -m data_prep scribbles), got {datalist}")
    if length == 1:
        return datalist
    folder = datalist.parent.with_name(f"{datalist.parent.name}_{length:g}")
    options = ["--output", str(folder), "--from", SCRIBBLE, "--length-ratio", str(length), "--workers", "1"]
    return prepared(folder, ["scribbles", "--datalist", str(datalist), *options])


def prepared(folder: Path, command: Sequence[str]) -> Path:
    """The data list in ``folder``, made by this command of ``data_prep`` if it is not there."""
    datalist = folder / "dataset.json"
    if not datalist.exists() and data_prep(list(command)):
        raise SystemExit(1)  # it has said why
    return datalist


def add_arguments(parser: argparse.ArgumentParser, output: str) -> None:
    """The options that the tables share."""
    parser.add_argument("--output", type=Path, default=Path(output), help="folder of the results")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    parser.add_argument("--budget-iterations", type=int, default=600, metavar="N", help="of every run, to an epoch")
    parser.add_argument("--threads", type=int, default=1)


def parse(parser: argparse.ArgumentParser) -> tuple[argparse.Namespace, Bench]:
    """The options, and the bench they ask for; what is unknown goes to the bundle, as ``--name value``."""
    arguments, extra = parser.parse_known_args()
    if len(extra) % 2 or not all(name.startswith("--") for name in extra[::2]):
        parser.error(f"expected further options as --name value, got {extra}")
    torch.set_num_threads(arguments.threads)
    overrides = {name[2:]: _value(text) for name, text in zip(extra[::2], extra[1::2])}
    return arguments, Bench(arguments.budget_iterations, arguments.output, overrides)


def _value(text: str) -> Any:
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text
