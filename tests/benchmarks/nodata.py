# SPDX-License-Identifier: Apache-2.0
"""What a border without data costs: the same scenes whole and with nodata, each trained by the printed command.

    python -m tests.benchmarks.nodata

Scenes are rasters of four bands of reflectances, drawn by seed: a river, fields and woods. Bands overlap, so that a
network has to learn, and strokes are short. All are scored on the same pixels, those that exist with a border, too.
``--borders`` also takes a border that NaN or a mask declares. Studies, trainings and their logs are in
``output/benchmarks/nodata``; a training that is there is not repeated. Writes ``nodata.json`` and ``.md`` beside it.
"""

from __future__ import annotations

import argparse
import json
import shlex
import warnings
from pathlib import Path
from statistics import mean
from typing import Any

import numpy as np
import rasterio
from PIL import Image

from data_prep.__main__ import main as data_prep
from data_prep.engine.summary import training_command
from medwsss.experiments import runs
from medwsss.keys import UNLABELED, VOID
from medwsss.reports.results import score
from tests.benchmarks.report import OUTPUT, machine, save, table

SHAPE, SCENES, MASKED = (72, 104), 7, 3  # rows and columns; scenes; the last ones have dense masks
MEANS = np.array([[0.30, 0.35, 0.25, 0.55], [0.10, 0.15, 0.20, 0.05], [0.20, 0.40, 0.15, 0.75]])  # class x band
BORDERS = ("none", "-9999", "nan", "mask")
OVERRIDES = (
    " --patch_size [48,48] --epochs {epochs} --val_interval {epochs} --solver_steps 5 --seed {seed} --device cpu"
)


def scene(seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Bands ``4 H W``, classes ``H W``, and where there is an image."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]]
    classes = np.zeros(SHAPE, np.uint8)
    classes[(y - rng.uniform(20, 50)) ** 2 / 200 + (x - rng.uniform(40, 80)) ** 2 / 400 < 1] = 2
    classes[np.abs(y - 36 - 18 * np.sin(x / 15 + rng.uniform(0, 6))) < 6] = 1
    bands = MEANS[classes].transpose(2, 0, 1) + rng.normal(0, 0.08, (4, *SHAPE))
    return bands.clip(0.001, 1).astype(np.float32), classes, x + y > rng.integers(36, 56)


def strokes(classes: np.ndarray, exists: np.ndarray) -> np.ndarray:
    """A run of pixels along the middle row of each class."""
    out = np.full(SHAPE, UNLABELED, np.uint8)
    for k in range(len(MEANS)):
        rows, columns = np.nonzero((classes == k) & exists)
        row = int(np.median(rows))
        out[row, columns[rows == row][:20]] = k
    return out


def write(path: Path, bands: np.ndarray, exists: np.ndarray, border: str) -> None:
    """A GeoTIFF with the border declared that way."""
    gone = {"-9999": -9999.0, "nan": np.nan}.get(border)
    filled = np.where(exists, bands, {"none": bands, "mask": np.float32(-3e4)}.get(border, np.float32(gone or 0)))
    size = {"count": 4, "height": SHAPE[0], "width": SHAPE[1], "dtype": "float32"}
    place = rasterio.transform.from_origin(5e5, 5e6, 10, 10)
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True):
        with rasterio.open(path, "w", "GTiff", nodata=gone, transform=place, crs="EPSG:32633", **size) as raster:
            raster.write(filled.astype(np.float32))
            if border == "mask":
                raster.write_mask(exists)


def study(border: str, folder: Path) -> Path:
    """The data list of the converted study; strokes, and the pixels that are scored, are those of any other border."""
    source = folder / "source"
    for name in ("images", "scribbles", "labels"):
        (source / name).mkdir(parents=True, exist_ok=True)
    for index in range(SCENES):
        bands, classes, exists = scene(index)
        write(source / f"images/{index}.tif", bands, exists, border)
        Image.fromarray(strokes(classes, exists)).save(source / f"scribbles/{index}.png")
        if index >= SCENES - MASKED:
            Image.fromarray(np.where(exists, classes, VOID)).save(source / f"labels/{index}.png")
    classes_of = {"field": 0, "river": 1, "wood": 2}
    labels = {"labels": classes_of, "ignore_values": [UNLABELED], "void_values": [VOID]}
    (source / "labels.json").write_text(json.dumps(labels))
    words = ["folder", "--source", source, "--labels", source / "labels.json", "--scribbles", "scribbles"]
    options = ["--validation-share", 0.99, "--workers", 1, "--output", folder / "study"]
    if data_prep([str(word) for word in [*words, *options]]):
        raise SystemExit(1)  # it has said why
    return folder / "study" / "dataset.json"


def main() -> None:
    """Convert, train, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--borders", nargs="+", choices=BORDERS, default=BORDERS[:2])
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--seeds", type=int, nargs="+", default=(0, 1, 2))
    arguments = parser.parse_args()
    rows: list[dict[str, Any]] = []
    for border in arguments.borders:
        folder = OUTPUT / "nodata" / border
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", PendingDeprecationWarning)
            datalist = study(border, folder)
        scores = []
        for seed in arguments.seeds:
            run = folder / f"run_{arguments.epochs}_{seed}"
            command = training_command(datalist) + OVERRIDES.format(epochs=arguments.epochs, seed=seed)
            line = runs.run([*shlex.split(command)[1:], "--output_dir", str(run)], run, threads=1)
            scores.append(score(line))
            print(f"border declared by {border}, seed {seed}: mIoU {scores[-1]:.3f}", flush=True)
        rows.append({"border": border, "miou": mean(scores), "seeds": scores, "command": command})
    report = {"machine": machine(), "epochs": arguments.epochs, "rows": rows}
    print(save("nodata", report, table(rows, {"border": "border declared by", "miou": "mIoU", "seeds": "seeds"})))


if __name__ == "__main__":
    main()
