# SPDX-License-Identifier: Apache-2.0
"""One default against all else, on several studies, within the same budget.

    python -m medwsss.experiments robustness --seeds 0 1                   the table
    python -m medwsss.experiments robustness --lengths --methods pce gd default full    scores by length of the strokes
    python -m medwsss.experiments robustness --sensitivity --rows acdc_2d hippocampus   scores by hyper-parameter

Makes the studies in ``data/`` where they are not there. Each run is done once; after each, ``results.jsonl`` (a line a
run), ``robustness.md`` and the pictures are written anew from everything in the output folder. ``default`` is what
``train.json`` says, written out in the command, whatever a study's overlay says.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from monai.bundle import ConfigParser

from medwsss.experiments import grid
from medwsss.experiments.compare import DEFAULT, PER_CASE
from medwsss.experiments.data import bundle_files, prepared
from medwsss.experiments.grid import Run, Setting, budget, carry_out
from medwsss.experiments.robustness_report import KNOBS, METHODS, render
from medwsss.experiments.runs import parsed
from medwsss.keys import UNLABELED

__all__ = ["ROWS", "Row", "add_arguments", "configured", "run"]

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
    "normalization",
    "trust",
    *KNOBS,
)  #: a default


@dataclass(frozen=True)
class Row:
    """A study, and what its runs have in common; in texts ``{length}`` is of the strokes, ``{data}`` the source."""

    folder: str
    overlays: Sequence[str]
    iterations: int  #: of each run
    prepare: str = ""  #: how ``data_prep`` makes the folder; empty for one that is given
    bundle: str = "scribble"
    options: Mapping[str, Any] = field(default_factory=dict)
    dense: Mapping[str, Any] = field(default_factory=dict)  #: more options for dense masks
    gd: Mapping[str, Any] = field(default_factory=dict)  #: what gradient descent was tuned to
    paper: Mapping[str, Any] = field(default_factory=dict)  #: more options for the paper's setting
    length: float = 1.0  #: in the table
    grey_levels: float = 1.0  #: of the guide; bandwidths of bundles/scribble are shares of them


SKELETONS = "--slice-axis 1 --slice-step 4 --background centerline --jitter 0"  # with length 0.3, 0.33 % of the voxels
PHOTOGRAPHS = "--slice-axis none --background centerline"
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
    "bundle": "scribble_2d",
    "options": {"num_classes": 11, "val_interval": "@epochs", **PER_CASE["scribble_2d"]},
    "paper": {"bandwidth": 9.0},
    "grey_levels": 255.0,
}
ROWS = {
    "acdc_2d": Row("{data}/acdc", ["acdc"], 600, options=SLICES, dense={"annotation_key": "mask"}),
    "acdc_3d": Row("{data}/acdc", ["acdc"], 600, options=VOLUMES, dense={"annotation_key": "mask"}),
    "hippocampus": Row(
        "data/hippocampus_{length}",
        ["hippocampus"],
        1800,
        "scribbles --datalist {data}/hippocampus/dataset.json --length-ratio {length} " + SKELETONS,
        length=0.3,
    ),
    "camvid_scribbles": Row("data/camvid_scribbles", prepare="camvid --source {data}/camvid", **CAMVID),
    "camvid_blocks": Row("data/camvid_blocks", prepare="camvid --source {data}/camvid --annotation blocks", **CAMVID),
    "dubai": Row(  # no setting was ever chosen on it
        "data/dubai_strokes",
        prepare="scribbles --datalist {data}/remote_sensing/dubai/dataset.json " + PHOTOGRAPHS,
        **CAMVID | {"options": CAMVID["options"] | {"num_classes": 5}},
    ),
    "acdc_simulated": Row(
        "data/acdc_{length}",
        ["acdc"],
        600,
        "scribbles --datalist {data}/acdc/dataset.json --from mask --length-ratio {length}",
        options={**SLICES, "ignore_values": [UNLABELED]},
    ),
}
TABLE, BY_LENGTH = list(ROWS)[:6], ["acdc_simulated", "hippocampus"]


def configured(setting: Setting, arguments: argparse.Namespace) -> Run:
    """The run of a setting; the study is made where it is not there."""
    row = ROWS[setting.study]
    words = {"length": f"{setting.length:g}", "data": arguments.data}
    folder = prepared(Path(row.folder.format(**words)), row.prepare.format(**words).split())
    files = bundle_files(row.bundle, row.overlays)
    options: dict[str, Any] = {"dataset_dir": str(folder), **row.options}
    if setting.method == "full":
        options |= row.dense
    elif "held_out_share" in parsed(files, {}):
        options["held_out_share"] = arguments.held_out
    options |= budget(files, options, row.iterations, arguments)
    if setting.method == DEFAULT:
        options |= hyper_parameters(setting, row, parsed(files, options), options["epochs"])
    else:
        # the paper's setting is one for all bundles
        bundle = "scribble" if setting.method == "paper" else row.bundle
        files += bundle_files(bundle, [setting.method])[1:]
    options |= {"seed": setting.seed, **{"gd": row.gd, "paper": row.paper}.get(setting.method, {})}
    return Run(setting, files, options)


def hyper_parameters(setting: Setting, row: Row, parser: ConfigParser, epochs: int) -> dict[str, Any]:
    """Those of ``train.json``, as values, with one of them multiplied."""
    (file,) = bundle_files("scribble", [])
    train = ConfigParser.load_config_file(file)
    parser.update({name: train[name] for name in IDS} | {"epochs": epochs})
    values = {name: parser.get_parsed_content(name) for name in IDS}
    values["bandwidth"] *= row.grey_levels
    if setting.knob:
        kind = int if setting.knob == "warmup_epochs" else float
        values[setting.knob] = kind(values[setting.knob] * setting.factor)
    return values


def settings(arguments: argparse.Namespace) -> Iterator[Setting]:
    """All runs asked for, seed by seed."""
    for seed in arguments.seeds:
        for row in arguments.rows or (BY_LENGTH if arguments.lengths else TABLE):
            length = ROWS[row].length
            if arguments.sensitivity:
                yield Setting(row, DEFAULT, seed, length)
                for knob in KNOBS:
                    yield from (Setting(row, DEFAULT, seed, length, knob, factor) for factor in FACTORS)
            else:
                for method in arguments.methods:
                    lengths = LENGTHS if arguments.lengths and method != "full" else [length]
                    yield from (Setting(row, method, seed, x) for x in lengths)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--lengths", action="store_true", help="by length of the strokes, instead of the table")
    what.add_argument("--sensitivity", action="store_true", help="the default with one value halved or doubled")
    parser.add_argument("--rows", nargs="+", choices=list(ROWS), help="studies")
    parser.add_argument("--methods", nargs="+", default=list(METHODS), metavar="NAME", help="overlays, or default")
    parser.add_argument("--held-out", type=float, default=0.1, metavar="SHARE", help="of the seeds (default: 0.1)")
    parser.add_argument("--data", default="../shared/data", help="where acdc, hippocampus, camvid are (%(default)s)")
    grid.add_arguments(parser, "output/robustness")


def run(arguments: argparse.Namespace) -> int:
    """Train what is missing, and write what all runs say."""
    return carry_out([configured(setting, arguments) for setting in settings(arguments)], render, arguments)
