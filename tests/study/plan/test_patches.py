# SPDX-License-Identifier: Apache-2.0
"""Patches suit the grid and the network; those that cannot work are refused."""

from __future__ import annotations

import pytest
import torch
from monai.networks.nets import UNet

from medwsss.study import check_patch_size
from medwsss.study.plan.patches import plan_grid, step_memory


@pytest.mark.parametrize(
    "shape, spacing, voxels, patch, strides",
    [
        ((36, 50, 36), (1, 1, 1), 49_152, [32, 48, 32], [2, 2, 2]),  # 49,152 exactly: the whole of it
        ((512, 512), (0.5, 0.5), 25_600, [160, 160], [2] * 4),
        ((200, 300), (1, 2), 25_600, [192, 128], [[2, 1], 2, 2, 2]),  # of 16 and 8; 256 mm are still longer
        ((200, 200, 20), (1, 1, 4), 49_152, [56, 56, 14], [[2, 2, 1], [2, 2, 1], 2]),  # 56 mm each
        ((216, 256, 10), (1.5, 1.5, 10), 49_152, [64, 72, 10], [[2, 2, 1], [2, 2, 1], 2]),
        ((200, 200), (1, 1), 4_000, [56, 64], [2] * 3),  # with four levels at least 64², which is more
        ((20, 9), (1, 1), 25_600, [20, 8], [2, [2, 1]]),  # 9 → 4, 20 → 10 → 5
        ((6, 5), (1, 1), 25_600, [8, 8], [2]),
    ],
)
def test_planned_patches(shape, spacing, voxels, patch, strides):
    assert plan_grid(shape, spacing, voxels, 4 if len(shape) == 2 else 3) == (patch, strides)
    check_patch_size(patch, len(shape), [4] * (len(strides) + 1), strides)


def test_step_memory_is_about_what_autograd_keeps():
    """Of a real U-Net, counted by storage; the solver's logits and Adam's moments of the weights come on top."""
    patch, kept = [32, 32], {}
    channels, batch = [16, 32, 64, 128], 4
    network = UNet(2, 1, 3, channels, [2] * 3, num_res_units=1)

    def keep(tensor):
        kept[tensor.untyped_storage().data_ptr()] = tensor  # alive: no address twice
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        network(torch.rand(batch, 1, *patch))
    weights = sum(p.numel() for p in network.parameters())
    saved = sum(tensor.untyped_storage().nbytes() for tensor in kept.values())
    rest = 4 * (3 * weights + 4 * batch * 3 * 32 * 32)  # saved tensors have the weights once
    assert step_memory(1, 3, patch, batch, channels, [2] * 3) - rest == pytest.approx(saved, rel=0.35)


@pytest.mark.parametrize(
    ("patch_size", "strides"), [([48, 48, 16], [2, 2, 2]), ([24, 24, 7], [[2, 2, 1], [2, 2, 1], [2, 2, 1]])], ids=str
)
def test_a_patch_that_the_strides_divide_passes(patch_size, strides):
    check_patch_size(patch_size, 3, [4, 8, 16, 32], strides)


@pytest.mark.parametrize(
    ("patch_size", "strides", "message"),
    [
        ([48, 48], [2, 2, 2], r"3 numbers .*got \[48, 48\]"),
        ([48, 48, 10], [2, 2, 2], r"divisible by \[8, 8, 8\].*\[48, 48, 8\] would do"),
        ([48, 48, 16], [2, 2], "one stride fewer"),
        ([48, 48, 16], [2, 2, [2, 2]], r"of 3 \(spatial_dims\), got \[2, 2\]"),
    ],
    ids=["axes", "divisible", "strides", "axes of a stride"],
)
def test_a_patch_that_cannot_work_is_refused_with_one_that_can(patch_size, strides, message):
    with pytest.raises(ValueError, match=message):
        check_patch_size(patch_size, 3, [4, 8, 16, 32], strides)


LINEAR = ("leakyrelu", {"negative_slope": 1.0})


@pytest.mark.parametrize(("levels", "least", "most"), [(3, 47, 55), (4, 95, 111)])
def test_what_a_pixels_class_depends_on(levels, least, most):
    """In the bundle's U-Net, with nothing that cancels; by the pixel, as grids of halved images lie."""
    network = UNet(2, 1, 2, [2] * (levels + 1), [2] * levels, num_res_units=1, norm=None, act=LINEAR)
    for weights in network.parameters():
        torch.nn.init.constant_(weights, 0.1)
    image = torch.zeros(1, 1, 256, 256, requires_grad=True)
    logits, widths = network(image), set()
    for column in range(128, 136):
        (slope,) = torch.autograd.grad(logits[0, 0, 128, column], image, retain_graph=True)
        seen = slope[0, 0].any(0).nonzero()
        widths.add(int(seen.max() - seen.min()) + 1)
    assert (min(widths), max(widths)) == (least, most)
