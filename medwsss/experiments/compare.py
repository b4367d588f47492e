# SPDX-License-Identifier: Apache-2.0
"""Methods side by side on a data list: same network, budget, seeds and cases, and paired differences.

    medwsss compare data/mine/dataset.json --methods pce gd dense_crf default full --budget 600it --seeds 0 1

A method is an overlay of the bundle (pce, gd, paper, full and others), a JSON file of your own, or ``default``, which
is none. A run is validated once, after its last epoch, so that nothing is chosen on the validation cases. Writes
``results.jsonl``, a line a run, ``comparison.md`` and ``comparison.html`` after every run; started again, it does what
is missing. A training that fails has a row that says so, and the others go on; --retry tries it again.
"""

from __future__ import annotations

import argparse
import warnings
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from monai.bundle import ConfigParser

from medwsss.experiments import grid
from medwsss.experiments.budgets import iterations_of, parsed_budget
from medwsss.experiments.compare_page import write_comparison
from medwsss.experiments.data import bundle_files, dense_key
from medwsss.experiments.grid import Run, Setting, budget, carry_out
from medwsss.experiments.runs import forget_failures, overrides, parsed
from medwsss.files import read_json
from medwsss.keys import LABEL
from medwsss.reports.results import Line, cases, chosen
from medwsss.reports.tables import NONE, difference, markdown, minutes, seeds, spread
from medwsss.study.datalist import load_datalist, read_schema
from medwsss.study.patients import patients_of

__all__ = ["DEFAULT", "PER_CASE", "add_arguments", "configured", "rows_of", "run"]

DEFAULT = "default"  #: the method without an overlay

_DICE = {
    "_target_": "monai.handlers.IgniteMetricHandler",
    "metric_fn": {"_target_": "medwsss.metrics.ClassDiceMetric", "num_classes": "@num_classes"},
    "output_transform": "$monai.handlers.from_engine(['pred', 'label'])",
}

#: What a bundle needs besides to have Dice of each validation case, for paired differences.
PER_CASE: dict[str, dict[str, Any]] = {
    "scribble_2d": {
        "figures": {"IoU": "@key_name", "Dice": "val_mean_dice"},
        "validate#additional_metrics": {"val_mean_dice": _DICE},
    },
    "image_tags": {"figures#Dice": "val_mean_dice", "validate#additional_metrics#val_mean_dice": _DICE},
}

LEGEND = """Mean over seeds ± standard deviation between them, of the last epoch. The difference is in Dice, patient by
patient (mean over foreground classes, cases, then the seeds that both have), with a 95 % bootstrap interval over {}.
A step is the median of all, memory the peak of the process.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    parser.add_argument("--datalist", type=Path, required=True, help="strokes or tags in training, masks in validation")
    parser.add_argument(
        "--methods", nargs="+", default=["pce", "gd", DEFAULT], metavar="NAME", help="overlays or files"
    )
    parser.add_argument("--reference", metavar="NAME", help="what the others are compared with (default: the first)")
    parser.add_argument("--bundle", default="scribble", help="scribble (default), scribble_2d, image_tags")
    parser.add_argument("--overlays", nargs="+", default=[], metavar="NAME", help="of every run, below its method's")
    parser.add_argument("--budget", metavar="600it|10min", help="of every run: iterations, or minutes of training")
    parser.add_argument("--retry", action="store_true", help="train once more what has failed")
    grid.add_arguments(parser, "output/compare")


def name_of(method: str) -> str:
    """``mine`` of ``overlays/mine.json``."""
    return Path(method).stem if method.endswith(".json") else method


def configured(
    method: str, arguments: argparse.Namespace, iterations: int | None = None
) -> tuple[list[str], dict[str, Any]]:
    """Configurations and overrides of a method on the data list, the seed apart, for this many iterations."""
    files = bundle_files(arguments.bundle, [*arguments.overlays, *([] if method == DEFAULT else [method])])
    options: dict[str, Any] = {"dataset_dir": str(arguments.datalist.parent)}
    if arguments.datalist.name != "dataset.json":
        options["datalist"] = str(arguments.datalist)
    options |= declared(arguments.datalist) | PER_CASE.get(arguments.bundle, {})
    if parsed(files, options).get("annotation_key") == LABEL:
        options["annotation_key"] = dense_key(arguments.datalist)
    if iterations or arguments.iterations:
        options |= budget(files, options, iterations or arguments.iterations, arguments)
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


def rows_of(
    lines: Sequence[Line], reference: str, patients: Sequence[str] | None = None
) -> tuple[list[str], list[list[str]]]:
    """Titles, and a line a method: every figure's mean, the difference to the reference, cost and seeds."""
    figures = figures_of(lines)
    methods = {line["method"]: chosen(lines, method=line["method"]) for line in lines}
    done = {method: [line for line in of if "failure" not in line] for method, of in methods.items()}
    rows = []
    for method, of in done.items():
        means = [spread([line.get(figure, {}).get("mean") for line in of], 3) for figure in figures]
        other = NONE if method == reference else difference(of, done.get(reference, []), patients)
        steps = spread([line.get("step_seconds") for line in of], 3)
        memory = max((line["peak_gib"] for line in of if "peak_gib" in line), default=None)
        failed = len(methods[method]) - len(of)
        count = seeds(of) + (f", {failed} failed" if failed else "")
        rows.append([method, *means, other, minutes(of), steps, NONE if memory is None else f"{memory:.2f}", count])
    return ["method", *figures, f"Dice − {reference}", "CPU minutes", "s a step", "GiB", "seeds"], rows


