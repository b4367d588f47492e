# SPDX-License-Identifier: Apache-2.0
"""Whether a damaged file of a drawing tool is refused, by a ``ValueError`` that names it, or read to labels.

    python -m tests.benchmarks.fuzz_strokes --mutants 10000 --seed 0
    python -m tests.benchmarks.fuzz_strokes --mutants 1000 --only cvat slicer

As many mutants of the drawing in every tool's file (``tests/annotations``); each is read in a process that is ended
after 5 s of processor time, and may take 2 GiB of addresses. "labels" are of the image's shape and of declared classes:
text and numbers without checksums may be others and still make sense. Writes
``output/benchmarks/fuzz_strokes.json`` and ``.md`` after each kind; the same line goes on with those that are not there
yet. Ends with status 1 if there are faults.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import warnings
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from medwsss.annotations import read_strokes
from medwsss.keys import UNLABELED
from medwsss.rasters import class_table
from tests.annotations.drawings import DRAWINGS, expected, write_images
from tests.annotations.mutants import mutant
from tests.benchmarks.fuzz import run
from tests.benchmarks.report import OUTPUT, machine, save, table

OUTCOMES = ("refused", "labels", "unnamed", "other labels", "allocation", "hang", "crash")
FAULTS = OUTCOMES[2:]


class StrokeFuzz:
    """Mutants of a tool's file."""

    def __init__(self, folder: Path, seed: int, kind: str) -> None:
        self.kind, self.seed = kind, seed
        self.images = write_images(folder / "images")
        self.path = DRAWINGS[kind].write(folder / kind)[0]
        self.data = self.path.read_bytes()

    def make(self, index: int) -> tuple[str, str, Path, bool]:
        """Kind, number, the damaged file, and that damage need not be seen."""
        self.path.write_bytes(mutant(self.data, f"{self.kind} {self.seed} {index - 1}"))
        return self.kind, str(index - 1), self.path, False

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


def tell(row: dict[str, Any]) -> None:
    """Of a fault, at once."""
    if row["outcome"] in FAULTS:
        tqdm.write(str(row))


def main() -> int:
    """Run, write, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mutants", type=int, default=10000, help="of each kind")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", nargs="+", choices=sorted(DRAWINGS), default=list(DRAWINGS), metavar="KIND")
    arguments = parser.parse_args()
    told = {"mutants": arguments.mutants, "seed": arguments.seed}
    path = OUTPUT / "fuzz_strokes.json"
    before = json.loads(path.read_text()) if path.exists() else {}
    same = all(before.get(name) == value for name, value in told.items())
    report = before if same else {"machine": machine(), **told, "rows": [], "faults": []}
    done = [row["format"] for row in report["rows"]]
    for kind in tqdm([kind for kind in arguments.only if kind not in done], unit="kind"):
        with tempfile.TemporaryDirectory() as name:
            rows = run(StrokeFuzz(Path(name), arguments.seed, kind), arguments.mutants, tell)
        counts = Counter(row["outcome"] for row in rows)
        report["rows"].append({"format": kind, **{outcome: counts[outcome] for outcome in OUTCOMES}})
        report["faults"] += [row for row in rows if row["outcome"] in FAULTS]
        save("fuzz_strokes", report, table(report["rows"], {key: key for key in ("format", *OUTCOMES)}))
    print(path.with_suffix(".md").read_text())
    return int(bool(report["faults"]))


if __name__ == "__main__":
    sys.exit(main())
