# SPDX-License-Identifier: Apache-2.0
"""Scenes: seeds alone against self-labeling by kind of strokes, and one scene of few polygons against a random forest.

    python -m tests.benchmarks.remote_sensing --data DIR --rows water12 --kinds points --seeds 0
    python -m tests.benchmarks.remote_sensing --data DIR

``DIR`` has the folders dubai, roads (pictures) and water12 (dense masks: strokes are drawn into those that train;
mIoU) and landsat7_sparse (real polygons: features in five folds, each validates once; share of right pixels over all
folds). The forest is scikit-learn's, 500 trees on the pixels of the same training labels, with classes weighted equally
and not. ``dense`` are dense masks, whatever the strokes, so that ``--kinds lines`` will do. ``pixels`` is an overlay of
the bundle, whose network sees a pixel's bands alone.
A run is done once: after each, ``results.jsonl`` and ``results.md`` are written anew in ``--output``. Runs are of 600
iterations unless ``--iterations`` says otherwise.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from itertools import product
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import numpy as np
import rasterio
from sklearn.ensemble import RandomForestClassifier

from medwsss.experiments import runs
from medwsss.experiments.data import prepared
from medwsss.files import write_atomically
from medwsss.keys import VOID
from medwsss.reports.results import Line

DENSE = ("dubai", "roads", "water12")
LANDSAT = "landsat7_sparse"
#: what `data_prep scribbles` draws: clicks, lines along the middle of regions, and blocks of a tenth of the area
KINDS = {
    "points": ["--length-ratio", "0"],
    "lines": ["--length-ratio", "0.5"],
    "polygons": ["--kind", "block", "--background", "block", "--length-ratio", "0.1"],
}
METHODS = {
    "pce": ["pce"],
    "default": [],
    "dense": ["full"],
    "pixels pce": ["pixels", "pce"],
    "pixels default": ["pixels"],
}
FOLDS = 5
CLASSES = ("forest=0", "water=1", "herbaceous=2", "barren=3", "urban=4")
BANDS = tuple("1234567")  # the eighth is a mask


def dense_study(data: Path, row: str, kind: str, seed: int) -> Path:
    """Strokes in the training images of a set with masks."""
    words = ["scribbles", "--datalist", str(data / row / "dataset.json"), *KINDS[kind], "--seed", str(seed)]
    return prepared(Path("data") / f"{row}_{kind}_seed{seed}", words)


def landsat_study(data: Path, fold: int, seed: int) -> Path:
    """The scene's polygons, of which a fold validates."""
    root = data / LANDSAT
    image = root / "images" / "LE70220491999322EDC01_stack.tif"
    strokes = root / "labels" / "training_data_ignore255.tif"
    words = ["rasters", "--images", str(image), "--strokes", str(strokes), "--classes", *CLASSES, "--bands", *BANDS]
    words += ["--split", "features", "--folds", str(FOLDS), "--fold", str(fold), "--seed", str(seed)]
    return prepared(Path("data") / f"{LANDSAT}_fold{fold}_seed{seed}", words)


def labelled_pixels(study: Path, section: str) -> tuple[np.ndarray, np.ndarray]:
    """``pixels × bands`` and their classes, of a section of a data list of strokes."""
    values, classes = [], []
    for item in json.loads((study / "dataset.json").read_text())[section]:
        with rasterio.open(study / item["image"]) as image, rasterio.open(study / item["scribble"]) as strokes:
            bands, labels = image.read().astype(float), strokes.read(1)
        values.append(bands[:, labels < VOID].T)
        classes.append(labels[labels < VOID])
    return np.concatenate(values), np.concatenate(classes)


def forest(study: Path, seed: int, weights: str | None) -> dict[str, float]:
    """Share of right pixels of those that validate, and their number."""
    model = RandomForestClassifier(500, random_state=seed, class_weight=weights)
    model.fit(*labelled_pixels(study, "training"))
    pixels, classes = labelled_pixels(study, "validation")
    return {"accuracy": float((model.predict(pixels) == classes).mean()), "pixels": len(classes)}


