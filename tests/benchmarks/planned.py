# SPDX-License-Identifier: Apache-2.0
"""What the recipe that ``check`` plans comes to, in minutes, beside the overlays that people made by hand.

    python -m tests.benchmarks.planned --data DIR --minutes 5

Of each study of ``DIR`` there is the data list and nothing else: ``check``, then a training with its recipe
(``planned``), or with ``bundles/remote_sensing``, which has none; and one with the overlay of the bundle that was made
for such data, in as many minutes (``overlay``). Strokes are drawn where a study has masks alone. Whole images, last
epoch; Dice of organs, IoU of all else. A run is done once; writes ``results.jsonl`` and ``results.md`` in ``--output``.
"""

from __future__ import annotations

import argparse
import json
import shlex
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from typing import Any

from data_prep.__main__ import main as data_prep
from medwsss.experiments import runs
from medwsss.experiments.data import bundle_files, prepared
from medwsss.experiments.robustness import PHOTOGRAPHS, SKELETONS, VOLUMES
from medwsss.files import read_json, write_atomically
from tests.benchmarks.report import table

COLUMNS = ("study", "arm", "seed", "bundle", "score", "epochs", "spent", "cpu_minutes", "peak_gib")


@dataclass(frozen=True)
class Study:
    """A data list, and how its training was set by hand."""

    folder: str
    prepare: str = ""
    check: Sequence[str] = ()
    overlay: Sequence[str] = ()  #: of the bundle that is planned; none: nobody made one
    options: dict[str, Any] = field(default_factory=dict)


def lines_in(name: str) -> Study:
    """Lines along the middle of regions."""
    words = f"scribbles --datalist {{data}}/remote_sensing/{name}/dataset.json --length-ratio 0.5 {PHOTOGRAPHS}"
    return Study(f"data/{name}_lines", words, overlay=["small"])


STUDIES = {
    "acdc": Study("{data}/acdc", overlay=["acdc"]),
    "acdc_3d": Study("{data}/acdc", check=["--spatial-dims", "3"], overlay=["acdc"], options=VOLUMES),
    "hippocampus": Study(
        "data/hippocampus_0.3",
        f"scribbles --datalist {{data}}/hippocampus/dataset.json --length-ratio 0.3 {SKELETONS}",
        overlay=["hippocampus"],
    ),
    "prostatex": Study("{data}/prostatex_one"),
    "camvid": Study("data/camvid_scribbles", "camvid --source {data}/camvid", overlay=["small"]),
    "dubai": lines_in("dubai"),
    "roads": lines_in("roads"),
    "water12": lines_in("water12"),
    "enmap": Study("{data}/remote_sensing/enmap_potsdam"),
    "landsat": Study("{data}/remote_sensing/landsat7_sparse"),
}


def plan(study: Study, folder: Path, output: Path, minutes: float) -> tuple[str, dict[str, Any]]:
    """The bundle that reads a study, and the recipe as an option, if there is one."""
    recipe = output / "recipe.json"
    output.mkdir(parents=True, exist_ok=True)
    words = ["check", str(folder / "dataset.json"), "--recipe", str(recipe), "--minutes", str(minutes), *study.check]
    if code := data_prep(words):
        raise ValueError(f"expected a study without errors, got {code} of {shlex.join(words)}")
    return (read_json(recipe)["bundle"], {"recipe": str(recipe)}) if recipe.exists() else ("remote_sensing", {})


def main() -> None:
    """Train what is missing, write, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--minutes", type=float, default=5)
    parser.add_argument("--studies", nargs="+", default=list(STUDIES), choices=STUDIES)
    parser.add_argument("--arms", nargs="+", default=["planned", "overlay"], choices=["planned", "overlay"])
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--output", type=Path, default=Path("output/planned"))
    told = parser.parse_args()
    lines = []
    for name in told.studies:
        study = STUDIES[name]
        folder = prepared(Path(study.folder.format(data=told.data)), study.prepare.format(data=told.data).split())
        bundle, recipe = plan(study, folder, told.output / name, told.minutes)
        for seed, arm in product(told.seeds, told.arms):
            if arm == "overlay" and not (study.overlay and recipe):
                continue
            options = recipe if arm == "planned" else {"recipe": "$None", **study.options}
            options = {"dataset_dir": str(folder), **options, "minutes": told.minutes, "seed": seed}
            files = bundle_files(bundle, study.overlay if arm == "overlay" else [])
            output, of = told.output / name / f"{arm}_seed{seed}", {"study": name, "arm": arm, "seed": seed}
            try:
                line = runs.run(runs.command(files, output, options), output, told.threads, **of)
                lines.append({**line, "bundle": bundle, **told_by(line, output)})
            except ChildProcessError as error:
                lines.append({**of, "bundle": bundle, "score": str(error)})
            text = "".join(json.dumps(each) + "\n" for each in lines)
            write_atomically(memoryview(text.encode()), told.output / "results.jsonl")
            rows = [{column: each.get(column, "") for column in COLUMNS} for each in lines]
            write_atomically(memoryview(table(rows, {n: n for n in COLUMNS}).encode()), told.output / "results.md")
    print((told.output / "results.md").read_text())


def told_by(line: Any, output: Path) -> dict[str, Any]:
    """Score, and minutes kept."""
    found = next((line[kind]["mean"] for kind in ("IoU", "Dice") if kind in line), None)
    return {"score": "" if found is None else round(found, 3), **read_json(output / "budget.json")}


if __name__ == "__main__":
    main()
