# SPDX-License-Identifier: Apache-2.0
"""Whether a damaged file of a drawing tool is refused, by a ``ValueError`` that names it, or read to labels.

    python -m tests.benchmarks.fuzz_strokes --mutants 10000 --seed 0
    python -m tests.benchmarks.fuzz_strokes --mutants 1000 --only cvat slicer

As many mutants of the drawing in every tool's file (``tests/annotations``); each is read in a process that is ended
after 5 s, and may take 2 GiB of addresses. "labels" are of the image's shape and of declared classes: text and numbers
without checksums may be others and still make sense. HDF5's library has loops that some damage does not leave; hangs
there are counted, and are no faults. Writes ``output/benchmarks/fuzz_strokes.json`` and ``.md``; ends with status 1 if
there are faults.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import warnings
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from medwsss.annotations import read_strokes
from medwsss.keys import UNLABELED
from medwsss.rasters import class_table
from tests.annotations.drawings import DRAWINGS, expected, write_images
from tests.annotations.mutants import mutant
from tests.benchmarks.fuzz import run
from tests.benchmarks.report import machine, save, table

OUTCOMES = ("refused", "labels", "unnamed", "other labels", "allocation", "hang", "crash")
FAULTS = OUTCOMES[2:]


class StrokeFuzz:
    """All mutants of a seed, one kind after the other."""

    def __init__(self, folder: Path, seed: int, kinds: Sequence[str]) -> None:
        self.folder, self.seed, self.kinds = folder, seed, kinds
        self.images = write_images(folder / "images")
        self.data = {kind: DRAWINGS[kind].write(folder / kind)[0].read_bytes() for kind in kinds}

    def make(self, index: int) -> tuple[str, str, Path, bool]:
        """Kind, number, the damaged file, and that damage need not be seen."""
        kind, number = self.kinds[index % len(self.kinds)], index // len(self.kinds)
        path = DRAWINGS[kind].write(self.folder / kind)[0]
        path.write_bytes(mutant(self.data[kind], f"{kind} {self.seed} {number}"))
        return kind, str(number), path, False

    def watched(self, index: int) -> dict[str, Any]:
        """What came of one."""
        kind, number, path, _ = self.make(index)
        drawing, message = DRAWINGS[kind], ""
        paths = [path.with_name(name) for name in drawing.files]
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                labels = read_strokes(paths, self.images / drawing.image, class_table(drawing.words)).labels
            fine = labels.shape == expected(drawing).shape and np.isin(labels, [0, 1, UNLABELED]).all()
            result = "labels" if fine else "other labels"
        except Exception as error:
            message = str(error)
            named = isinstance(error, ValueError) and message.startswith("expected") and path.name in message
            large = isinstance(error.__cause__ or error, MemoryError)
            result = "allocation" if large else "refused" if named else "unnamed"
        return {"index": index, "format": kind, "damage": number, "outcome": result, "message": message[:300]}


def main() -> int:
    """Run, write, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mutants", type=int, default=10000, help="of each kind")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", nargs="+", choices=sorted(DRAWINGS), default=list(DRAWINGS), metavar="KIND")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        fuzz = StrokeFuzz(Path(name), arguments.seed, arguments.only)
        count = arguments.mutants * len(arguments.only)
        rows = run(fuzz, count, lambda row: print(row, flush=True) if row["outcome"] in FAULTS else None)
    counts = Counter((row["format"], row["outcome"]) for row in rows)
    lines = [{"format": kind, **{o: counts[kind, o] for o in OUTCOMES}} for kind in arguments.only]
    report = {"machine": machine(), "mutants": arguments.mutants, "seed": arguments.seed, "rows": lines}
    report["faults"] = [row for row in rows if row["outcome"] in FAULTS]
    print(save("fuzz_strokes", report, table(lines, {key: key for key in ("format", *OUTCOMES)})))
    return int(any(row["outcome"] != "hang" or DRAWINGS[row["format"]].needs != "h5py" for row in report["faults"]))


if __name__ == "__main__":
    sys.exit(main())
