# SPDX-License-Identifier: Apache-2.0
"""Methods side by side on ACDC's expert scribbles: same network, budget, seeds and data.

    python -m tests.benchmarks.acdc --data ../shared/data/acdc --seeds 0 1

Writes a Markdown table and JSON lines. One training run a method and seed, resumable: a finished run is not repeated.
The figures are those of the last epoch on the validation patients (validated once, so nothing is chosen on them).
"""

from __future__ import annotations

import argparse
from pathlib import Path
from statistics import mean
from typing import Any

from tests.benchmarks.runs import command, run, spread, write_lines

BUNDLE = "bundles/scribble"
METHODS: dict[str, tuple[list[str], dict[str, str]]] = {  # overlays and overrides
    "pce": (["pce"], {}),
    "gd": (["gd"], {}),
    "self-labeling": ([], {}),
    "full": (["full"], {"annotation_key": "mask"}),
}


def train(method: str, seed: int, arguments: argparse.Namespace, extra: list[str]) -> dict[str, Any]:
    """The line of one run."""
    overlays, options = METHODS[method]
    files = [f"{BUNDLE}/{name}.json" for name in ("train", "acdc", *overlays)]
    output = arguments.output / f"{method}_seed{seed}"
    words = command(files, output, {"dataset_dir": arguments.data, "seed": seed, **options})
    return run(words + extra, output, arguments.threads, method=method, seed=seed)


def table(rows: list[dict]) -> str:
    """Mean over seeds, with the deviation between them."""
    classes = list(rows[0]["Dice"])
    lines = ["| method | " + " | ".join(f"Dice {c}" for c in classes) + " | HD95 (mm) | CPU minutes | seeds |"]
    lines.append("|---" * (len(classes) + 4) + "|")
    for method in METHODS:
        of = [row for row in rows if row["method"] == method]
        if of:
            figures = [spread([row["Dice"][c] for row in of], 3) for c in classes]
            figures += [spread([row["HD95 (mm)"]["mean"] for row in of], 1)]
            figures += [f"{mean(row['cpu_minutes'] for row in of):.0f}", str(len(of))]
            lines.append(f"| {method} | " + " | ".join(figures) + " |")
    return "\n".join(lines)


def main() -> None:
    """Run what is missing, then print the table of everything asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("../shared/data/acdc"), help="folder of ACDC's dataset.json")
    parser.add_argument("--output", type=Path, default=Path("output/acdc"), help="folder of the runs")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    parser.add_argument("--methods", nargs="+", choices=list(METHODS), default=list(METHODS))
    parser.add_argument("--threads", type=int, default=2)
    arguments, extra = parser.parse_known_args()
    if not (arguments.data / "dataset.json").exists():
        parser.error(f"expected ACDC's dataset.json in {arguments.data}")
    rows = [train(method, seed, arguments, extra) for seed in arguments.seeds for method in arguments.methods]
    write_lines(arguments.output / "results.jsonl", rows)
    text = table(rows)
    (arguments.output / "results.md").write_text(text + "\n")
    print(text)


if __name__ == "__main__":
    main()
