# SPDX-License-Identifier: Apache-2.0
"""Peak memory of ``medwsss infer`` on the CPU, by the number of classes.

    python -m tests.benchmarks.inference_memory --classes 5 60 --shape 256 256 96
    python -m tests.benchmarks.inference_memory --scene 20000 --run RUN

Each figure is the kernel's high-water mark of a process of its own, which predicts one synthetic volume of 16 bits with
a U-Net of two levels and random weights, with uncertainty beside it; or a GeoTIFF of three bands and so many pixels a
side by a run of ``bundles/remote_sensing`` on three bands. Writes ``output/benchmarks/inference_memory.json``
and ``.md``.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from multiprocessing import Process
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import rasterio
from rasterio.windows import Window

from tests.benchmarks.report import machine, save, table
from tests.bundles.runs import write_run

SLAB = 2**22  # pixels that are drawn at once


def measure(classes: int, shape: list[int], patch: list[int]) -> dict[str, Any]:
    """Peak and CPU seconds of one prediction."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_run(folder / "run", num_classes=classes, spatial_dims=3, patch_size=patch)
        (folder / "images").mkdir()
        voxels = np.random.default_rng(0).integers(0, 1000, shape, np.int16)
        nib.save(nib.Nifti1Image(voxels, np.diag([1, 1, 3, 1.0])), folder / "images" / "volume.nii.gz")
        found = cost("infer", folder / "run", folder / "images", "--uncertainty", "True")
    return {"classes": classes, **found}


def cost(*words: Any) -> dict[str, float]:
    """Peak and CPU seconds of a command."""
    command = [sys.executable, "-m", "medwsss", *map(str, words), "--device", "cpu"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise ChildProcessError(f"expected a prediction, got exit status {status}")
    return {"peak_gib": usage.ru_maxrss / 2**20, "cpu_seconds": usage.ru_utime + usage.ru_stime}


def draw(path: Path, side: int) -> None:
    """A scene of wavy bands with noise, half a metre a pixel."""
    rng, rows = np.random.default_rng(0), SLAB // side
    tiles = {"tiled": True, "blockxsize": 512, "blockysize": 512}
    place = {"crs": "EPSG:32615", "transform": rasterio.transform.from_origin(5e5, 4e6, 0.5, 0.5)}
    size = {"width": side, "height": side, "count": 3, "dtype": "uint8"}
    with rasterio.open(path, "w", driver="GTiff", **tiles, **place, **size) as file:
        for row in range(0, side, rows):
            y, x = np.indices((min(rows, side - row), side), np.float32)
            band = 60 + 60 * ((y + row + 99 * np.sin(x / 170)) // 300 % 3)
            values = np.stack([(band + rng.normal(0, 12, band.shape)).clip(0, 255).astype(np.uint8)] * 3)
            file.write(values, window=Window(0, row, side, len(band)))


def measure_scene(side: int, run: Path) -> dict[str, Any]:
    """Peak and CPU seconds of one prediction; drawn elsewhere, as a process begins with the peak of its parent."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "scenes"
        folder.mkdir()
        drawing = Process(target=draw, args=(folder / "scene.tif", side))
        drawing.start()
        drawing.join()
        return {"side": side, **cost("infer", run, folder, "--output_dir", Path(name) / "maps")}


def main() -> None:
    """Measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--classes", type=int, nargs="+", default=[5, 60])
    parser.add_argument("--shape", type=int, nargs=3, default=[256, 256, 96])
    parser.add_argument("--patch", type=int, nargs=3, default=[64, 64, 32])
    parser.add_argument("--scene", type=int, metavar="SIDE", help="of a scene, in the place of volumes")
    parser.add_argument("--run", type=Path, help="that predicts the scene")
    arguments = parser.parse_args()
    if arguments.scene and not arguments.run:
        parser.error("expected --run with --scene")
    if arguments.scene:
        rows = [measure_scene(arguments.scene, arguments.run)]
        titles = {"side": "side", "peak_gib": "peak, GiB", "cpu_seconds": "CPU seconds"}
        print(save("inference_memory_scene", {"machine": machine(), "rows": rows}, table(rows, titles)))
        return
    rows = [measure(classes, arguments.shape, arguments.patch) for classes in arguments.classes]
    titles = {"classes": "classes", "peak_gib": "peak, GiB", "cpu_seconds": "CPU seconds"}
    report = {"machine": machine(), "shape": arguments.shape, "patch": arguments.patch, "rows": rows}
    print(save("inference_memory", report, table(rows, titles)))


if __name__ == "__main__":
    main()