def figures_of(lines: Sequence[Line]) -> list[str]:
    """Titles of figures that some run has which did not fail; not every method has them all."""
    found = (item for line in lines if "failure" not in line for item in line.items())
    return list(dict.fromkeys(name for name, value in found if isinstance(value, dict) and "mean" in value))


def failures(lines: Sequence[Line]) -> list[str]:
    """What went wrong, a sentence a run."""
    return [f"{line['method']}, seed {line['seed']}: {line['failure']}" for line in lines if "failure" in line]


def classes(lines: Sequence[Line]) -> tuple[list[str], list[list[str]]]:
    """Titles, and a line a method: the first figure class by class."""
    lines = [line for line in lines if "failure" not in line]
    if not lines:
        return [], []
    figure = figures_of(lines)[0]
    names = [name for name in lines[0][figure] if name != "mean"]
    rows = {}
    for line in lines:
        of = chosen(lines, method=line["method"])
        rows[line["method"]] = [line["method"], *(spread([each[figure][name] for each in of], 3) for name in names)]
    return [figure, *names], list(rows.values())


def write(
    reference: str,
    order: Sequence[str],
    patients: Mapping[str, Sequence[str]],
    lines: Sequence[Line],
    output: Path,
) -> str:
    """``comparison.md`` and ``.html``: a section a study of the output folder, its methods as they were asked for."""
    parts, sections = [], {}
    place = {name: index for index, name in enumerate(order)}
    for study in dict.fromkeys(line["study"] for line in lines):
        of = [line for line in lines if line["study"] == study]
        of.sort(key=lambda line: (place.get(line["method"], len(place)), line["seed"]))
        done = [line for line in of if "Dice" in line.get("cases", {})]
        number = len(cases(done[:1])) if done else 0
        groups = patients.get(study)
        groups = groups if groups is not None and len(groups) == number else None
        legend = LEGEND.format(f"{number} cases" if groups is None else f"{len(set(groups))} patients")
        tables = [rows_of(of, reference, groups), classes(of)]
        wrong = failures(of)
        texts = [markdown(titles, rows) for titles, rows in tables if titles]
        told = [f"- {text}" for text in wrong] + [""] * bool(wrong)
        parts.append("\n".join([f"## {study}\n", texts[0], "", legend, *told, *texts[1:], ""]))
        sections[study] = (tables, legend, wrong, of)
    text = "\n".join(parts)
    (output / "comparison.md").write_text(text)
    write_comparison(output, sections)
    return text


def planned(arguments: argparse.Namespace, iterations: Mapping[str, int] | None = None) -> Iterator[Run]:
    """All runs asked for, seed by seed, with iterations of each method where they are not all the same."""
    study = arguments.datalist.absolute().parent.name
    counts = iterations or {}
    methods = {
        name_of(method): configured(method, arguments, counts.get(name_of(method))) for method in arguments.methods
    }
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
    if arguments.budget and arguments.iterations:
        raise ValueError(f"expected --budget or --iterations, got {arguments.budget} and {arguments.iterations}")
    amount, unit = parsed_budget(arguments.budget) if arguments.budget else (0, "")
    arguments.iterations = int(amount) if unit == "it" else arguments.iterations
    outside = bool(overrides(arguments.overrides).get("allow_outside"))
    for section, keys in ("training", ("image",)), ("validation", ("image", LABEL)):
        items = load_datalist(arguments.datalist, section, keys, outside)
    patients = {arguments.datalist.absolute().parent.name: [patient for patient, _ in patients_of(items)]}
    if arguments.retry:
        forget_failures(arguments.output)
    iterations = None
    if unit == "min":
        probes = planned(
            argparse.Namespace(**{**vars(arguments), "seeds": arguments.seeds[:1]}), dict.fromkeys(names, 1)
        )
        iterations = iterations_of(list(probes), amount, arguments)
    report = partial(write, name_of(reference), names, patients)
    return carry_out(list(planned(arguments, iterations)), report, arguments, keep_going=True)
