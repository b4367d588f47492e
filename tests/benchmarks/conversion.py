# SPDX-License-Identifier: Apache-2.0
"""How long ``python -m data_prep acdc`` takes for all 200 volumes of the challenge's training set, on two processes.

    python -m tests.benchmarks.conversion [--data ../shared/data/acdc] [--workers 2]

Makes the official tree of 100 patients in a temporary folder, from the volumes of ``--data`` over and over, and prints
the seconds of the whole command, start of Python included.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
from itertools import cycle
from pathlib import Path
from time import perf_counter

PATIENTS, FRAMES = 100, (1, 12)


def make_tree(data: Path, folder: Path) -> None:
    """The challenge's ``training`` and the scribble archive, from a data list with image, mask and scribble."""
    study = json.loads((data / "dataset.json").read_text())
    items = cycle(study["training"] + study["validation"])
    (folder / "scribbles").mkdir()
    for patient in (f"patient{number:03d}" for number in range(1, PATIENTS + 1)):
        target = folder / "ACDC" / "training" / patient
        target.mkdir(parents=True)
        (target / "Info.cfg").write_text("ED: {}\nES: {}\n".format(*FRAMES))
        for frame, item in zip(FRAMES, items):
            name = f"{patient}_frame{frame:02d}"
            shutil.copyfile(data / item["image"], target / f"{name}.nii.gz")
            shutil.copyfile(data / item["mask"], target / f"{name}_gt.nii.gz")
            shutil.copyfile(data / item["scribble"], folder / "scribbles" / f"{name}_scribble.nii.gz")


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("../shared/data/acdc"))
    parser.add_argument("--workers", type=int, default=2)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make_tree(options.data, folder)
        command = [sys.executable, "-m", "data_prep", "acdc", "--source", str(folder / "ACDC"), "--split", "acdc"]
        command += ["--scribbles", str(folder / "scribbles"), "--output", str(folder / "output")]
        start = perf_counter()
        subprocess.run([*command, "--workers", str(options.workers)], check=True)
        print(f"{PATIENTS * len(FRAMES)} volumes in {perf_counter() - start:.1f} s with {options.workers} processes")


if __name__ == "__main__":
    main()
