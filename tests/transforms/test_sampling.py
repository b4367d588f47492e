# SPDX-License-Identifier: Apache-2.0
"""Patches come from seeds, every class alike, or from everywhere."""

from __future__ import annotations

import pytest
import torch
from monai.transforms import RandWeightedCropd

from medwsss.keys import SCRIBBLE, UNLABELED, VOID
from medwsss.transforms import SeedWeights


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int64, torch.float32])
def test_worked_example(dtype):
    """Patches of one voxel: a seed's own weight, 1 / |S_k|."""
    scribble = torch.tensor([[[0, 0, 0, 0], [2, UNLABELED, 2, VOID], [5, VOID, UNLABELED, UNLABELED]]], dtype=dtype)
    expected = torch.tensor([[[0.25, 0.25, 0.25, 0.25], [0.5, 0, 0.5, 0], [1, 0, 0, 0]]])
    weights = SeedWeights([1, 1])(scribble)
    assert torch.equal(weights, expected) and weights.dtype == torch.float32


def test_patches_are_weighed_by_the_seeds_they_hold():
    """Seeds weigh ½, ½, 1; a patch of three voxels holds the mean of what lies in it, and nothing outside the image."""
    scribble = torch.tensor([[0, 0, UNLABELED, 1, UNLABELED, VOID, UNLABELED]])
    expected = torch.tensor([[1 / 3, 1 / 3, 1 / 2, 1 / 3, 1 / 3, 0, 0]])
    weights = SeedWeights([3])(scribble)
    torch.testing.assert_close(weights, expected)
    assert (weights[:, 5:] == 0).all()  # exactly: a patch without a seed is never chosen


def test_every_class_weighs_one(shape):
    scribble = torch.randint(0, 3, (1, *shape))
    weights = SeedWeights([1] * len(shape))(scribble)
    for k in scribble.unique():
        assert weights[scribble == k].sum().item() == pytest.approx(1)


def test_without_seeds_all_is_zero(shape):
    assert (SeedWeights([3] * len(shape))(torch.full((1, *shape), UNLABELED)) == 0).all()


def test_without_seeds_patches_hold_what_exists():
    scribble = torch.tensor([[VOID, VOID, VOID, UNLABELED, UNLABELED]])
    torch.testing.assert_close(SeedWeights([3])(scribble), torch.tensor([[0, 0, 1 / 3, 2 / 3, 2 / 3]]))


def test_rare_classes_are_seen_as_often():
    """400 crops of one voxel: 90 seeds of class 0 and one of class 1 come about equally often (5 deviations: 50)."""
    scribble = torch.full((1, 10, 10), UNLABELED)
    scribble[:, 1:] = 0
    scribble[:, 0, 0] = 1
    crop = RandWeightedCropd(SCRIBBLE, "weights", spatial_size=[1, 1], num_samples=400)
    crop.set_random_state(0)
    samples = crop({SCRIBBLE: scribble, "weights": SeedWeights([1, 1])(scribble)})
    found = [int(sample[SCRIBBLE]) for sample in samples]
    assert set(found) == {0, 1} and abs(found.count(1) - 200) < 50


def test_a_share_of_the_patches_is_taken_everywhere() -> None:
    scribble = torch.tensor([[0, 255, 255, 255, 254]])
    seeds = SeedWeights([1])(scribble)
    assert seeds.tolist() == [[1, 0, 0, 0, 0]]
    both = SeedWeights([1], everywhere=0.5)(scribble)
    torch.testing.assert_close(both, torch.tensor([[0.5 + 0.125, 0.125, 0.125, 0.125, 0]]))
    with pytest.raises(ValueError, match="expected a share everywhere from 0 to 1, got 2"):
        SeedWeights([1], everywhere=2)


def test_everywhere_is_where_the_image_is(shape):
    scribble = torch.full((1, *shape), UNLABELED)
    scribble[:, :2], scribble[:, -1] = VOID, 1
    weights = SeedWeights([3] * len(shape), everywhere=1)(scribble)
    exists = scribble != VOID
    assert weights.dtype == torch.float32 and torch.allclose(weights, exists / exists.sum())
