# SPDX-License-Identifier: Apache-2.0
"""Tables 3 and 4 and Figure 5 of the paper on any data list, with a small network in a few minutes a run.

    python -m tests.benchmarks.ablation --datalist data/camvid_scribbles/dataset.json --lengths 0.3 1.0 --seeds 0 1

Shorter strokes are cut from those of the list and written beside it. Writes ``runs.jsonl``, a line a run of the output
folder, the tables of the runs asked for beside the paper's numbers as ``ablation.md``, and ``ablation.png``; started
again, it does what is missing. A run that two tables ask for is done once. The data are not checked again by every run
(``python -m data_prep check`` does it once). Further options override the bundle's, such as ``--lam 3``.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from matplotlib.figure import Figure

from medwsss.files import read_json
from medwsss.keys import SCRIBBLE
from medwsss.study.datalist import read_schema
from tests.benchmarks.runs import command, epochs, finished, parsed, prepared, run, spread, write_lines

Rows = dict[tuple[str, float], list[dict[str, Any]]]

BUNDLE = "bundles/scribble_2d"
UNCHECKED = {"study": "$None", "val_study": "$None"}  # MONAI drops a plain None of the command line


@dataclass(frozen=True)
class Method:
    """What to put on top of ``train.json`` and ``small.json``."""

    overlays: Sequence[str] = ()
    options: Mapping[str, Any] = field(default_factory=dict)


RELAXATIONS = {
    "P_BL": "bilinear",
    "P_NQ": "normalized_quadratic",
    "P_Q": "quadratic",
    "P_CCE": "collision_cross_entropy",
    "P_CD": "collision_divergence",
    "P_LQ": "log_quadratic",
}
CROSS_ENTROPIES = {
    "H_CE": {"cross_entropy": "cross_entropy"},
    "H_RCE": {"cross_entropy": "reverse_cross_entropy"},
    "H_CCE": {},  # the bundle's default: P_Q's run in Table 3
}
QUADRATIC = {"relaxation": "quadratic"}
STRIDE = {"solve_stride": 4}
CUT = {"_target_": "medwsss.solvers.GraphCut", "energy": "@energy"}
HARD = {"solver": {"_target_": "medwsss.solvers.StridedSolver", "solver": CUT, "stride": "@solve_stride"}}
CONNECTIVITY = {"4": {}, "8": {"connectivity": 2}}  # 4 is the default

# axis: title, and the runs of each line
AXES: dict[str, tuple[str, dict[str, Method]]] = {
    "relaxations": (
        "Potts relaxations in self-labeling with H_CCE (Table 3)",
        {name: Method(options={"relaxation": value}) for name, value in RELAXATIONS.items()},
    ),
    "cross_entropies": (
        "Cross-entropies in self-labeling with P_Q (Figure 5)",
        {name: Method(options={**QUADRATIC, **value}) for name, value in CROSS_ENTROPIES.items()},
    ),
    "neighborhoods": (
        "Gradient descent and self-labeling, by number of neighbours (Table 4)",
        {
            f"{name}, {count}": Method(overlays, {**options, **connectivity})
            for name, overlays, options in (
                ("GD", ("gd",), {}),
                ("hard (stride 4)", (), {**QUADRATIC, **STRIDE, **HARD}),
                ("soft (stride 4)", (), {**QUADRATIC, **STRIDE}),
                ("soft", (), QUADRATIC),
            )
            for count, connectivity in CONNECTIVITY.items()
        },
    ),
}

# mIoU on VOC 2012, MobileNetV2, by length ratio of the strokes. Figure 5 has no numbers but is P_Q's line for H_CCE.
LENGTHS = (0.0, 0.3, 0.5, 0.8, 1.0)
PAPER: dict[str, dict[float, float]] = {
    name: dict(zip(LENGTHS, values))
    for name, values in {
        "P_BL": (56.42, 61.74, 63.81, 65.73, 67.24),
        "P_NQ": (59.01, 65.53, 67.80, 70.63, 71.12),
        "P_Q": (58.92, 65.34, 67.81, 70.43, 71.05),
        "P_CCE": (56.40, 61.82, 63.81, 65.81, 67.41),
        "P_CD": (59.04, 65.52, 67.84, 70.93, 71.22),
        "P_LQ": (59.03, 65.44, 67.81, 70.80, 71.21),
        "H_CCE": (58.92, 65.34, 67.81, 70.43, 71.05),
    }.items()
} | {"GD, 4": {1.0: 67.0}, "hard (stride 4), 4": {1.0: 69.6}, "soft, 4": {1.0: 71.1}}

LEGEND = """mIoU in per cent by length ratio of the strokes: mean over seeds ± standard deviation between them. The last
column counts the seeds. The paper's numbers are of VOC 2012 and MobileNetV2.
"""


def shortened(datalist: Path, length: float) -> Path:
    """The data list with strokes of this length ratio, made beside the whole one if it is not there.

    Raises:
        ValueError: for a data list without strokes.
    """
    if any(SCRIBBLE not in item for item in read_json(datalist, "a data list")["training"]):
        raise ValueError(f"expected a data list with strokes (python -m data_prep scribbles), got {datalist}")
    if length == 1:
        return datalist
    folder = datalist.parent.with_name(f"{datalist.parent.name}_{length:g}")
    words = ["scribbles", "--datalist", str(datalist), "--from", SCRIBBLE, "--length-ratio", str(length)]
    return prepared(folder, words) / "dataset.json"


def run_name(method: Method) -> str:
    """Of the first line in ``AXES`` that asks for this method, so that all that do share its run."""
    name = next(name for _, methods in AXES.values() for name, other in methods.items() if other == method)
    return re.sub(r"\W+", "_", name)


def train(
    method: Method, length: float, seed: int, arguments: argparse.Namespace, extra: Sequence[str]
) -> dict[str, Any]:
    """The line of one run; its figures are those of the last epoch, the only one to be validated."""
    datalist = shortened(arguments.datalist, length)
    files = [f"{BUNDLE}/{name}.json" for name in ("train", "small", *method.overlays)]
    options = {"dataset_dir": str(datalist.parent), "num_classes": read_schema(datalist).num_classes, "seed": seed}
    options |= {**UNCHECKED, **method.options}
    options |= {"epochs": epochs(parsed(files, options), arguments.budget_iterations), "val_interval": "@epochs"}
    name = run_name(method)
    output = arguments.output / f"{name}_length{length:g}_seed{seed}"
    words = [*command(files, output, options), *extra]
    return run(words, output, arguments.threads, method=name, length=length, seed=seed)


def table(names: Sequence[str], lengths: Sequence[float], rows: Rows) -> str:
    """A line a method: mIoU in per cent by length, then the paper's."""
    titles = [f"{length:g}" for length in lengths] + [f"paper, {length:g}" for length in lengths]
    lines = ["| | " + " | ".join([*titles, "CPU minutes", "seeds"]) + " |", "|---" * (len(titles) + 3) + "|"]
    for name in names:
        runs = [rows.get((name, length), []) for length in lengths]
        cells = [spread([100 * row["IoU"]["mean"] for row in of], 1) if of else "–" for of in runs]
        paper = [PAPER.get(name, {}).get(length) for length in lengths]
        cells += ["–" if value is None else f"{value:g}" for value in paper]
        minutes = [row["cpu_minutes"] for of in runs for row in of]
        cells += [f"{mean(minutes):.1f}" if minutes else "–"]
        # while runs are missing, some lengths have a seed more
        cells += ["–".join(map(str, sorted({len(of) for of in runs if of}))) or "–"]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def plot(axes: Sequence[str], lengths: Sequence[float], results: Mapping[str, Rows]) -> Figure:
    """mIoU over stroke length, a panel an axis; bars are deviations between seeds."""
    figure = Figure(figsize=(5 * len(axes), 4), layout="constrained")
    for panel, axis in zip(figure.subplots(1, len(axes), squeeze=False)[0], axes):
        title, methods = AXES[axis]
        for name in methods:
            runs = {x: [100 * row["IoU"]["mean"] for row in results[axis].get((name, x), [])] for x in lengths}
            points = [(x, mean(y), stdev(y) if len(y) > 1 else 0.0) for x, y in sorted(runs.items()) if y]
            if points:
                x, y, error = zip(*points)
                panel.errorbar(x, y, error, marker="o", capsize=3, label=name)
        panel.set(title=title.replace(" (", "\n("), xlabel="scribble length ratio", ylabel="mIoU (%)")
        panel.legend(fontsize=8)
    return figure


