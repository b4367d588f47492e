# SPDX-License-Identifier: Apache-2.0
"""Processes that work beside a parent that has used threads, or in the place of one that must not crash."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from functools import partial

import pytest

from medwsss.parallel import contained, parallel_map
from tests.bundles.bundle import REPOSITORY

SCRIPT = """
import torch
from medwsss.parallel import parallel_map

def total(n):
    return float(torch.ones(n, 1 << 20).softmax(1).sum())

if __name__ == "__main__":
    torch.set_num_threads(2)
    total(2)
    print(sorted(round(result) for _, result in parallel_map(total, [1, 2, 3], 2)))
"""


def test_workers_of_a_parent_with_threads_do_their_work(tmp_path):
    (tmp_path / "script.py").write_text(SCRIPT)
    command = [sys.executable, str(tmp_path / "script.py")]
    # Without one thread a worker this waits forever.
    done = subprocess.run(
        command, cwd=REPOSITORY, env={"PYTHONPATH": str(REPOSITORY)}, capture_output=True, text=True, timeout=120
    )
    assert done.stdout.strip() == "[1, 2, 3]", done.stderr


@pytest.mark.parametrize("ordered", [True, False])
def test_results_in_the_order_of_inputs(tmp_path, ordered):
    """The first ends when the last has, so that its result arrives last."""
    inputs = list(range(6))
    found = [n for n, _ in parallel_map(partial(last_first, tmp_path), inputs, 2, ordered=ordered)]
    assert found == inputs if ordered else found[-1] == 0


def last_first(folder, number):
    (folder / str(number)).touch()
    while number == 0 and not (folder / "5").exists():
        os.sched_yield()


def test_what_crashes_or_loops_ends_alone():
    with pytest.raises(ValueError, match="SIGKILL"):
        contained(lambda allow: os.kill(os.getpid(), signal.SIGKILL))
    with pytest.raises(ValueError, match="SIGXCPU: a library crashed or went on for ever"):
        contained(lambda allow: loop(allow(0)))
    with pytest.raises(KeyError, match="what it raised"):
        contained(lambda allow: {}["what it raised"])
    assert contained(lambda allow: None) is None


def loop(_):
    while True:
        pass
