# SPDX-License-Identifier: Apache-2.0
"""The bundle trains with labels of whole volumes: which they are, where they reach, and that a kill changes nothing."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from medwsss.keys import CASE, PSEUDO_LABEL, SCRIBBLE, UNLABELED
from medwsss.solvers import with_spacing
from medwsss.terms.simplex import seed_mask
from tests.bundles.bundle import TINY, TINY_2D, train, words_of
from tests.bundles.photographs import train as train_on_photographs
from tests.bundles.test_training import of
from tests.fault.kill_training import kill_and_compare
from tests.toy_training import Typed, free_port

VOLUME = {"labels": "volume", "patches_from": "everywhere", "warmup_epochs": 0, "refreshes": 0, "keep_labels": True}
UNTURNED = {"affine_prob": 0.0, "flip_prob": 0.0, "batch_size": 1}


@pytest.mark.parametrize("sizes", [TINY, TINY_2D], ids=["volumes", "slices"])
def test_labels_are_those_of_the_volume(study, tmp_path, sizes):
    """Solved in space, also for a network of slices; in patches, each stands where its image was."""
    flow = train(study, tmp_path, **{**sizes, **VOLUME, **UNTURNED, "epochs": 1})
    solver = with_spacing(of(flow, "solver"), [1, 1, 2.5])
    volumes = {}
    for case in of(flow, "train#cases"):
        uniform = torch.zeros(1, 5, *case["image"].shape[1:])
        image, scribble = (case[key].as_tensor()[None] for key in ("image", SCRIBBLE))
        y = solver(uniform, image, scribble).labels
        np.testing.assert_allclose(of(flow, "label_store").labels(case[CASE]), y[0].numpy(), atol=1e-3)
        volumes[case[CASE]] = image[0], y[0]
    without_seeds = 0
    for _ in range(4):
        for batch in of(flow, "train#dataloader"):
            image, y = volumes[batch[CASE][0]]
            patch = batch["guide"][0].as_tensor().reshape(1, 16, 16, -1)
            place = found(image, patch)
            torch.testing.assert_close(
                batch[PSEUDO_LABEL][0].as_tensor().reshape(5, 16, 16, -1), y[place], atol=1e-3, rtol=0
            )
            without_seeds += not seed_mask(batch[SCRIBBLE]).any()
    assert without_seeds or sizes is TINY  # such a patch has labels, from strokes outside it


def found(image, patch):
    """The slices of ``image`` that ``patch`` is."""
    windows = image[0].unfold(0, 16, 1).unfold(1, 16, 1).unfold(2, patch.shape[-1], 1)
    (place,) = (windows == patch[0]).flatten(3).all(3).nonzero().tolist()
    return (slice(None), *(slice(start, start + size) for start, size in zip(place, patch.shape[1:])))


def test_patches_without_strokes_learn_from_strokes_outside(study, tmp_path):
    flow = train(study, tmp_path, **VOLUME, epochs=1)
    case = of(flow, "train#cases")[0]
    seeds = seed_mask(case[SCRIBBLE])[0].as_tensor()
    corner = next(
        box
        for box in (np.s_[:6, :6, :4], np.s_[-6:, -6:, :4], np.s_[:6, -6:, :4], np.s_[-6:, :6, :4])
        if not seeds[box].any()
    )
    y = torch.from_numpy(np.array(of(flow, "label_store").labels(case[CASE]))).float()[(slice(None), *corner)]
    assert (y.argmax(0) == 0).float().mean() > 0.9 and y[0].mean() > 0.5  # background, of which no stroke is near


def test_augmented_and_held_out(study, tmp_path):
    """Everything that goes along is there, and labels are distributions."""
    flow = train(study, tmp_path, **{**VOLUME, "refreshes": 1}, held_out_share=0.4, affine_prob=1.0, rotate=0.8)
    for batch in of(flow, "train#dataloader"):
        y, free = batch[PSEUDO_LABEL], (batch[SCRIBBLE] == UNLABELED)[:, 0]
        torch.testing.assert_close(y.sum(1).as_tensor(), torch.ones(y.shape[0], *y.shape[2:]))
        assert y.dtype == torch.float32 and free.any() and batch["held_out"].shape == batch[SCRIBBLE].shape
    metrics = of(flow, "train#trainer").state.metrics
    assert metrics["solver_energy_after"] < metrics["solver_energy_before"]
    assert {"pseudo_label_change", "held_out_pseudo_label", "decided_by_seeds"} <= metrics.keys()


def test_photographs(photographs, tmp_path):
    flow = train_on_photographs(photographs, tmp_path, **{**VOLUME, "refreshes": 1})
    cases = of(flow, "train#cases")
    seen, guide = (cases[0][key].as_tensor() for key in ("image", "guide"))
    torch.testing.assert_close(seen * torch.tensor(of(flow, "std"))[:, None, None], guide)  # as in training
    assert of(flow, "pseudo_labels").generation == 2
    batch = next(iter(of(flow, "train#dataloader")))
    torch.testing.assert_close(batch[PSEUDO_LABEL].sum(1).as_tensor(), torch.ones(2, 32, 24))


@pytest.mark.slow
def test_killed_and_resumed_is_bit_equal(study, tmp_path):
    """Also in the middle of writing labels, which are most of the points."""
    settings = {"labels": "volume", "warmup_epochs": 0, "refreshes": 1}
    results = kill_and_compare(tmp_path, study, kills=1, seed=1, **settings)
    assert all(equal for _, equal in results), results


@pytest.mark.slow
def test_two_processes_share_the_cases(study, tmp_path):
    """One of them has two of three; the labels are those of one process."""
    options = {**VOLUME, "epochs": 1, "batch_size": 1}
    words = words_of(study, tmp_path / "two", "train", "multi_gpu_train", **options)
    place = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": free_port(), "WORLD_SIZE": 2}
    for process in [Typed(words, **place, RANK=rank, LOCAL_RANK=rank) for rank in (0, 1)]:
        _, errors = process.communicate()
        assert process.returncode == 0, errors[-3000:]
    train(study, tmp_path / "one", **options)
    one, two = (tmp_path / name / "pseudo_labels" / "epoch=1" for name in ("one", "two"))
    names = sorted(path.name for path in one.glob("*.npy"))
    assert len(names) == 3 and names == sorted(path.name for path in two.glob("*.npy"))
    assert all(np.array_equal(np.load(one / name), np.load(two / name)) for name in names)
