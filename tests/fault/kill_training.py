# SPDX-License-Identifier: Apache-2.0
"""Kill trainings of the bundle at random moments, run each again, and compare with one that was left alone.

``python -m tests.fault --kills 20`` prints how many of them ended bit-equal; ``--bundle image_tags`` is the bundle for
tags, with sampled importance losses.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from ignite.engine import Events

from data_prep.phantom import make_phantom_study
from tests.bundles import bundle, tags
from tests.bundles.bundle import blank_pictures, execute
from tests.toy_training import in_process, observed_writes, processes

# the server that processes are forked from imports everything once
processes.set_forkserver_preload(
    ["tests.fault.kill_training", "torch._dynamo", "torch.utils.tensorboard", "matplotlib.figure"]
    + ["medwsss.handlers", "medwsss.losses", "medwsss.transforms", "medwsss.metrics", "medwsss.engines"]
)

EPOCHS = 3
BUNDLES: dict[str, Any] = {"scribble": bundle, "image_tags": tags}


def train_struck(
    study: Path, output: Path, number: int = 0, at: int = 0, of: str = "scribble", **overrides: Any
) -> None:
    """Train quietly; at the ``at``-th point (an iteration, or a step of writing a file) send itself a signal."""
    sys.stdout = sys.stderr = open(os.devnull, "w")
    torch.set_num_threads(1)
    where = {"dataset_dir": str(study), "output_dir": str(output)}
    flow = BUNDLES[of].workflow(
        "train", **{**BUNDLES[of].TINY, "epochs": EPOCHS, "val_interval": 1, **where, **overrides}
    )
    flow.initialize()
    passed = 0

    def point(_: Any = None) -> None:
        nonlocal passed
        passed += 1
        if passed == at:
            os.kill(os.getpid(), number)

    trainer = flow.parser.get_parsed_content("train#trainer")
    trainer.add_event_handler(Events.ITERATION_STARTED | Events.ITERATION_COMPLETED, point)
    with observed_writes(point), blank_pictures():
        execute(flow)
    if not number:
        (output / "points").write_text(str(passed))


def outcome(output: Path) -> dict[str, Any]:
    """What has to be equal, to the bit: every value in the best weights and in the last full state but the folder."""
    files = (output / "model.pt", output / "checkpoints" / f"checkpoint_epoch={EPOCHS}.pt")
    leaves = (leaf for path in files for leaf in _leaves(torch.load(path, weights_only=True), path.stem))
    return {name: value for name, value in leaves if not name.endswith("settings/output_dir")}


def _leaves(value: Any, name: str) -> Iterator[tuple[str, Any]]:
    """Not the files' own bytes: pickle also writes which of two equal texts is one object."""
    if isinstance(value, torch.Tensor):
        yield name, (value.dtype, value.shape, value.numpy().tobytes())
    elif isinstance(value, dict):
        for key in value:
            yield from _leaves(value[key], f"{name}/{key}")
    elif isinstance(value, list | tuple):
        for index, item in enumerate(value):
            yield from _leaves(item, f"{name}/{index}")
    else:
        yield name, repr(value)


def kill_and_compare(folder: Path, study: Path, kills: int, seed: int = 0, **overrides: Any) -> list[tuple[int, bool]]:
    """``kills`` times: the point struck, and whether the resumed run ended as the unbroken one."""
    assert in_process(train_struck, study, folder / "unbroken", **overrides) == 0
    expected = outcome(folder / "unbroken")
    points = int((folder / "unbroken" / "points").read_text())
    chooser, results = random.Random(seed), []
    for kill in range(kills):
        at, output = chooser.randint(1, points), folder / f"killed_{kill}"
        code = in_process(train_struck, study, output, signal.SIGKILL, at, **overrides)
        assert code == -signal.SIGKILL, f"expected a kill at point {at} of {points}, got exit code {code}"
        code = in_process(train_struck, study, output, **overrides)
        results.append((at, code == 0 and outcome(output) == expected))
    return results


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--bundle", choices=sorted(BUNDLES), default="scribble")
    parser.add_argument("--workers", type=int, default=0, help="data-loading processes")
    parser.add_argument("--seed", type=int, default=0, help="of the choice of moments")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        study = Path(folder) / "study"
        if options.bundle == "scribble":
            make_phantom_study(study, training=3, validation=2, shape=(24, 24, 8))
        else:
            tags.write_study(study)
        more = {"workers": options.workers, "of": options.bundle}
        results = kill_and_compare(Path(folder), study, options.kills, options.seed, **more)
    for at, equal in results:
        print(f"killed at point {at}: {'equal' if equal else 'DIFFERENT'}")
    equal = sum(good for _, good in results)
    print(f"{equal} of {len(results)} resumed runs ended bit-equal to the unbroken one")
    raise SystemExit(equal != len(results))
