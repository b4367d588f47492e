# SPDX-License-Identifier: Apache-2.0
"""Labels of a volume go into a patch as image and scribble do, and are distributions there."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from monai.data import CacheDataset, MetaTensor
from monai.transforms import Compose, RandAffined, RandFlipd, RandSpatialCropd, SpatialPadd

from medwsss.keys import CASE, PSEUDO_LABEL, SCRIBBLE, UNLABELED, VOID
from medwsss.label_store import LabelStore
from medwsss.transforms import AsDistribution, AsDistributiond, LoadVolumeLabel, LoadVolumeLabeld, VoidFilld

K, SHAPE = 3, (8, 7)
KEYS = ["image", PSEUDO_LABEL, SCRIBBLE]


@pytest.fixture
def store(tmp_path):
    """Labels whose first channel repeats the image."""
    store = LabelStore(tmp_path)
    write(store, 1, labels())
    return store


def labels():
    first = (torch.arange(56).reshape(SHAPE) / 64).half()  # exact in 16 bits
    return torch.stack([first, 1 - first, torch.zeros(SHAPE).half()])


def write(store, generation, y):
    store.begin(generation, "a", generation - 1)
    store.write(generation, "x", y.numpy(), None, {})
    store.current = generation


def case():
    scribble = torch.full((1, *SHAPE), UNLABELED, dtype=torch.uint8)
    return {"image": MetaTensor(labels()[:1].float()), SCRIBBLE: MetaTensor(scribble), CASE: "x"}


def test_labels_are_cut_and_turned_as_the_image_is(store):
    steps = [
        LoadVolumeLabeld(store=store, num_classes=K),
        RandSpatialCropd(KEYS, [4, 5], random_size=False),
        RandFlipd(KEYS, prob=0.5, spatial_axis=0),
        RandAffined(
            KEYS,
            prob=0.5,
            rotate_range=0.9,
            mode=["bilinear", "bilinear", "nearest"],
            padding_mode=["border", "border", "zeros"],
        ),
    ]
    patch = Compose([VoidFilld(SCRIBBLE, steps), AsDistributiond()]).set_random_state(0)
    turned = 0
    for _ in range(20):
        out = patch(case())
        free = out[SCRIBBLE][0] == UNLABELED
        torch.testing.assert_close(out[PSEUDO_LABEL][0][free], out["image"][0][free], atol=1e-6, rtol=0)
        torch.testing.assert_close(out[PSEUDO_LABEL].sum(0), torch.ones(4, 5))
        assert out[PSEUDO_LABEL].dtype == torch.float32 and out[PSEUDO_LABEL].shape == (K, 4, 5)
        turned += bool((out[SCRIBBLE] == VOID).any())
    assert 0 < turned < 20


def test_only_what_is_cut_out_is_read(store, monkeypatch):
    """A view of the file, which nothing that a transform does in place changes."""
    file = store.labels("x")
    monkeypatch.setattr(store, "labels", lambda case: file)
    y = LoadVolumeLabel(store, K)("x", case()[SCRIBBLE])
    assert y.dtype == torch.float16 and np.shares_memory(y[:, 2:4, 2:4].as_tensor().numpy(), file)
    y[:] = 0
    monkeypatch.undo()
    assert torch.equal(torch.from_numpy(store.labels("x")), labels())


def test_padding_is_void(store):
    steps = [LoadVolumeLabeld(store=store, num_classes=K), SpatialPadd(KEYS, [12, 7])]
    out = Compose([VoidFilld(SCRIBBLE, steps), AsDistributiond()])(case())
    assert (out[SCRIBBLE][:, :2] == VOID).all()
    torch.testing.assert_close(out[PSEUDO_LABEL][:, :2], torch.full((K, 2, 7), 1 / K))
    torch.testing.assert_close(out[PSEUDO_LABEL][:, 2:10], labels().float())


def test_a_caching_data_set_sees_new_labels(store):
    data = CacheDataset([case()], LoadVolumeLabeld(store=store, num_classes=K), progress=False)
    assert torch.equal(data[0][PSEUDO_LABEL].as_tensor(), labels())
    write(store, 2, labels().flip(0))
    assert torch.equal(data[0][PSEUDO_LABEL].as_tensor(), labels().flip(0))


def test_uniform_before_there_are_any(tmp_path):
    y = LoadVolumeLabel(LabelStore(tmp_path), 4)("x", torch.zeros(1, *SHAPE))
    assert y.shape == (4, *SHAPE) and (y == 0.25).all()


def test_another_grid_is_refused(store):
    with pytest.raises(ValueError, match=r"expected labels of shape \(3, 8, 6\) for x, got \(3, 8, 7\): delete"):
        LoadVolumeLabel(store, K)("x", torch.zeros(1, 8, 6))


def test_seeds_are_one_hot(shape):
    y, scribble = torch.rand(K, *shape), torch.randint(0, K, (1, *shape))
    scribble[torch.rand(1, *shape) < 0.5] = UNLABELED
    out = AsDistribution()(y, scribble)
    for k in range(K):
        assert (out[k][scribble[0] == k] == 1).all()
    free = scribble[0] == UNLABELED
    torch.testing.assert_close(out[:, free], y[:, free] / y[:, free].sum(0))
