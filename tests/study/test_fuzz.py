# SPDX-License-Identifier: Apache-2.0
"""A few mutants of every format; ``python -m tests.benchmarks.fuzz`` has thousands, watched from outside."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("rasterio")
pytest.importorskip("pydicom")

from tests.benchmarks.fuzz import FINE, Fuzz, outcome  # noqa: E402

MUTANTS = 189  # seven of each


@pytest.fixture(scope="module")
def fuzz(tmp_path_factory):
    return Fuzz(tmp_path_factory.mktemp("fuzz"), seed=0)


def test_mutants_are_refused_by_name_or_read_as_if_whole(fuzz):
    rows = [fuzz.read(index) for index in range(1, MUTANTS + 1)]
    assert [row for row in rows if row["outcome"] not in FINE] == []
    assert {row["format"] for row in rows} == set(fuzz.samples)


def test_damage_that_is_let_pass_is_seen_by_the_fuzz(fuzz, tmp_path):
    path = tmp_path / "a.npy"
    np.save(path, np.ones((2, 3)))
    assert outcome(path, np.ones((1, 2, 3)), guarded=True)[0] == "same voxels"
    assert outcome(path, np.zeros((1, 2, 3)), guarded=True)[0] == "damaged"
    assert outcome(path, np.zeros((1, 2, 3)), guarded=False)[0] == "no checksum there"
    path.write_bytes(b"")
    assert outcome(path, np.ones((1, 2, 3)), guarded=True)[0] == "refused"
