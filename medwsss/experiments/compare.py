# SPDX-License-Identifier: Apache-2.0
"""Methods side by side on a data list: same network, budget, seeds and cases, and paired differences.

    python -m medwsss.experiments compare --datalist data/mine/dataset.json --methods pce gd default full --seeds 0 1

A method is an overlay of the bundle (pce, gd, paper, full and others), a JSON file of your own, or ``default``, which
is none. A run is validated once, after its last epoch, so that nothing is chosen on the validation cases. Writes
``results.jsonl``, a line a run, and ``comparison.md`` after every run; started again, it does what is missing.
"""

from __future__ import annotations

import argparse
import warnings
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from monai.bundle import ConfigParser

from medwsss.experiments import grid
from medwsss.experiments.data import bundle_files, dense_key
from medwsss.experiments.grid import Run, Setting, budget, carry_out
from medwsss.experiments.runs import overrides, parsed
from medwsss.files import read_json
from medwsss.keys import LABEL
from medwsss.reports.results import Line, cases, chosen
from medwsss.reports.tables import NONE, difference, markdown, minutes, seeds, spread
from medwsss.study.datalist import load_datalist, read_schema

__all__ = ["DEFAULT", "PER_CASE", "add_arguments", "configured", "run", "table"]

DEFAULT = "default"  #: the method without an overlay

#: What a bundle needs besides to have Dice of each validation case, for paired differences.
PER_CASE: dict[str, dict[str, Any]] = {
    "scribble_2d": {
        "figures": {"IoU": "@key_name", "Dice": "val_mean_dice"},
        "validate#additional_metrics": {
            "val_mean_dice": {
                "_target_": "monai.handlers.IgniteMetricHandler",
                "metric_fn": {"_target_": "medwsss.metrics.ClassDiceMetric", "num_classes": "@num_classes"},
                "output_transform": "$monai.handlers.from_engine(['pred', 'label'])",
            }
        },
    }
}

LEGEND = """Mean over seeds ± standard deviation between them, of the last epoch. The difference is in Dice, case by
case (mean over foreground classes, then over the seeds that both have), with a 95 % bootstrap interval over {} cases.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    parser.add_argument("--datalist", type=Path, required=True, help="strokes in training, dense masks in validation")
    parser.add_argument(
        "--methods", nargs="+", default=["pce", "gd", DEFAULT], metavar="NAME", help="overlays or files"
    )
    parser.add_argument("--reference", metavar="NAME", help="what the others are compared with (default: the first)")
    parser.add_argument("--bundle", default="scribble", help="scribble (default), or scribble_2d for photographs")
    parser.add_argument("--overlays", nargs="+", default=[], metavar="NAME", help="of every run, below its method's")
    grid.add_arguments(parser, "output/compare")


def name_of(method: str) -> str:
    """``mine`` of ``overlays/mine.json``."""
    return Path(method).stem if method.endswith(".json") else method


def configured(method: str, arguments: argparse.Namespace) -> tuple[list[str], dict[str, Any]]:
    """Configurations and overrides of a method on the data list, the seed apart."""
    files = bundle_files(arguments.bundle, [*arguments.overlays, *([] if method == DEFAULT else [method])])
    options: dict[str, Any] = {"dataset_dir": str(arguments.datalist.parent)}
    if arguments.datalist.name != "dataset.json":
        options["datalist"] = str(arguments.datalist)
    options |= declared(arguments.datalist) | PER_CASE.get(arguments.bundle, {})
    if parsed(files, options)["annotation_key"] == LABEL:
        options["annotation_key"] = dense_key(arguments.datalist)
    if arguments.iterations:
        options |= budget(files, options, arguments.iterations, arguments)
    return files, {**options, "val_interval": "@epochs"}


def declared(datalist: Path) -> dict[str, Any]:
    """What the data list says of its label values; what it does not say is the bundle's."""
    try:
        schema = read_schema(datalist)
    except ValueError:
        if read_json(datalist, "a data list").get("schema"):
            raise
        return {}
    values = {"ignore_values": schema.ignore_values, "void_values": schema.void_values}
    return {"num_classes": schema.num_classes, **{name: value for name, value in values.items() if value != []}}


def table(lines: Sequence[Line], reference: str) -> str:
    """A line a method: every figure's mean, the difference to the reference, cost and seeds."""
    figures = [name for name, value in lines[0].items() if isinstance(value, dict) and "mean" in value]
    methods = {line["method"]: chosen(lines, method=line["method"]) for line in lines}
    titles = ["method", *figures, f"Dice − {reference}", "CPU minutes", "seeds"]
    rows = []
    for method, of in methods.items():
        means = [spread([line[figure]["mean"] for line in of], 3) for figure in figures]
        other = NONE if method == reference else difference(of, methods.get(reference, []))
        rows.append([method, *means, other, minutes(of), seeds(of)])
    return markdown(titles, rows)


def classes(lines: Sequence[Line]) -> str:
    """A line a method: the first figure class by class."""
    figure = next(name for name, value in lines[0].items() if isinstance(value, dict) and "mean" in value)
    names = [name for name in lines[0][figure] if name != "mean"]
    rows = {}
    for line in lines:
        of = chosen(lines, method=line["method"])
        rows[line["method"]] = [line["method"], *(spread([each[figure][name] for each in of], 3) for name in names)]
    return markdown([figure, *names], rows.values())


def write(reference: str, order: Sequence[str], lines: Sequence[Line], output: Path) -> str:
    """``comparison.md``: a section a study of the output folder, its methods as they were asked for."""
    parts = []
    place = {name: index for index, name in enumerate(order)}
    for study in dict.fromkeys(line["study"] for line in lines):
        of = [line for line in lines if line["study"] == study]
        of.sort(key=lambda line: (place.get(line["method"], len(place)), line["seed"]))
        number = len(cases(of[:1])) if "Dice" in of[0]["cases"] else 0
        parts.append("\n".join([f"## {study}\n", table(of, reference), "", LEGEND.format(number), classes(of), ""]))
    text = "\n".join(parts)
    (output / "comparison.md").write_text(text)
    return text


def planned(arguments: argparse.Namespace) -> Iterator[Run]:
    """All runs asked for, seed by seed."""
    study = arguments.datalist.absolute().parent.name
    methods = {name_of(method): configured(method, arguments) for method in arguments.methods}
    for name, (files, _) in methods.items():
        own = {} if name == DEFAULT else ConfigParser.load_config_file(files[-1])
        if replaced := sorted(own.keys() & overrides(arguments.overrides).keys()):
            warnings.warn(f"the overrides replace what {files[-1]} says of {', '.join(replaced)}", stacklevel=2)
    for seed in arguments.seeds:
        for name, (files, options) in methods.items():
            yield Run(Setting(study, name, seed), files, {**options, "seed": seed})


def run(arguments: argparse.Namespace) -> int:
    """Train what is missing, and write what all runs say."""
    names = [name_of(method) for method in arguments.methods]
    reference = arguments.reference or names[0]
    if len(set(names)) < len(names):
        raise ValueError(f"expected methods with names of their own, got {' '.join(names)}")
    if name_of(reference) not in names:
        raise ValueError(f"expected a --reference among the methods {' '.join(names)}, got {reference!r}")
    outside = bool(overrides(arguments.overrides).get("allow_outside"))
    for section, keys in ("training", ("image",)), ("validation", ("image", LABEL)):
        load_datalist(arguments.datalist, section, keys, outside)
    return carry_out(list(planned(arguments)), partial(write, name_of(reference), names), arguments)
