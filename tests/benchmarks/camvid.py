# SPDX-License-Identifier: Apache-2.0
"""Methods side by side on CamVid, with blocks and with strokes: same small network, budget, seeds and images.

    python -m tests.benchmarks.camvid --source ../shared/data/camvid --seeds 0 1

Makes the two studies in ``data/`` if they are not there. Writes ``runs.jsonl``, a line a run, and the table; started
again, it does what is missing. Further options override the bundle's, such as ``--lam 3``.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from statistics import mean
from typing import Any

from tests.benchmarks.acdc import spread
from tests.benchmarks.bundle_runs import Method, add_arguments, parse, prepared

METHODS = {
    "pce": Method(["pce"]),
    "gd": Method(["gd"]),
    "self-labeling": Method(),
    "full": Method(["full"]),
}
ANNOTATIONS = ("blocks", "scribbles")


def table(rows: dict[tuple[str, str], list[dict[str, Any]]]) -> str:
    """mIoU in per cent, mean over seeds with the deviation between them."""
    titles = [f"{annotation}, {what}" for annotation in ANNOTATIONS for what in ("mIoU", "CPU minutes")]
    lines = ["| method | " + " | ".join([*titles, "seeds"]) + " |", "|---" * (len(titles) + 2) + "|"]
    for method in METHODS:
        cells, seeds = [], 0
        for annotation in ANNOTATIONS:
            of = rows.get((annotation, method), [])
            cells += [spread([100 * row["IoU"]["mean"] for row in of], 1) if of else "–"]
            cells += [f"{mean(row['cpu_seconds'] for row in of) / 60:.1f}" if of else "–"]
            seeds = max(seeds, len(of))
        lines.append(f"| {method} | " + " | ".join([*cells, str(seeds)]) + " |")
    return "\n".join(lines)


def main() -> None:
    """Run what is missing and write the table after every run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_arguments(parser, "output/camvid")
    parser.add_argument("--source", type=Path, default=Path("../shared/data/camvid"), help="of data_prep camvid")
    parser.add_argument("--data", type=Path, default=Path("data"), help="where the studies are, or shall be")
    parser.add_argument("--annotations", nargs="+", choices=ANNOTATIONS, default=ANNOTATIONS)
    parser.add_argument("--methods", nargs="+", choices=list(METHODS), default=list(METHODS))
    arguments, bench = parse(parser)
    lists = {}
    for annotation in arguments.annotations:
        folder = arguments.data / f"camvid_{annotation}"
        options = ["--source", str(arguments.source), "--output", str(folder), "--workers", "1"]
        lists[annotation] = prepared(folder, ["camvid", *options, "--annotation", annotation])
    rows: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for seed in arguments.seeds:
        for annotation, datalist in lists.items():
            for method in arguments.methods:
                # dense masks are the same in both studies: one run serves both columns
                chosen = lists[arguments.annotations[0]] if method == "full" else datalist
                row = bench.run(METHODS[method], chosen, seed)
                rows.setdefault((annotation, method), []).append(row)
                (bench.output / "table.md").write_text(table(rows) + "\n")
    print(table(rows))


if __name__ == "__main__":
    main()
