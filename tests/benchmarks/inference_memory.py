# SPDX-License-Identifier: Apache-2.0
"""Peak memory of ``medwsss infer`` on the CPU, by the number of classes.

    python -m tests.benchmarks.inference_memory --classes 5 60 --shape 256 256 96

Each figure is the kernel's high-water mark of a process of its own, which predicts one synthetic volume of 16 bits with
a U-Net of two levels and random weights, with uncertainty beside it. Writes ``output/benchmarks/inference_memory.json``
and ``.md``.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np

from tests.benchmarks.report import machine, save, table
from tests.bundles.runs import write_run


def measure(classes: int, shape: list[int], patch: list[int]) -> dict[str, Any]:
    """Peak and CPU seconds of one prediction."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_run(folder / "run", num_classes=classes, spatial_dims=3, patch_size=patch)
        (folder / "images").mkdir()
        voxels = np.random.default_rng(0).integers(0, 1000, shape, np.int16)
        nib.save(nib.Nifti1Image(voxels, np.diag([1, 1, 3, 1.0])), folder / "images" / "volume.nii.gz")
        words = ["infer", str(folder / "run"), str(folder / "images"), "--uncertainty", "True", "--device", "cpu"]
        process = subprocess.Popen([sys.executable, "-m", "medwsss", *words], stdout=subprocess.DEVNULL)
        _, status, usage = os.wait4(process.pid, 0)
        if status:
            raise ChildProcessError(f"expected a prediction, got exit status {status}")
    seconds = usage.ru_utime + usage.ru_stime
    return {"classes": classes, "peak_gib": usage.ru_maxrss / 2**20, "cpu_seconds": seconds}


def main() -> None:
    """Measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--classes", type=int, nargs="+", default=[5, 60])
    parser.add_argument("--shape", type=int, nargs=3, default=[256, 256, 96])
    parser.add_argument("--patch", type=int, nargs=3, default=[64, 64, 32])
    arguments = parser.parse_args()
    rows = [measure(classes, arguments.shape, arguments.patch) for classes in arguments.classes]
    titles = {"classes": "classes", "peak_gib": "peak, GiB", "cpu_seconds": "CPU seconds"}
    report = {"machine": machine(), "shape": arguments.shape, "patch": arguments.patch, "rows": rows}
    print(save("inference_memory", report, table(rows, titles)))


if __name__ == "__main__":
    main()
