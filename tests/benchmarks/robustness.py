# SPDX-License-Identifier: Apache-2.0
"""One default against all else, on several studies, within the same budget.

    python -m tests.benchmarks.robustness --seeds 0 1                   the table
    python -m tests.benchmarks.robustness --lengths --methods pce gd default full      scores by length of the strokes
    python -m tests.benchmarks.robustness --sensitivity --rows acdc_2d hippocampus     scores by hyper-parameter

Makes the studies in ``data/`` where they are not there. Each run is done once; after each, ``results.jsonl`` (a line a
run), ``robustness.md`` and the pictures are written anew from everything in the output folder. ``default`` is what
``train.json`` says, written out in the command, whatever a study's overlay says. Further options override the
bundle's in every run, such as ``--lam 3``.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from monai.bundle import ConfigParser

from tests.benchmarks.robustness_report import KNOBS, METHODS, render
from tests.benchmarks.runs import command, epochs, finished, parsed, prepared, run, write_lines

SHARED = "../shared/data"
LENGTHS = (0.0, 0.3, 0.5, 1.0)
FACTORS = (0.5, 2.0)
IDS = (
    "cross_entropy",
    "relaxation",
    "connectivity",
    "class_balance",
    "dice_weight",
    "warmup_loss",
    "solver_steps",
    *KNOBS,
)  #: a default


@dataclass(frozen=True)
class Row:
    """A study, and what its runs have in common; ``{}`` in texts is the length of the strokes."""

    folder: str
    overlays: Sequence[str]
    iterations: int  #: of each run
    prepare: str = ""  #: how ``data_prep`` makes the folder; empty for one that is given
    bundle: str = "bundles/scribble"
    options: Mapping[str, Any] = field(default_factory=dict)
    dense: Mapping[str, Any] = field(default_factory=dict)  #: more options for dense masks
    gd: Mapping[str, Any] = field(default_factory=dict)  #: what gradient descent was tuned to
    paper: Mapping[str, Any] = field(default_factory=dict)  #: more options for the paper's setting
    length: float = 1.0  #: in the table
    grey_levels: float = 1.0  #: of the guide; bandwidths of bundles/scribble are shares of them


SKELETONS = "--slice-axis 1 --slice-step 4 --background centerline --jitter 0"  # with length 0.3, 0.33 % of the voxels
SLICES = {"samples_per_volume": 3}  # short epochs, so that warm-up can be halved
VOLUMES: dict[str, Any] = {
    "samples_per_volume": 1,
    "spatial_dims": 3,
    "patch_size": [96, 96, 8],
    "strides": [[2, 2, 1], [2, 2, 2], [2, 2, 2]],
    "batch_size": 2,
}
CAMVID: dict[str, Any] = {
    "overlays": ["small"],
    "iterations": 600,
    "bundle": "bundles/scribble_2d",
    "paper": {"bandwidth": 9.0},
    "grey_levels": 255,
}
DICE = {  # of each image, for paired differences
    "_target_": "monai.handlers.IgniteMetricHandler",
    "metric_fn": {"_target_": "medwsss.metrics.ClassDiceMetric", "num_classes": "@num_classes"},
    "output_transform": "$monai.handlers.from_engine(['pred', 'label'])",
}
CAMVID["options"] = {
    "num_classes": 11,
    "val_interval": "@epochs",
    "figures": {"IoU": "val_mean_iou", "Dice": "val_mean_dice"},
    "validate#additional_metrics": {"val_mean_dice": DICE},
}
ROWS = {
    "acdc_2d": Row(f"{SHARED}/acdc", ["acdc"], 600, options=SLICES, dense={"annotation_key": "mask"}),
    "acdc_3d": Row(f"{SHARED}/acdc", ["acdc"], 600, options=VOLUMES, dense={"annotation_key": "mask"}),
    "hippocampus": Row(
        "data/hippocampus_{}",
        ["hippocampus"],
        1800,
        f"scribbles --datalist {SHARED}/hippocampus/dataset.json --length-ratio {{}} {SKELETONS}",
        length=0.3,
    ),
    "camvid_scribbles": Row("data/camvid_scribbles", prepare=f"camvid --source {SHARED}/camvid", **CAMVID),
    "camvid_blocks": Row(
        "data/camvid_blocks", prepare=f"camvid --source {SHARED}/camvid --annotation blocks", **CAMVID
    ),
    "acdc_simulated": Row(
        "data/acdc_{}",
        ["acdc"],
        600,
        f"scribbles --datalist {SHARED}/acdc/dataset.json --from mask --length-ratio {{}}",
        options={**SLICES, "ignore_values": [255]},
    ),
}
TABLE, BY_LENGTH = list(ROWS)[:5], ["acdc_simulated", "hippocampus"]


@dataclass(frozen=True)
class Job:
    """One run."""

    study: str
    method: str
    seed: int
    length: float
    knob: str = ""  #: of the default that is multiplied ...
    factor: float = 1.0  #: ... by this

    def train(self, arguments: argparse.Namespace, extra: Sequence[str]) -> None:
        """Run the bundle, unless that has been done."""
        row = ROWS[self.study]
        folder = prepared(Path(row.folder.format(f"{self.length:g}")), row.prepare.format(self.length).split())
        overlays = [row.bundle + f"/{name}.json" for name in ("train", *row.overlays)]
        options = {"dataset_dir": str(folder), **row.options}
        if self.method == "full":
            options |= row.dense
        parser = parsed(overlays, options)
        if self.method != "full" and "held_out_share" in parser:
            options["held_out_share"] = arguments.held_out
        options["epochs"] = epochs(parser, arguments.iterations or row.iterations)
        if self.method == "default":
            options |= self.hyper_parameters(parser, row, options["epochs"])
        else:
            # the paper's setting is one for all bundles
            bundle = "bundles/scribble" if self.method == "paper" else row.bundle
            overlays.append(f"{bundle}/{self.method}.json")
        options |= {"seed": self.seed, **{"gd": row.gd, "paper": row.paper}.get(self.method, {})}
        name = f"{self.method}_length{self.length:g}" + (f"_{self.knob}{self.factor:g}" if self.knob else "")
        output = arguments.output / self.study / f"{name}_seed{self.seed}"
        words = [*command(overlays, output, options), *extra]
        run(words, output, arguments.threads, **vars(self))

    def hyper_parameters(self, parser: ConfigParser, row: Row, number: int) -> dict[str, Any]:
        """Those of ``train.json``, as values, with one of them multiplied."""
        train = ConfigParser.load_config_file("bundles/scribble/train.json")
        parser.update({name: train[name] for name in IDS} | {"epochs": number})
        values = {name: parser.get_parsed_content(name) for name in IDS}
        values["bandwidth"] *= row.grey_levels
        if self.knob:
            kind = int if self.knob == "warmup_epochs" else float
            values[self.knob] = kind(values[self.knob] * self.factor)
        return values


def jobs(arguments: argparse.Namespace) -> Iterator[Job]:
    """All runs asked for, seed by seed."""
    for seed in arguments.seeds:
        for row in arguments.rows or (BY_LENGTH if arguments.lengths else TABLE):
            length = ROWS[row].length
            if arguments.sensitivity:
                yield Job(row, "default", seed, length)
                yield from (Job(row, "default", seed, length, knob, factor) for knob in KNOBS for factor in FACTORS)
            else:
                for method in arguments.methods:
                    lengths = LENGTHS if arguments.lengths and method != "full" else [length]
                    yield from (Job(row, method, seed, x) for x in lengths)


def main() -> None:
    """Run what is missing, and write what all runs say."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--lengths", action="store_true", help="by length of the strokes, instead of the table")
    what.add_argument("--sensitivity", action="store_true", help="the default with one value halved or doubled")
    parser.add_argument("--rows", nargs="+", choices=list(ROWS))
    parser.add_argument("--methods", nargs="+", choices=list(METHODS), default=list(METHODS))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    parser.add_argument("--iterations", type=int, help="of each run, to an epoch; default: the row's budget")
    parser.add_argument("--held-out", type=float, default=0.1, metavar="SHARE", help="of the seeds (default: 0.1)")
    parser.add_argument("--output", type=Path, default=Path("output/robustness"))
    parser.add_argument("--threads", type=int, default=1)
    arguments, extra = parser.parse_known_args()
    for job in jobs(arguments):
        job.train(arguments, extra)
        lines = finished(arguments.output)
        write_lines(arguments.output / "results.jsonl", lines)
        text = render(lines, arguments.output)
    print(text)


if __name__ == "__main__":
    main()
