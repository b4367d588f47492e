# SPDX-License-Identifier: Apache-2.0
"""Suggested settings suit the grid and the bundle they are for; patches that cannot work are refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from monai.networks.nets import UNet

from medwsss.study import check_patch_size
from medwsss.study.plan import BATCH, CHANNELS, SAMPLES, step_memory, suggest_patch

BUNDLE = Path(__file__).parents[2] / "bundles" / "scribble"


def test_a_plan_is_for_the_bundle_as_it_is():
    train = json.loads((BUNDLE / "train.json").read_text())
    assert (train["batch_size"], tuple(train["channels"]), train["samples_per_volume"]) == (BATCH, CHANNELS, SAMPLES)


@pytest.mark.parametrize(
    "shape, spacing, patch",
    [
        ((100, 100, 100), (1, 1, 1), [32, 32, 32]),  # 40·32·32 would be more than 48·48·16
        ((512, 512), (0.5, 0.5), [192, 192]),
        ((256, 256, 10), (1.4, 1.4, 10.0), [64, 72, 8]),
        ((20, 9), (1, 1), [16, 8]),
        ((6, 5), (1, 1), [16, 16]),
        ((5, 200, 200), (1, 1, 1), [8, 64, 72]),
    ],
)
def test_suggested_patches(shape, spacing, patch):
    assert suggest_patch(shape, spacing) == patch


def test_step_memory_is_about_what_autograd_keeps():
    """Of a real U-Net, counted by storage; the solver's logits and Adam's moments of the weights come on top."""
    patch, kept = [32, 32], {}
    network = UNet(2, 1, 3, CHANNELS, [2] * 3, num_res_units=1)

    def keep(tensor):
        kept[tensor.untyped_storage().data_ptr()] = tensor  # alive: no address twice
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        network(torch.rand(BATCH, 1, *patch))
    weights = sum(p.numel() for p in network.parameters())
    saved = sum(tensor.untyped_storage().nbytes() for tensor in kept.values())
    rest = 4 * (3 * weights + 4 * BATCH * 3 * 32 * 32)  # saved tensors have the weights once
    assert step_memory(1, 3, patch) - rest == pytest.approx(saved, rel=0.35)


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
    ],
    ids=["axes", "divisible", "strides"],
)
def test_a_patch_that_cannot_work_is_refused_with_one_that_can(patch_size, strides, message):
    with pytest.raises(ValueError, match=message):
        check_patch_size(patch_size, 3, [4, 8, 16, 32], strides)
