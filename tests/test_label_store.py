# SPDX-License-Identifier: Apache-2.0
"""Generations of labels on disk: what counts as there, and what may go."""

from __future__ import annotations

import numpy as np
import pytest

from medwsss.label_store import LabelStore, name_cases

Y = np.array([[0.25, 1.0], [0.75, 0.0]], np.float32)


@pytest.fixture
def store(tmp_path):
    return LabelStore(tmp_path / "labels")


def fill(store, generation, origin="a", before=None, cases=("x",), opinion=None):
    store.begin(generation, origin, before)
    for case in cases:
        store.write(generation, case, Y, opinion, {"solver_steps": 3})


def test_what_is_written_is_read(store):
    assert store.current is None and store.labels("x") is None
    fill(store, 1, opinion=Y.T)
    store.current = 1
    y = store.labels("x")
    assert isinstance(y, np.memmap) and y.dtype == np.float16 and np.array_equal(y, Y)
    assert np.array_equal(store.opinion(1, "x"), Y.T) and store.figures(1, "x") == {"solver_steps": 3}
    store.current = None
    assert store.labels("x") is None


def test_readers_in_other_processes_see_the_present_generation(store):
    """Each looks for itself, whenever it reads."""
    reader = LabelStore(store.folder)
    for generation in (1, 4):
        store.begin(generation, "a", generation - 1)
        store.write(generation, "x", Y * 0 + generation, None, {})
        store.current = generation
        assert (reader.labels("x") == generation).all()


def test_an_unfinished_generation_goes_on_if_it_is_the_same(store):
    fill(store, 1, "a")
    fill(store, 5, "b", 1, cases=("x",))
    assert not store.is_whole(5, "b", ("x", "z"))
    store.begin(5, "b", 1)
    assert store.has(5, "x") and store.has(1, "x")
    store.begin(5, "other", 1)  # weights or options that those labels do not come from
    assert not store.has(5, "x") and store.origin(5) == "other" and store.has(1, "x")


def test_what_another_run_left_is_nobodys(store):
    """A generation between the last and the new one is not of this training, nor is a later one."""
    for generation in (1, 3, 9):
        fill(store, generation, before=generation - 1)
    store.begin(5, "b", 1)
    assert [store.origin(generation) for generation in (1, 3, 5, 9)] == ["a", None, "b", None]


@pytest.mark.parametrize("epoch, left", [(2, [1, 5, 9]), (4, [1, 5, 9]), (5, [5, 9]), (8, [5, 9]), (9, [9]), (20, [9])])
def test_the_generation_of_the_oldest_checkpoint_stays(store, epoch, left):
    """A checkpoint of epoch 8 was trained with the labels of 5 and goes on with them."""
    for generation in (1, 5, 9):
        fill(store, generation, before=generation - 1)
    store.forget_before(epoch)
    assert [generation for generation in (1, 5, 9) if store.has(generation, "x")] == left


def test_names():
    items = [{"image": ["a/t1.nii.gz", "a/t2.nii.gz"], "scribble": s} for s in ("one.nii.gz", "two.nii.gz")]
    items += [{"image": "b/t1.nii.gz", "scribble": "one.nii.gz"}]
    names = [item["case"] for item in name_cases(items)]
    assert len(set(names)) == 3 and all(name.startswith("t1-") for name in names)
    assert names == [item["case"] for item in name_cases(items)] and "case" not in items[0]