def write(output: Path, axes: Sequence[str], lengths: Sequence[float], results: Mapping[str, Rows]) -> str:
    """The tables as text, after writing them, the plot and the lines of all runs."""
    write_lines(output / "runs.jsonl", finished(output))
    sections = [f"{AXES[axis][0]}\n\n{table(list(AXES[axis][1]), lengths, results[axis])}\n" for axis in axes]
    text = "\n".join([LEGEND, *sections])
    (output / "ablation.md").write_text(text)
    plot(axes, lengths, results).savefig(output / "ablation.png", dpi=120)
    return text


def main() -> None:
    """Run what is missing, with tables and plot after every run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--datalist", type=Path, required=True, help="with strokes, and dense masks for validation")
    parser.add_argument("--lengths", type=float, nargs="+", default=[0.3, 1.0], help="of the strokes, from 0 to 1")
    parser.add_argument("--axes", nargs="+", choices=list(AXES), default=list(AXES))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    parser.add_argument("--budget-iterations", type=int, default=600, metavar="N", help="of every run, to an epoch")
    parser.add_argument("--output", type=Path, default=Path("output/ablation"), help="folder of the runs")
    parser.add_argument("--threads", type=int, default=1)
    arguments, extra = parser.parse_known_args()
    for length in arguments.lengths:
        shortened(arguments.datalist, length)  # errors come before the first run
    results: dict[str, Rows] = {axis: {} for axis in arguments.axes}
    for seed in arguments.seeds:
        for axis in arguments.axes:
            # Table 4 is of whole scribbles
            for length in arguments.lengths if axis != "neighborhoods" else [max(arguments.lengths)]:
                for name, method in AXES[axis][1].items():
                    row = train(method, length, seed, arguments, extra)
                    results[axis].setdefault((name, length), []).append(row)
                    text = write(arguments.output, arguments.axes, arguments.lengths, results)
    print(text)


if __name__ == "__main__":
    main()
