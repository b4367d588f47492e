# SPDX-License-Identifier: Apache-2.0
"""What is sent to processes that load data can be sent: Windows and macOS start them anew instead of forking."""

from __future__ import annotations

import subprocess
import sys
from multiprocessing.reduction import ForkingPickler

import pytest

from tests.bundles import bundle
from tests.bundles import photographs as pictures
from tests.bundles.bundle import REPOSITORY

SCRIPT = """
import multiprocessing, sys
from pathlib import Path
from tests.bundles.bundle import train

multiprocessing.set_start_method("spawn")
train(Path(sys.argv[1]), Path(sys.argv[2]), epochs=2, warmup_epochs=0, workers=1, labels="volume", refreshes=1)
"""


@pytest.mark.parametrize(
    "names, changes",
    [
        (["train"], {}),
        (["train"], {"spatial_dims": 2, "patch_size": [16, 16], "held_out_share": 0.5}),
        (["train", "full"], {}),
        (["train"], {"labels": "volume", "patches_from": "everywhere"}),
    ],
    ids=["volumes", "slices", "dense", "labels of volumes"],
)
def test_loaders_of_volumes(study, tmp_path, names, changes):
    send(bundle.workflow(*names, **{**bundle.TINY, **changes}, dataset_dir=str(study), output_dir=str(tmp_path)))


def test_loaders_of_photographs(photographs, tmp_path):
    where = {"dataset_dir": str(photographs), "output_dir": str(tmp_path)}
    send(pictures.workflow("train", "small", **pictures.TINY, **where))


def send(flow):
    flow.initialize()
    for part in ("train", "validate"):
        loader = flow.parser.get_parsed_content(f"{part}#dataloader")
        assert ForkingPickler.dumps((loader.dataset, loader.sampler, loader.collate_fn, loader.worker_init_fn))


@pytest.mark.longest
def test_training_with_spawned_workers(study, tmp_path):
    command = [sys.executable, "-c", SCRIPT, str(study), str(tmp_path / "out")]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    assert (tmp_path / "out" / "checkpoints" / "checkpoint_epoch=2.pt").exists()
