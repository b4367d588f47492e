# SPDX-License-Identifier: Apache-2.0
"""One training of a bundle for tables: the user's own command in a process of its own, once, with a line of JSON."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from statistics import median
from typing import Any

import fire
from monai.bundle import ConfigParser
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from medwsss.bundle.command_line import cause_of
from medwsss.files import write_atomically
from medwsss.reports.results import Line

__all__ = [
    "check_begun",
    "command",
    "epochs",
    "finished",
    "forget_failures",
    "is_finished",
    "overrides",
    "parsed",
    "run",
    "stop",
    "write_result",
]

RESULT, LOG = "result.json", "log.txt"

_ASKED_TO_END = {code for number in (signal.SIGINT, signal.SIGTERM) for code in (-number, 128 + number)}
_TRAINING: set[int] = set()  # process numbers


def overrides(words: Sequence[str]) -> dict[str, Any]:
    """The values of ``--name value``, as MONAI's command line reads them.

    Raises:
        ValueError: for words that belong to no name.
    """
    values: dict[str, Any] = {}
    loose = fire.Fire(lambda *args, **options: values.update(options) or args, list(words), serialize=lambda _: None)
    if loose:
        raise ValueError(f"expected overrides as --name value, got {' '.join(map(str, loose))}")
    return values


def parsed(files: Sequence[str], options: Mapping[str, Any]) -> ConfigParser:
    """The bundle's configuration, to look values up."""
    parser = ConfigParser(ConfigParser.load_config_files(files))
    parser.update(dict(options))
    return parser


def epochs(parser: ConfigParser, iterations: int) -> int:
    """As many as make about this many iterations, at least 2."""
    try:
        items, batch = map(parser.get_parsed_content, ("train_items", "batch_size"))
        samples = parser.get_parsed_content("samples_per_volume") if "samples_per_volume" in parser else 1
    except RuntimeError as error:
        raise cause_of(error) from None
    # the bundles drop the last batch unless it is the only one
    return max(2, round(iterations / max(1, int(len(items) * samples // batch))))


def command(files: Sequence[str], output: Path, options: Mapping[str, Any]) -> list[str]:
    """What comes after ``python`` to train with these configurations and overrides."""
    words = ["-m", "monai.bundle", "run", "training", "--config_file", str(list(files)), "--output_dir", str(output)]
    return words + [word for name, value in options.items() for word in (f"--{name}", str(value))]


def check_begun(arguments: Sequence[str], output: Path) -> None:
    """Check that no other command has begun in this folder.

    Raises:
        ValueError: where one has.
    """
    words = begun = " ".join(arguments)
    if is_finished(output):
        begun = " ".join(json.loads((output / RESULT).read_text())["command"])
    elif (output / LOG).exists():
        begun = (output / LOG).read_text().partition("\n")[0] or words  # it was stopped before its first word
    if begun != words:
        raise ValueError(f"expected the run of {words} in {output}, got that of {begun}; another --output keeps both")


def is_finished(output: Path) -> bool:
    """Whether the run of this folder has been done."""
    return (output / RESULT).exists()


def finished(output: Path) -> list[Line]:
    """The lines of all runs in this folder that have been done."""
    return [json.loads(path.read_text()) for path in sorted(output.rglob(RESULT))]


def stop() -> None:
    """Ask all trainings of this process that are running to end, once each; they can be continued."""
    while _TRAINING:
        with suppress(KeyError, ProcessLookupError):  # it has ended
            os.kill(_TRAINING.pop(), signal.SIGTERM)


def run(arguments: Sequence[str], output: Path, threads: int, device: str = "", **facts: Any) -> Line:
    """Train, unless that has been done, and return ``facts``, figures and command as one line.

    ``device`` is ``cpu`` or the GPU that the training sees, as ``CUDA_VISIBLE_DEVICES`` has it; without, all are seen.
    An interrupted training continues from its checkpoint; its CPU minutes and peak memory are those of the last part.

    Raises:
        ValueError: where another command has begun in this folder, or this one is still running.
        ChildProcessError: where the training fails, with the last line of its log.
        InterruptedError: where it was asked to end (SIGINT, SIGTERM), which is no failure of its own.
    """
    check_begun(arguments, output)
    if not is_finished(output):
        cost = _train(arguments, output, threads, device)
        report = json.loads((output / "report.json").read_text())
        line = {**facts, **cost, "step_seconds": step_seconds(output / "tensorboard"), **report["validation"]}
        line |= {name: report[name] for name in ("cases", "last_epoch", "advice")}
        write_result(line, arguments, output)
    row: Line = json.loads((output / RESULT).read_text())
    return row


def write_result(line: Line, arguments: Sequence[str], output: Path) -> None:
    """The line of a run that is done, or that has failed and says so in ``failure``."""
    text = json.dumps({**line, "command": list(arguments)}) + "\n"
    write_atomically(memoryview(text.encode()), output / RESULT)


def forget_failures(output: Path) -> None:
    """Let runs in this folder that have failed be done again."""
    for path in output.rglob(RESULT):
        if "failure" in json.loads(path.read_text()):
            path.unlink()


def step_seconds(folder: Path) -> float | None:
    """Median time from one iteration's loss to the next's in the training's TensorBoard files; ``None`` below two."""
    if not any(folder.glob("events.out.tfevents.*")):
        return None
    events = EventAccumulator(str(folder), size_guidance={"scalars": 0}).Reload()
    times = [each.wall_time for each in events.Scalars("train_loss")] if events.Tags()["scalars"] else []
    return round(median(b - a for a, b in zip(times, times[1:])), 4) if len(times) > 1 else None


def _train(arguments: Sequence[str], output: Path, threads: int, device: str) -> dict[str, float]:
    """CPU minutes and peak memory of the training, whose words and output go to the log."""
    output.mkdir(parents=True, exist_ok=True)
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads)}
    if device:
        environment["CUDA_VISIBLE_DEVICES"] = "" if device == "cpu" else device
    with (output / LOG).open("a") as file:
        try:
            # the training inherits the lock with the file, and keeps it should it outlive this process
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ValueError(f"expected one training at a time in {output}, got one that is still running") from None
        file.write(" ".join(arguments) + "\n")
        file.flush()
        training = [sys.executable, *arguments]
        process = subprocess.Popen(training, env=environment, stdout=file, stderr=subprocess.STDOUT)
        _TRAINING.add(process.pid)
        try:
            _, code, usage = os.wait4(process.pid, 0)
        except BaseException:  # interrupted: the training is, too
            process.kill()
            raise
        finally:
            _TRAINING.discard(process.pid)
        status = process.returncode = os.waitstatus_to_exitcode(code)
    if status in _ASKED_TO_END:
        raise InterruptedError(f"the training in {output} was asked to end; the same command continues it")
    if status:
        cause = (output / LOG).read_text().splitlines()[-1]
        how = f"exit status {status}" if status > 0 else f"signal {-status}"  # 9: often the end of memory
        raise ChildProcessError(f"expected a training that ends, got {how} in {output / LOG}: {cause}")
    return {
        "cpu_minutes": round((usage.ru_utime + usage.ru_stime) / 60, 1),
        "peak_gib": round(usage.ru_maxrss / 2**20, 2),
    }
