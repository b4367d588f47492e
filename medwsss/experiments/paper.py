# SPDX-License-Identifier: Apache-2.0
"""Tables 3 and 4 and Figure 5 of the paper on any data list, with a small network in a few minutes a run.

    python -m medwsss.experiments paper --datalist data/camvid_scribbles/dataset.json --lengths 0.3 1.0 --seeds 0 1

Shorter strokes are cut from those of the list and written beside it. Writes ``results.jsonl``, a line a run, the
tables beside the paper's numbers as ``paper.md``, and ``paper.png``; started again, it does what is missing. A run
that two tables ask for is done once. The data are not checked again by every run (``python -m data_prep check`` does it
once).
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from medwsss.experiments import grid
from medwsss.experiments.data import bundle_files, shortened
from medwsss.experiments.grid import Run, Setting, budget, carry_out
from medwsss.reports.curves import curves, deviation
from medwsss.reports.results import Line
from medwsss.reports.tables import NONE, markdown, minutes, spread
from medwsss.study.datalist import read_schema

__all__ = ["AXES", "PAPER", "Method", "add_arguments", "configured", "plot", "run", "run_name", "table", "write"]

ITERATIONS = 600
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


def run_name(method: Method) -> str:
    """Of the first line in ``AXES`` that asks for this method, so that all that do share its run."""
    name = next(name for _, methods in AXES.values() for name, other in methods.items() if other == method)
    return re.sub(r"\W+", "_", name)


def configured(method: Method, length: float, seed: int, arguments: argparse.Namespace) -> Run:
    """One run; its figures are those of the last epoch, the only one to be validated."""
    datalist = shortened(arguments.datalist, length)
    files = bundle_files("scribble_2d", ["small", *method.overlays])
    options = {"dataset_dir": str(datalist.parent), "num_classes": read_schema(datalist).num_classes, "seed": seed}
    options |= {**UNCHECKED, **method.options}
    options |= {**budget(files, options, ITERATIONS, arguments), "val_interval": "@epochs"}
    return Run(Setting(study_of(arguments), run_name(method), seed, length), files, options)


def study_of(arguments: argparse.Namespace) -> str:
    """Name of the data list's folder."""
    return str(arguments.datalist.absolute().parent.name)


def per_cent(lines: Sequence[Line], method: Method, length: float) -> list[float]:
    """mIoU of the method's runs at this length."""
    return [100 * line["IoU"]["mean"] for line in runs_of(lines, method) if line["length"] == length]


def runs_of(lines: Sequence[Line], method: Method) -> list[Line]:
    """The lines of the method."""
    return [line for line in lines if line["method"] == run_name(method)]


def table(lines: Sequence[Line], methods: Mapping[str, Method], lengths: Sequence[float]) -> str:
    """A line a method: mIoU in per cent by length, then the paper's."""
    rows = []
    for name, method in methods.items():
        of = [line for line in runs_of(lines, method) if line["length"] in lengths]
        scores = [per_cent(lines, method, length) for length in lengths]
        paper = [PAPER.get(name, {}).get(length) for length in lengths]
        # while runs are missing, some lengths have a seed more
        seeds = sorted({len(values) for values in scores if values})
        cells = [spread(values, 1) for values in scores] + [NONE if x is None else f"{x:g}" for x in paper]
        rows.append([name, *cells, minutes(of), NONE.join(map(str, seeds)) or NONE])
    titles = [f"{length:g}" for length in lengths] + [f"paper, {length:g}" for length in lengths]
    return markdown(["", *titles, "CPU minutes", "seeds"], rows)


def plot(lines: Sequence[Line], axes: Sequence[str], lengths: Sequence[float]) -> Figure:
    """mIoU over stroke length, a panel an axis; bars are deviations between seeds."""
    panels: dict[str, dict[str, dict[float, list[float]]]] = {}
    for title, methods in (AXES[axis] for axis in axes):
        points = {name: {x: per_cent(lines, method, x) for x in lengths} for name, method in methods.items()}
        known = {name: {x: y for x, y in of.items() if y} for name, of in points.items()}
        panels[title.replace(" (", "\n(")] = {name: of for name, of in known.items() if of}
    return curves(panels, "scribble length ratio", "mIoU (%)", deviation)


def write(arguments: argparse.Namespace, lines: Sequence[Line], output: Path) -> str:
    """The tables as text, after writing them and the plot."""
    lines = [line for line in lines if line["study"] == study_of(arguments)]
    sections = [f"{AXES[axis][0]}\n\n{table(lines, AXES[axis][1], arguments.lengths)}\n" for axis in arguments.axes]
    text = "\n".join([LEGEND, *sections])
    (output / "paper.md").write_text(text)
    plot(lines, arguments.axes, arguments.lengths).savefig(output / "paper.png", dpi=120)
    return text


def planned(arguments: argparse.Namespace) -> Iterator[Run]:
    """All runs asked for, seed by seed."""
    for seed in arguments.seeds:
        for axis in arguments.axes:
            # Table 4 is of whole scribbles
            for length in arguments.lengths if axis != "neighborhoods" else [max(arguments.lengths)]:
                yield from (configured(method, length, seed, arguments) for method in AXES[axis][1].values())


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    parser.add_argument("--datalist", type=Path, required=True, help="with strokes, and dense masks for validation")
    parser.add_argument("--lengths", type=float, nargs="+", default=[0.3, 1.0], help="of the strokes, from 0 to 1")
    parser.add_argument("--axes", nargs="+", choices=list(AXES), default=list(AXES))
    grid.add_arguments(parser, "output/paper")


def run(arguments: argparse.Namespace) -> int:
    """Train what is missing, with tables and plot after every run."""
    unique = {each.setting: each for each in planned(arguments)}
    return carry_out(list(unique.values()), lambda lines, output: write(arguments, lines, output), arguments)