def score(line: Line, study: Path, run: Path) -> dict[str, float]:
    """mIoU on dense masks, over classes; of Landsat the share of right pixels of those that validate."""
    if LANDSAT not in run.parts:
        return {"score": line["IoU"]["mean"], "pixels": 1}
    if not list(run.rglob("*_pred.tif")):
        words = ["-m", "medwsss", "infer", str(run), str(study / "dataset.json"), "--section", "validation"]
        subprocess.run([sys.executable, *words, "--device", "cpu"], check=True, stdout=subprocess.DEVNULL)
    (item,), (path,) = json.loads((study / "dataset.json").read_text())["validation"], run.rglob("*_pred.tif")
    with rasterio.open(path) as predicted, rasterio.open(study / item["scribble"]) as strokes:
        classes, labels = predicted.read(1), strokes.read(1)
    there = labels < VOID
    return {"score": float((classes == labels)[there].mean()), "pixels": int(there.sum())}


def settings(arguments: argparse.Namespace) -> Iterator[tuple[str, str, int, str]]:
    """Row, kind of strokes or fold, seed, method."""
    for row, seed, method in product(arguments.rows, arguments.seeds, arguments.methods):
        for kind in range(1, FOLDS + 1) if row == LANDSAT else arguments.kinds:
            yield row, str(kind), seed, method


def train(study: Path, output: Path, iterations: int, **facts: Any) -> Line:
    """One run of the bundle, once, by its ``method`` and ``seed``."""
    names = ["train", *METHODS[facts["method"]]]
    files = [f"bundles/remote_sensing/{name}.json" for name in names]
    options: dict[str, Any] = {"dataset_dir": str(study), "seed": facts["seed"], "workers": 0, "device": "cpu"}
    epochs = runs.epochs(runs.parsed(files, options), iterations)
    options |= {"epochs": epochs, "val_interval": epochs}  # the last network counts: none is chosen by what validates
    return runs.run(runs.command(files, output, options), output, 1, **facts)


def table(lines: Sequence[Line]) -> str:
    """Means over seeds and their spread; Landsat's over the pixels of all folds, then over seeds."""
    rows = ["| data | strokes | method | score | runs |", "|---|---|---|---|---|"]
    groups: dict[tuple[str, str, str], dict[int, list[Line]]] = {}
    for line in lines:
        kind = "all folds" if line["row"] == LANDSAT else line["kind"]
        groups.setdefault((line["row"], kind, line["method"]), {}).setdefault(line["seed"], []).append(line)
    for key, by_seed in sorted(groups.items()):
        parts = [np.array([(line["score"], line["pixels"]) for line in found]).T for found in by_seed.values()]
        scores = [np.average(found, weights=pixels) for found, pixels in parts]
        spread = f" ± {stdev(scores):.3f}" if len(scores) > 1 else ""
        rows.append(f"| {' | '.join(key)} | {mean(scores):.3f}{spread} | {sum(map(len, by_seed.values()))} |")
    return "\n".join(rows) + "\n"


def main(words: Sequence[str] | None = None) -> None:
    """Run what has not been done, write and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder of the sets; only read")
    parser.add_argument("--rows", nargs="+", choices=(*DENSE, LANDSAT), default=[*DENSE, LANDSAT])
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=list(KINDS))
    parser.add_argument(
        "--methods", nargs="+", choices=METHODS, default=["pce", "default", "pixels pce", "pixels default"]
    )
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1])
    parser.add_argument("--iterations", type=int, default=600)
    parser.add_argument("--output", type=Path, default=Path("output/remote_sensing_study"))
    arguments = parser.parse_args(words)
    lines: list[Line] = []
    for row, kind, seed, method in settings(arguments):
        here = {"row": row, "kind": kind, "seed": seed, "method": method}
        study = landsat_study(arguments.data, int(kind), seed) if row == LANDSAT else None
        if study and method == arguments.methods[0]:
            for name, weights in (("forest", None), ("forest, balanced", "balanced")):
                found = forest(study, seed, weights)
                lines.append({**here, "method": name, "score": found["accuracy"], "pixels": found["pixels"]})
        output = arguments.output / row / f"{method.replace(' ', '_')}_{kind}_seed{seed}"
        study = study or dense_study(arguments.data, row, kind, seed)
        line = train(study, output, arguments.iterations, **here)
        lines.append({**line, **score(line, study, output)})
        text = "".join(json.dumps(each) + "\n" for each in lines)
        write_atomically(memoryview(text.encode()), arguments.output / "results.jsonl")
        write_atomically(memoryview(table(lines).encode()), arguments.output / "results.md")
    print(table(lines))


if __name__ == "__main__":
    main()
