# SPDX-License-Identifier: Apache-2.0
"""Images of fewer axes become volumes that lie where the images lay."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
import torch
from monai.data import MetaTensor

from medwsss.transforms import AsVolume, AsVolumed


def test_axes_of_length_one_are_appended(shape):
    image = torch.rand(2, *shape)
    for given in (image, image.numpy(), MetaTensor(image)):
        volume = AsVolume()(given)
        assert volume.shape == (2, *shape, *[1] * (3 - len(shape)))
        assert np.array_equal(np.asarray(volume).ravel(), image.numpy().ravel())
        assert isinstance(volume, MetaTensor) == isinstance(given, MetaTensor)


def test_the_affine_grows_with_the_axes():
    """Pixels of 2 x 3 from (5, 7): the new axis has steps of 1 from 0."""
    affine = torch.tensor([[2.0, 0, 5], [0, 3, 7], [0, 0, 1]], dtype=torch.float64)
    picture = MetaTensor(torch.zeros(1, 4, 6), affine=affine, meta={"filename_or_obj": "a.png", "placed": True})
    volume = AsVolumed("image")({"image": picture, "other": 1})["image"]
    expected = [[2, 0, 0, 5], [0, 3, 0, 7], [0, 0, 1, 0], [0, 0, 0, 1]]
    assert np.array_equal(volume.affine, expected) and np.array_equal(volume.meta["affine"], expected)
    assert volume.meta["filename_or_obj"] == "a.png" and volume.meta["placed"]
    assert picture.affine.shape == (3, 3)


def test_a_volume_is_left_alone():
    affine = torch.eye(4, dtype=torch.float64) * 2
    volume = MetaTensor(torch.rand(1, 2, 3, 4), affine=affine)
    same = AsVolume()(volume)
    assert torch.equal(same, volume) and torch.equal(same.affine, affine)


def test_more_axes_are_refused():
    with pytest.raises(ValueError, match=r"expected at most 3 axes in space, got shape \(1, 2, 2, 2, 2\)"):
        AsVolume()(torch.zeros(1, 2, 2, 2, 2))


def test_it_can_be_sent_to_another_process():
    sent = pickle.loads(pickle.dumps(AsVolumed(["image", "label"], allow_missing_keys=True)))
    assert sent({"image": torch.zeros(1, 2)})["image"].shape == (1, 2, 1, 1)
