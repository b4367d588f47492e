# SPDX-License-Identifier: Apache-2.0
"""Turned volumes: every voxel is where it was in space, labels go along, and predictions come back."""

from __future__ import annotations

import nibabel as nib
import numpy as np
import pytest
import torch
from monai.data import MetaTensor, decollate_batch, list_data_collate
from monai.transforms import Compose, Invertd, LoadImaged, ScaleIntensityd

from medwsss.transforms import ThickAxisLast, ThickAxisLastd

AFFINE = np.array([[0, 0, -1.5, 7], [0, 2.0, 0, -3], [6.0, 0, 0, 11], [0, 0, 0, 1]])  # slices along the first axis


def places(image):
    """``{value: where its voxel lies}``; values are distinct."""
    index = torch.cartesian_prod(*map(torch.arange, image.shape[1:])).double()
    world = index @ image.affine[:3, :3].double().T + image.affine[:3, 3].double()
    return dict(zip(image.as_tensor().flatten().tolist(), map(tuple, world.tolist())))


def test_voxels_stay_where_they_are():
    image = MetaTensor(torch.arange(24.0).reshape(1, 2, 3, 4), affine=torch.tensor(AFFINE))
    turn = ThickAxisLast()
    turned = turn(image)
    assert turned.shape == (1, 3, 4, 2) and turned.pixdim.tolist() == [2, 1.5, 6]
    assert places(turned) == places(image)
    back = turn.inverse(turned)
    assert torch.equal(back.as_tensor(), image.as_tensor()) and torch.equal(back.affine, image.affine)
    assert back.applied_operations == []


@pytest.mark.parametrize("shape", [(3, 4), (24, 24, 24)])
def test_others_are_left_alone(shape):
    image = torch.rand(1, *shape)
    assert torch.equal(ThickAxisLast()(image), image)


def test_labels_are_turned_as_their_image_is():
    """Also one of a format that says nothing of space."""
    image = MetaTensor(torch.rand(2, 4, 6, 5), affine=torch.diag(torch.tensor([1, 5.0, 1, 1])))
    label = MetaTensor(image[:1].as_tensor())
    out = ThickAxisLastd(["image", "label"])({"image": image, "label": label})
    assert out["image"].shape == (2, 4, 5, 6) and torch.equal(out["label"].as_tensor(), out["image"][:1].as_tensor())


def test_a_prediction_comes_back_into_the_axes_of_the_file(tmp_path):
    voxels = np.random.default_rng(0).random((4, 6, 5))
    nib.save(nib.Nifti1Image(voxels, AFFINE), tmp_path / "a.nii.gz")
    steps = [LoadImaged("image", ensure_channel_first=True), ThickAxisLastd("image"), ScaleIntensityd("image")]
    preprocessing = Compose(steps)
    (item,) = decollate_batch(list_data_collate([preprocessing({"image": str(tmp_path / "a.nii.gz")})]))
    assert item["image"].shape == (1, 6, 5, 4)
    item["pred"] = (item["image"] > 0.5).float()
    pred = Invertd("pred", preprocessing, orig_keys="image", nearest_interp=True)(item)["pred"]
    assert torch.equal(pred[0].as_tensor().bool(), torch.tensor(voxels > (voxels.min() + voxels.max()) / 2))
    assert np.allclose(pred.affine, AFFINE)
