# SPDX-License-Identifier: Apache-2.0
"""What becomes of damaged files: each is refused by its name, or read to the same voxels as the file that was whole.

    python -m tests.benchmarks.fuzz --mutants 10000 --seed 0

Mutants of small files of every format (``tests/benchmarks/mutants.py``) are read in a process of their own, which is
ended after 5 s of processor time, or ten minutes of any. It may take four times the bytes of the image, those of the
file, and 16 MiB that libraries keep, above what it has when idle. "no checksum there" are voxels that changed where the
format has nothing to tell it by. Writes ``output/benchmarks/fuzz.json`` and ``.md``; ends with status 1 if there is
anything but the first three outcomes.
"""

from __future__ import annotations

import argparse
import multiprocessing
import resource
import signal
import sys
import tempfile
import warnings
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from medwsss.parallel import allow
from medwsss.study.readers import loader
from tests.benchmarks.footprint import of_process, peak
from tests.benchmarks.mutants import Sample, mutant, samples, write
from tests.benchmarks.report import machine, save, table

FINE = ("refused", "same voxels", "no checksum there")
FAULTS = ("unnamed", "damaged", "allocation", "hang", "crash")
SECONDS, PATIENCE, SLACK, ROOM = 5, 600, 16 << 20, 2 << 30


def voxels(path: Path) -> np.ndarray:
    """As training reads them."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return np.asarray(loader()(path))


def outcome(path: Path, whole: np.ndarray, guarded: bool) -> tuple[str, str, int]:
    """One of :data:`FINE` and :data:`FAULTS`, the message if there is one, and bytes of what was read."""
    try:
        read = voxels(path)
    except Exception as error:
        cause: BaseException | None = error
        while cause is not None:
            if isinstance(cause, MemoryError):
                return "allocation", str(error), 0
            cause = cause.__cause__ or cause.__context__
        message = str(error)
        named = isinstance(error, ValueError) and message.startswith("expected") and path.name in message
        return "refused" if named and "\n" not in message else "unnamed", message, 0
    same = read.shape == whole.shape and np.array_equal(read, whole, equal_nan=read.dtype.kind == "f")
    return "same voxels" if same else "damaged" if guarded else "no checksum there", f"{read.shape}", read.nbytes


class Fuzz:
    """All mutants of a seed."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.folder, self.seed, self.samples = folder, seed, samples(seed)
        self.whole = {kind: voxels(write(sample, sample.data, folder, 0)) for kind, sample in self.samples.items()}

    def make(self, index: int) -> tuple[str, str, Path, bool]:
        """Format, kind of damage, file, and whether the damage has to be seen."""
        kind = list(self.samples)[index % len(self.samples)]
        sample: Sample = self.samples[kind]
        damage, data, guarded = mutant(sample, np.random.default_rng([self.seed, index]))
        return kind, damage, write(sample, data, self.folder, index), guarded

    def read(self, index: int) -> dict[str, Any]:
        """What came of one."""
        kind, damage, path, guarded = self.make(index)
        result, message, _ = outcome(path, self.whole[kind], guarded)
        path.unlink()
        return {"index": index, "format": kind, "damage": damage, "outcome": result, "message": message}

    def watched(self, index: int) -> dict[str, Any]:
        """The same with an eye on memory."""
        kind, damage, path, guarded = self.make(index)
        found: list[tuple[str, str, int]] = []
        above, _ = peak(lambda: found.append(outcome(path, self.whole[kind], guarded)), "cpu")
        result, message, size = found[0]
        limit = 4 * max(size, self.whole[kind].nbytes) + path.stat().st_size + SLACK
        row = {"index": index, "format": kind, "damage": damage, "message": message}
        return {**row, "outcome": "allocation" if above > limit else result, "above": above}


def work(fuzz: Any, connection: Any) -> None:
    """A process: gets numbers of mutants, says what came of them."""
    room = of_process("VmSize") + ROOM
    resource.setrlimit(resource.RLIMIT_AS, (room, room))
    while (index := connection.recv()) is not None:
        allow(SECONDS)
        connection.send(fuzz.watched(index))


def run(fuzz: Any, mutants: int, tell: Callable[[dict[str, Any]], None]) -> list[dict[str, Any]]:
    """All, whatever happens to the process that reads them."""
    context, rows = multiprocessing.get_context("fork"), []
    process = None
    for index in range(1, mutants + 1):
        if process is None:
            ours, theirs = context.Pipe()
            process = context.Process(target=work, args=(fuzz, theirs))  # no daemon: it has processes, too
            process.start()
            theirs.close()
        ours.send(index)
        try:
            row = ours.recv() if ours.poll(PATIENCE) else None
        except EOFError:
            row = None
        if row is None:
            process.join(1)  # one that has died will say of what
            hangs = process.exitcode in (None, -signal.SIGXCPU)
            process.kill()
            process.join()
            process, (kind, damage, _, _) = None, fuzz.make(index)
            result = "hang" if hangs else "crash"
            row = {"index": index, "format": kind, "damage": damage, "outcome": result, "message": ""}
        rows.append(row)
        if row["outcome"] in FAULTS:
            tell(row)
    if process is not None:
        ours.send(None)
        process.join()
    return rows


def main() -> int:
    """Run, write, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mutants", type=int, default=10000)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        rows = run(Fuzz(Path(name), arguments.seed), arguments.mutants, lambda row: print(row, flush=True))
    counts = Counter((row["format"], row["outcome"]) for row in rows)
    formats = list(dict.fromkeys(row["format"] for row in rows))
    lines = [{"format": kind, **{o: counts[kind, o] for o in FINE + FAULTS}} for kind in formats]
    lines.append({"format": "all", **{o: sum(line[o] for line in lines) for o in FINE + FAULTS}})
    report = {"machine": machine(), "mutants": arguments.mutants, "seed": arguments.seed, "rows": lines}
    report["faults"] = [row for row in rows if row["outcome"] in FAULTS]
    titles = {
        "format": "format",
        "refused": "refused by name",
        "unnamed": "refused without",
        "damaged": "damaged voxels",
    }
    print(save("fuzz", report, table(lines, {key: titles.get(key, key) for key in ("format", *FINE, *FAULTS)})))
    return int(bool(report["faults"]))


if __name__ == "__main__":
    sys.exit(main())
