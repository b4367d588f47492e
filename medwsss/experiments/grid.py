# SPDX-License-Identifier: Apache-2.0
"""Runs of an experiment: what tells them apart, the options all experiments have, and the loop over what is missing."""

from __future__ import annotations

import argparse
import threading
from collections.abc import Callable, Generator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed, wait
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from queue import SimpleQueue
from typing import Any

from tqdm import tqdm

from medwsss.bundle.overrides import check_override_names
from medwsss.experiments.runs import (
    check_begun,
    command,
    epochs,
    finished,
    is_finished,
    overrides,
    parsed,
    run,
    stop,
    write_result,
)
from medwsss.reports.results import Line, write_lines

__all__ = ["Run", "Setting", "add_arguments", "budget", "carry_out"]

#: Overrides that would undo what an experiment is, and what says it instead.
OURS = {
    "config_file": "--methods",
    "dataset_dir": "the data list",
    "datalist": "the data list",
    "output_dir": "--output",
    "seed": "--seeds",
}


@dataclass(frozen=True)
class Setting:
    """What tells a run from the others of an experiment; its line begins with this."""

    study: str
    method: str
    seed: int
    length: float = 1.0  #: of the strokes, as a share of the whole ones
    knob: str = ""  #: the value that is multiplied ...
    factor: float = 1.0  #: ... by this

    @property
    def folder(self) -> Path:
        """Where the run is, within the experiment's output."""
        knob = f"_{self.knob}{self.factor:g}" if self.knob else ""
        return Path(self.study) / f"{self.method}_length{self.length:g}{knob}_seed{self.seed}"


@dataclass(frozen=True)
class Run:
    """One training."""

    setting: Setting
    files: Sequence[str]  #: ``train.json`` and overlays
    options: Mapping[str, Any] = field(default_factory=dict)

    def words(self, arguments: argparse.Namespace) -> list[str]:
        """The command, after ``python``."""
        return [*command(self.files, arguments.output / self.setting.folder, self.options), *arguments.overrides]


def add_arguments(parser: argparse.ArgumentParser, output: str) -> None:
    """What every experiment can be asked for."""
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1], help="a run each (default: 0 1)")
    parser.add_argument("--iterations", type=int, metavar="N", help="of every run, to an epoch")
    parser.add_argument("--output", type=Path, default=Path(output), help=f"folder of the runs (default: {output})")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads of a run (default: 1)")
    parser.add_argument(
        "--devices",
        nargs="+",
        default=[""],
        metavar="GPU|cpu",
        help="a run at a time on each, such as 0 1 (two GPUs), 0 0 (two on one), cpu cpu; default: one run at a time",
    )
    parser.epilog = "Further options override the bundle's in every run, such as --lam 3 --batch_size 2."


def budget(
    files: Sequence[str], options: Mapping[str, Any], iterations: int, arguments: argparse.Namespace
) -> dict[str, int]:
    """``epochs`` for so many iterations (or the ``--iterations`` asked for) of the run's own data and batches."""
    parser = parsed(files, {**options, **overrides(arguments.overrides)})
    return {"epochs": epochs(parser, arguments.iterations or iterations)}


def carry_out(
    runs: Sequence[Run],
    report: Callable[[Sequence[Line], Path], str],
    arguments: argparse.Namespace,
    keep_going: bool = False,
) -> int:
    """Train what is missing; after each run write ``results.jsonl`` and the report anew from all that are done.

    There is a run at a time on each of ``--devices``, and the next one starts wherever one has ended. With
    ``keep_going``, a training that fails has a line that says so in ``failure``, and the others go on.

    Raises:
        ValueError: before the first training, for what would go wrong in a later one.
    """
    for name in overrides(arguments.overrides):
        if name in OURS:
            raise ValueError(f"expected overrides that all runs may share, got --{name}; {OURS[name]} says that")
    folders = [arguments.output / each.setting.folder for each in runs]
    commands = [each.words(arguments) for each in runs]
    for words, folder in zip(commands, folders):
        check_override_names(["monai/bundle/__main__.py", *words[2:]])
        check_begun(words, folder)
    missing = [index for index, folder in enumerate(folders) if not is_finished(folder)]

    def train(index: int, device: str) -> None:
        facts = vars(runs[index].setting)
        try:
            run(commands[index], folders[index], arguments.threads, device, **facts)
        except ChildProcessError as error:
            if not keep_going:
                raise
            write_result({**facts, "failure": str(error)}, commands[index], folders[index])

    done = _beside_each_other(train, missing, arguments.devices)
    with closing(done), tqdm(done, total=len(missing), unit="run") as progress:
        for index in progress:
            progress.set_description(str(runs[index].setting.folder))
            _write(report, arguments.output)
    print(_write(report, arguments.output))
    return 0


def _beside_each_other(
    train: Callable[[int, str], None], indices: Sequence[int], devices: Sequence[str]
) -> Generator[int, None, None]:
    """Train on each device, the next one wherever one has ended, and say which is done; an error ends all of them."""
    idle: SimpleQueue[str] = SimpleQueue()
    for device in devices:
        idle.put(device)
    stopped = threading.Event()

    def on_one(index: int) -> None:
        if stopped.is_set():
            return
        device = idle.get()
        try:
            train(index, device)
        except BaseException:
            stopped.set()
            raise
        finally:
            idle.put(device)

    with ThreadPoolExecutor(len(devices)) as pool:
        trainings = {pool.submit(on_one, index): index for index in indices}
        try:
            for training in as_completed(trainings):
                training.result()
                yield trainings[training]
        finally:  # of an interruption, too: what is running ends with it and is continued another time
            stopped.set()
            pool.shutdown(wait=False, cancel_futures=True)
            while running := [training for training in trainings if not training.done()]:
                stop()
                wait(running, timeout=0.1)


def _write(report: Callable[[Sequence[Line], Path], str], output: Path) -> str:
    lines = finished(output)
    write_lines(output / "results.jsonl", lines)
    return report(lines, output)
