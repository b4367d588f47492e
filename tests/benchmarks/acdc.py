# SPDX-License-Identifier: Apache-2.0
"""Methods side by side on ACDC's expert scribbles: same network, budget, seeds and data.

    python -m tests.benchmarks.acdc --data ../shared/data/acdc --seeds 0 1

Writes a Markdown table and JSON lines. One training run a method and seed, resumable: a finished run is not repeated.
The figures are those of the last epoch on the validation patients (validated once, so nothing is chosen on them).
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
from pathlib import Path
from statistics import mean, stdev

BUNDLE = "bundles/scribble"
METHODS: dict[str, list[str]] = {
    "pce": ["--config", "pce"],
    "gd": ["--config", "gd"],
    "self-labeling": [],
    "full": ["--config", "full", "--annotation_key", "mask"],
}


def command(method: str, seed: int, data: Path, output: Path, extra: list[str]) -> list[str]:
    """The bundle command of one run."""
    options = list(METHODS[method])
    overlays = ["train", "acdc"]
    if options[:1] == ["--config"]:
        overlays.append(options[1])
        options = options[2:]
    files = str([f"{BUNDLE}/{name}.json" for name in overlays])
    fixed = ["--dataset_dir", str(data), "--output_dir", str(output), "--seed", str(seed)]
    run = [sys.executable, "-m", "monai.bundle", "run", "training", "--config_file", files]
    return run + fixed + options + extra


def run(method: str, seed: int, data: Path, folder: Path, threads: int, extra: list[str]) -> dict:
    """Train, unless that has been done, and return the figures."""
    output = folder / f"{method}_seed{seed}"
    result = output / "result.json"
    if not result.exists():
        output.mkdir(parents=True, exist_ok=True)
        environment = {**os.environ, "OMP_NUM_THREADS": str(threads)}
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        arguments = command(method, seed, data, output, extra)
        with (output / "log.txt").open("a") as log:
            subprocess.run(arguments, check=True, env=environment, stdout=log, stderr=subprocess.STDOUT)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        report = json.loads((output / "report.json").read_text())
        row = {"method": method, "seed": seed, "cpu_minutes": round(seconds / 60, 1), **report["validation"]}
        result.write_text(json.dumps({**row, "command": arguments[1:]}) + "\n")
    return dict(json.loads(result.read_text()))


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


def spread(values: list[float], digits: int) -> str:
    """Mean ± deviation."""
    return f"{mean(values):.{digits}f}" + (f" ± {stdev(values):.{digits}f}" if len(values) > 1 else "")


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
    rows = [
        run(method, seed, arguments.data, arguments.output, arguments.threads, extra)
        for seed in arguments.seeds
        for method in arguments.methods
    ]
    (arguments.output / "results.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    text = table(rows)
    (arguments.output / "results.md").write_text(text + "\n")
    print(text)


if __name__ == "__main__":
    main()
