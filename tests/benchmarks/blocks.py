# SPDX-License-Identifier: Apache-2.0
"""Pseudo-labels in blocks: equal to the whole, through kills, in more processes, at fixed memory.

    python -m tests.benchmarks.blocks equal             # 2-D, and 96³, bit for bit
    python -m tests.benchmarks.blocks kills             # 20 workers and 10 drivers die by SIGKILL at random
    python -m tests.benchmarks.blocks full --on DISK    # a small one (tmpfs), which is filled
    python -m tests.benchmarks.blocks scaling           # one worker and two
    python -m tests.benchmarks.blocks memory --side 20000

Each makes its image, of which noise hides a wavy border, runs ``medwsss blocks labels`` and checks or measures it.
Writes ``output/benchmarks/blocks_NAME.json`` and ``.md``.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np

from medwsss.keys import UNLABELED
from tests.benchmarks.report import machine, save, table

CLASSES = 3
SLAB = 2**24  # voxels that are drawn at once
PAUSE = (0.5, 2.5)  # seconds between kills


def write_study(folder: Path, shape: tuple[int, ...]) -> Path:
    """A case in NPY of any size, written slab by slab."""
    folder.mkdir(parents=True, exist_ok=True)
    image = np.lib.format.open_memmap(folder / "image.npy", "w+", np.uint8, shape)
    scribble = np.lib.format.open_memmap(folder / "scribble.npy", "w+", np.uint8, shape)
    noise, rest = np.random.default_rng(0), int(np.prod(shape[1:]))
    rows = max(1, SLAB // rest)
    for start in range(0, shape[0], rows):
        stop = min(start + rows, shape[0])
        places = np.indices((stop - start, *shape[1:]), np.float32)
        band = ((places[0] + start + 9 * np.sin(places[-1] / 17)) // 64).astype(np.int64) % CLASSES
        image[start:stop] = (60 + 60 * band + noise.normal(0, 12, band.shape)).clip(0, 255)
        scribble[start:stop] = UNLABELED
        stroke = (noise.random(band.shape, np.float32) < 0.001) & (image[start:stop] // 60 - 1 == band)
        scribble[start:stop][stroke] = band[stroke]
    content = {"labels": {str(k): f"class {k}" for k in range(CLASSES)}, "ignore_values": [UNLABELED]}
    content["training"] = [{"image": "image.npy", "scribble": "scribble.npy"}]
    (folder / "dataset.json").write_text(json.dumps(content))
    return folder / "dataset.json"


def command(datalist: Path, output: Path, *more: Any) -> list[str]:
    words = ["-m", "medwsss", "blocks", "labels", datalist, "--output", output, *more]
    return [sys.executable, *map(str, words)]


def run(datalist: Path, output: Path, *more: Any) -> float:
    """Wall seconds of a run that has to succeed."""
    start = time.perf_counter()
    subprocess.run(command(datalist, output, *more), check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - start


def digest(output: Path) -> str:
    """Of all files of a result but marks and plan, whose paths differ."""
    files = sorted(path for path in output.rglob("*") if path.is_file() and "done" not in path.parts)
    files = [path for path in files if path.name != "plan.json"]
    found = sha256()
    for path in files:
        found.update(f"{path.relative_to(output)}\n".encode() + sha256(path.read_bytes()).digest())
    return found.hexdigest()


def marks(output: Path) -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in (output / "done").rglob("*.json")}


def equal(folder: Path, told: argparse.Namespace) -> list[dict[str, Any]]:
    """Blocks, and one block that is the whole."""
    import zarr

    rows = []
    for name, shape, core, more in (
        ("2-D, 30 steps", (700, 720), 256, []),
        ("2-D, 30 steps, 3 levels", (700, 720), 256, ["--start", "levels"]),
        ("96³, 20 steps", (96, 96, 96), 48, ["--steps", 20]),
        ("96³, 8 steps, 1 level", (96, 96, 96), 32, ["--steps", 8, "--start", "levels"]),
    ):
        datalist = write_study(folder / name.replace(" ", "_"), shape)
        found = {}
        for side in (core, max(shape)):
            run(datalist, datalist.parent / str(side), "--core", side, *more)
            found[side] = zarr.open_array(datalist.parent / str(side) / "image.zarr")[:]
        plan = json.loads((datalist.parent / str(core) / "plan.json").read_text())
        blocks = len(list((datalist.parent / str(core) / "done" / "image").iterdir()))
        differ = int((found[core] != found[max(shape)]).any(0).sum())
        halo = plan["cases"][0]["halo"][0]
        rows.append({"problem": name, "core": core, "halo": halo, "blocks": blocks, "voxels that differ": differ})
    return rows


def kills(folder: Path, told: argparse.Namespace) -> list[dict[str, Any]]:
    """Processes die at random, runs go on, and nothing is lost, done twice or left behind."""
    datalist = write_study(folder, (told.side or 1280,) * 2)
    how = ["--core", 32, "--steps", 8, "--workers", 2]
    run(datalist, folder / "once", *how)
    rng, output = random.Random(told.seed), folder / "killed"
    left, seen, again = ["worker"] * told.workers + ["driver"] * told.drivers, dict[Path, int](), set[Path]()
    rng.shuffle(left)
    while True:
        driver = subprocess.Popen(command(datalist, output, *how), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        while left and driver.poll() is None:
            before = len(marks(output))
            while driver.poll() is None and len(marks(output)) == before:
                time.sleep(0.1)
            time.sleep(rng.uniform(*PAUSE))
            now = marks(output)
            again |= {path for path in seen.keys() & now.keys() if seen[path] != now[path]}
            seen |= now
            victims = children(driver.pid) if left[0] == "worker" else [driver.pid]
            if victims:
                os.kill(rng.choice(victims), signal.SIGKILL)
                if left.pop(0) == "driver":
                    break
        if driver.wait() == 0:
            break
    now = marks(output)
    again |= {path for path in seen.keys() & now.keys() if seen[path] != now[path]}
    return [
        {
            "killed workers": told.workers - left.count("worker"),
            "killed drivers": told.drivers - left.count("driver"),
            "blocks": len(now),
            "done twice": len(again),
            "same bytes": digest(output) == digest(folder / "once"),
            "left behind": len([*output.rglob("*.partial"), *output.rglob("*.tmp")]),
        }
    ]


def full(folder: Path, told: argparse.Namespace) -> list[dict[str, Any]]:
    """A disk without room for the result, then with more, and with enough."""
    datalist = write_study(folder, (told.side or 768,) * 2)
    how = ["--core", 64, "--steps", 8, "--workers", 2]
    run(datalist, folder / "once", *how)
    needed = sum(path.stat().st_size for path in (folder / "once").rglob("*") if path.is_file())
    output, ballast = told.on / "blocks", told.on / "ballast"
    rows, seen = [], dict[Path, int]()
    for share in (0.05, 0.3, 0.7, None):
        ballast.unlink(missing_ok=True)
        if share is not None:
            with open(ballast, "wb") as file:
                os.posix_fallocate(file.fileno(), 0, max(shutil.disk_usage(told.on).free - int(share * needed), 1))
        ended = subprocess.run(command(datalist, output, *how), capture_output=True, text=True)
        now, told_last = marks(output), ended.stderr.strip().splitlines()[-1:]
        twice = sum(seen[path] != now.get(path) for path in seen)
        told_last = [line.replace(str(told.on), "DISK") for line in told_last]
        row = {
            "room for": share or "all",
            "exit": ended.returncode,
            "error": "".join(told_last) if ended.returncode else "",
        }
        rows.append(row | {"blocks": len(now), "done twice": twice})
        seen = now
    left = len([*output.rglob("*.partial"), *output.rglob("*.tmp")])
    return [row | {"same bytes": digest(output) == digest(folder / "once"), "left behind": left} for row in rows]


def children(pid: int) -> list[int]:
    try:
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except (FileNotFoundError, ProcessLookupError):
        return []


def scaling(folder: Path, told: argparse.Namespace) -> list[dict[str, Any]]:
    """Wall seconds of the blocks alone, the plan being there."""
    datalist = write_study(folder, (told.side or 4096,) * 2)
    rows: list[dict[str, Any]] = []
    for workers in (1, 2):
        output = folder / str(workers)
        run(datalist, output, "--core", 512, "--plan-only")
        seconds = run(datalist, output, "--core", 512, "--workers", workers)
        rows.append({"workers": workers, "seconds": round(seconds, 1), "blocks": len(marks(output))})
    return [row | {"times faster": round(rows[0]["seconds"] / row["seconds"], 2)} for row in rows]


def memory(folder: Path, told: argparse.Namespace) -> list[dict[str, Any]]:
    """Resident memory of the largest process."""
    side = told.side or 20000
    datalist = write_study(folder, (side, side))
    seconds = run(datalist, folder / "out", "--steps", told.steps)
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    return [{"side": side, "seconds": round(seconds), "peak MiB": round(peak)}]


def main() -> None:
    """Measure, write, print."""
    tasks = {"equal": equal, "kills": kills, "full": full, "scaling": scaling, "memory": memory}
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("task", choices=tasks)
    parser.add_argument("--side", type=int, help="of the image")
    parser.add_argument("--steps", type=int, default=30, help="of the solver, for memory")
    parser.add_argument("--workers", type=int, default=20, help="to be killed")
    parser.add_argument("--drivers", type=int, default=10, help="to be killed")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--on", type=Path, help="folder of a small disk, to be filled")
    told = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        rows = tasks[told.task](Path(folder), told)
    print(
        save(f"blocks_{told.task}", {"machine": machine(), "rows": rows}, table(rows, {name: name for name in rows[0]}))
    )


if __name__ == "__main__":
    main()
