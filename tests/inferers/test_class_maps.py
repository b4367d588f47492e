# SPDX-License-Identifier: Apache-2.0
"""Blocks say of each voxel what the whole image would, and maps are what their formulas say."""

from __future__ import annotations

import math

import pytest
import torch
from monai.data import MetaTensor
from monai.inferers import SimpleInferer, SliceInferer, SlidingWindowInferer

from medwsss.inferers import ClassMapInferer, MultiScaleInferer, class_maps


def test_maps():
    sigma = torch.tensor([[0.25, 0.25, 0.25, 0.25], [0, 0, 1, 0], [0.5, 0, 0, 0.5]]).T[None]
    out = class_maps(sigma, ["probabilities", "uncertainty"])
    assert out.shape == (1, 6, 3) and out[0, 0].tolist() == [0, 2, 0]
    torch.testing.assert_close(out[0, 1], torch.tensor([1.0, 0.0, math.log(2) / math.log(4)]))
    assert torch.equal(out[:, 2:], sigma)
    assert class_maps(sigma).shape == (1, 1, 3)


@pytest.mark.parametrize("shape", [(24, 9, 37), (25, 40, 8), (5, 6, 7), (16, 16, 16)])
@pytest.mark.parametrize("overlap", [0.5, 0.25, 0.0])
def test_blocks_make_the_whole(shape, overlap):
    image, window = torch.rand(1, 1, *shape), (8, 6, 10)
    windows = SlidingWindowInferer(window, 2, overlap=overlap, mode="gaussian")
    inferer, sizes = MultiScaleInferer(inferer=windows), []
    network = torch.nn.Conv3d(1, 3, 3, padding="same")  # what it says depends on where in its window a voxel is

    def seen(x, network):
        sizes.append(x[0, 0].numel())
        return inferer(x, network)

    with torch.no_grad():
        whole = class_maps(windows(image, network).softmax(1), ["uncertainty", "probabilities"])
        for largest, blocks in ((1000, shape != (5, 6, 7)), (10**9, False)):
            sizes.clear()
            by_block = ClassMapInferer(seen, ["uncertainty", "probabilities"], window, overlap, largest)
            torch.testing.assert_close(by_block(image, network), whole)
            assert (len(sizes) > 1) == blocks
            least = math.prod(min(n, 2 * w - 1) for n, w in zip(shape, window))
            assert max(sizes) <= max(largest, least)


@pytest.mark.parametrize("classes", [2, 60])
def test_class_scores_in_memory_are_as_many_for_any_number_of_classes(classes):
    """As ``inference.json`` counts them, for a volume of which the scores of 60 classes are 30 times as many."""
    budget, sizes = 2**15, []

    def few(x, network):
        sizes.append(classes * x[0, 0].numel())
        return torch.full((1, classes, *x.shape[2:]), 1 / classes)

    inferer = ClassMapInferer(few, ["uncertainty"], (4, 4, 4), largest=budget // classes)
    inferer(torch.zeros(1, 1, 16, 16, 64), torch.nn.Identity())
    assert sum(sizes) >= classes * 16 * 16 * 64 and max(sizes) <= budget


def test_slices():
    image, network = torch.rand(1, 1, 20, 17, 9), torch.nn.Conv2d(1, 3, 3, padding=1)
    slices = SliceInferer(spatial_dim=2, roi_size=(8, 8), sw_batch_size=3, overlap=0.5, mode="gaussian")
    with torch.no_grad():
        whole = class_maps(slices(image, network).softmax(1), ["probabilities"])
        inferer = MultiScaleInferer(inferer=slices)
        by_block = ClassMapInferer(inferer, ["probabilities"], (8, 8, 1), largest=700)(image, network)
    torch.testing.assert_close(by_block, whole)


def test_what_is_known_of_the_image_stays():
    image = MetaTensor(torch.rand(1, 1, 6, 5), meta={"filename_or_obj": "a.nii"}, applied_operations=[{"class": "X"}])
    out = ClassMapInferer(MultiScaleInferer())(image, lambda x: torch.cat([x, 1 - x], 1))
    assert isinstance(out, MetaTensor) and out.meta["filename_or_obj"] == "a.nii"
    assert out.applied_operations == image.applied_operations


def test_mirrors_of_two_axes():
    """Four views of a network that knows up from down and left from right."""
    x = torch.rand(1, 1, 6, 5, generator=torch.Generator().manual_seed(0))
    ramp = torch.linspace(-1, 1, 6)[:, None] + 3 * torch.linspace(-1, 1, 5)

    def network(x):
        return torch.cat([x + ramp, x], 1)

    views = [(), (0,), (1,), (0, 1)]
    expected = sum(torch.sigmoid(ramp.flip(axes)) for axes in views) / 4
    out = MultiScaleInferer(flip=[0, 1], inferer=SimpleInferer())(x, network)
    torch.testing.assert_close(out[0, 0], expected)


@pytest.mark.parametrize("options", [{"maps": ["entropy"]}, {"overlap": 1.0}])
def test_refused(options):
    with pytest.raises(ValueError, match="expected"):
        ClassMapInferer(MultiScaleInferer(), **options)
