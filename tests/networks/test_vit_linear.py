# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from math import ceil

import pytest
import torch
import torch.nn.functional as F

from medwsss.networks import ViTLinear
from medwsss.networks.vit_linear import resample_positions
from tests.networks.exports import scripted, through_onnx, verify_in_bundle

SMALL = {"hidden_size": 24, "mlp_dim": 40, "num_layers": 2, "num_heads": 3}


def vit(spatial_dims: int = 2, img_size=20, patch_size=5, **arguments) -> ViTLinear:
    return ViTLinear(spatial_dims, 3, 4, img_size, patch_size, **SMALL, **arguments).eval()


def test_parameters():
    """A linear decoder to 1000 classes has as many as the classifier of torchvision's ``vit_b_16``."""
    network = ViTLinear(2, 3, 1000, img_size=224)
    assert sum(parameter.numel() for parameter in network.parameters()) == 86_567_656


@pytest.mark.parametrize("size", [(1,), (20,), (1, 1), (20, 20), (7, 33), (513, 2), (4, 1, 11)], ids=str)
@torch.no_grad()
def test_sizes(size):
    x = torch.randn(2, 3, *size)
    assert vit(len(size))(x).shape == (2, 4, *size)
    assert vit(len(size), upsample=False)(x).shape == (2, 4, *(ceil(length / 5) for length in size))


@torch.no_grad()
def test_logits_stand_in_the_middle_of_their_patch():
    network = vit()
    x = torch.randn(1, 3, 15, 25)
    upsampled = network(x)
    network.upsample = False
    torch.testing.assert_close(upsampled[..., 2::5, 2::5], network(x))


@torch.no_grad()
def test_incomplete_patches_are_filled_with_zeros():
    network, x = vit(), torch.randn(1, 3, 13, 21)
    whole = network(F.pad(x, (0, 4, 0, 2)))  # to 15 × 25, the last axis first
    torch.testing.assert_close(network(x), whole[..., :13, :21])


@torch.no_grad()
def test_a_slice_is_a_flat_volume():
    flat, volume = vit(2, 20, 5), vit(3, (1, 20, 20), (1, 5, 5))
    target = volume.state_dict()
    volume.load_state_dict({name: weight.reshape(target[name].shape) for name, weight in flat.state_dict().items()})
    x = torch.randn(1, 3, 20, 35)
    torch.testing.assert_close(volume(x.unsqueeze(2)).squeeze(2), flat(x))


def test_positions():
    # one axis of two patches at 0 and 1, resampled to four: their centres lie at -1/4, 1/4, 3/4, 5/4; the class is 7
    positions = torch.tensor([7.0, 0.0, 1.0]).reshape(1, 3, 1)
    assert resample_positions(positions, [2], [4]).flatten().tolist() == [7.0, 0.0, 0.25, 0.75, 1.0]
    # rows stay rows, columns columns
    grid = torch.arange(6.0).reshape(1, 6, 1)
    six = torch.cat([torch.zeros(1, 1, 1), grid], dim=1)
    assert resample_positions(six, [2, 3], [2, 3]).equal(six)
    assert resample_positions(six, [2, 3], [1, 3]).flatten().tolist() == [0.0, 1.5, 2.5, 3.5]


def test_every_parameter_learns():
    """None is left without a gradient, on which distributed training stops."""
    network = vit().train()
    network(torch.randn(2, 3, 17, 20)).square().sum().backward()
    assert not [name for name, parameter in network.named_parameters() if parameter.grad is None]


@torch.no_grad()
def test_torchscript():
    network, x = vit(), torch.randn(1, 3, 13, 21)
    torch.testing.assert_close(scripted(network, x), network(x))


@pytest.mark.slow
@torch.no_grad()
def test_onnx(tmp_path):
    network, x = vit(), torch.randn(2, 3, 13, 21)
    torch.testing.assert_close(through_onnx(network, x, tmp_path / "network.onnx"), network(x), rtol=1e-4, atol=1e-5)


def test_in_a_bundle(tmp_path):
    definition = {
        "_target_": "medwsss.networks.ViTLinear",
        "spatial_dims": 2,
        "in_channels": 3,
        "out_channels": 4,
        "img_size": 32,
        **SMALL,
    }
    verify_in_bundle(tmp_path, definition, [33, "16*n"], classes=4)
