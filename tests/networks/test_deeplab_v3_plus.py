# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from math import ceil

import pytest
import torch
from torch import Tensor

from medwsss.networks import DeepLabV3Plus
from tests.networks import published, reference
from tests.networks.exports import scripted, through_onnx, verify_in_bundle

BACKBONES = ("resnet50", "resnet101", "mobilenet_v2")


def learned(module: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def deeplab(spatial_dims: int = 2, classes: int = 5, backbone: str = "mobilenet_v2", **arguments) -> DeepLabV3Plus:
    return DeepLabV3Plus(spatial_dims, 3, classes, backbone, **arguments).eval()


@pytest.mark.parametrize(
    ("backbone", "parameters", "inputs", "detail"),
    [
        # torchvision's counts without the classifier: 25,557,032 and 44,549,160 less 2048 · 1000 + 1000, and
        # 3,504,872 less 1280 · 1000 + 1000 and less the last convolution and its norm, 320 · 1280 + 2 · 1280
        ("resnet50", 23_508_032, 2048, 256),
        ("resnet101", 42_500_160, 2048, 256),
        ("mobilenet_v2", 1_811_712, 320, 24),
    ],
)
def test_parameters(backbone, parameters, inputs, detail):
    network = DeepLabV3Plus(2, 3, 21, backbone)
    assert learned(network.backbone) == parameters
    # 1×1, three 3×3 and pooled; their join; six norms of 256
    pyramid = 2 * inputs * 256 + 3 * 9 * inputs * 256 + 5 * 256 * 256 + 6 * 2 * 256
    # detail to 48, two 3×3 of 256, their three norms, and the classifier with a bias
    decoder = detail * 48 + 9 * 304 * 256 + 9 * 256 * 256 + 2 * (48 + 256 + 256) + 256 * 21 + 21
    assert learned(network) == parameters + pyramid + decoder
    if backbone == "resnet101":
        assert learned(network) == 59_344_309


def reference_features(backbone: str, weights: dict[str, Tensor], x: Tensor) -> list[Tensor]:
    if backbone == "mobilenet_v2":
        return reference.mobilenet_v2(weights, x)
    return reference.resnet(weights, x, published.RESNET50)


@pytest.mark.parametrize("backbone", ["resnet50", "mobilenet_v2"])
@pytest.mark.parametrize("output_stride", [8, 16])
@torch.no_grad()
def test_dilated_features_hold_the_strided_ones(backbone, output_stride):
    """At every position of the published strided network, the dilated one computes the same."""
    shapes = published.mobilenet_v2() if backbone == "mobilenet_v2" else published.resnet(published.RESNET50)
    weights = {name: weight.double() for name, weight in published.forge(shapes).items()}
    network = deeplab(backbone=backbone, output_stride=output_stride).double()
    network.backbone.load_state_dict({name: weights[name] for name in network.backbone.state_dict()})
    x = torch.randn(1, 3, 75, 66, dtype=torch.float64)
    features = network.backbone(x)
    strides = [min(stride, output_stride) for stride in (2, 4, 8, 16, 32)]
    assert [tuple(f.shape[2:]) for f in features] == [(ceil(75 / stride), ceil(66 / stride)) for stride in strides]
    for index, expected in enumerate(reference_features(backbone, weights, x)):
        step = 2 ** (index + 1) // strides[index]
        torch.testing.assert_close(features[index][..., ::step, ::step], expected)


@pytest.mark.parametrize("output_stride", [8, 16])
def test_rates_of_the_pyramid(output_stride):
    rates = [branch.conv.dilation for branch in deeplab(output_stride=output_stride).aspp.branches]
    assert rates == {16: [(1, 1), (6, 6), (12, 12), (18, 18)], 8: [(1, 1), (12, 12), (24, 24), (36, 36)]}[output_stride]


@pytest.mark.parametrize("size", [(1,), (513,), (1, 1), (7, 50), (513, 3), (5, 1, 18)], ids=str)
@torch.no_grad()
def test_sizes(size):
    x = torch.randn(2, 3, *size)
    assert deeplab(len(size))(x).shape == (2, 5, *size)
    assert deeplab(len(size), upsample=False)(x).shape == (2, 5, *(ceil(length / 4) for length in size))


@pytest.mark.parametrize(("spatial_dims", "size"), [(1, (33,)), (2, (33, 33)), (3, (9, 1, 8))])
@torch.no_grad()
def test_residual_networks_in_every_number_of_axes(spatial_dims, size):
    backbone = "resnet101" if spatial_dims == 2 else "resnet50"
    logits = deeplab(spatial_dims, backbone=backbone)(torch.randn(1, 3, *size))
    assert logits.shape == (1, 5, *size)
    assert logits.isfinite().all()


@torch.no_grad()
def test_upsampled_logits_pass_through_the_decoders():
    """Position ``i`` of the decoder is pixel ``4 i``, on sizes of ``4 n + 1``."""
    network = deeplab()
    x = torch.randn(1, 3, 33, 45)
    upsampled = network(x)
    network.upsample = False
    torch.testing.assert_close(upsampled[..., ::4, ::4], network(x))


@torch.no_grad()
def test_a_slice_is_a_flat_volume():
    """Of a volume of one slice, kernels see their middle slice and zeros."""
    flat, volume = deeplab(2), deeplab(3)
    state = volume.state_dict()
    for name, weight in flat.state_dict().items():
        if weight.ndim == 4:
            state[name][:, :, state[name].shape[2] // 2] = weight
        else:
            state[name] = weight
    volume.load_state_dict(state)
    x = torch.randn(1, 3, 20, 33)
    torch.testing.assert_close(volume(x.unsqueeze(2)).squeeze(2), flat(x), rtol=1e-4, atol=1e-5)


def test_every_parameter_learns():
    """None is left without a gradient, on which distributed training stops."""
    network = DeepLabV3Plus(2, 3, 5, "mobilenet_v2")
    network(torch.randn(2, 3, 33, 33)).square().sum().backward()
    assert not [name for name, parameter in network.named_parameters() if parameter.grad is None]


@pytest.mark.parametrize("backbone", ["mobilenet_v2", "resnet50"])
@torch.no_grad()
def test_torchscript(backbone):
    network, x = deeplab(backbone=backbone), torch.randn(1, 3, 20, 33)
    torch.testing.assert_close(scripted(network, x), network(x))


@pytest.mark.slow
@torch.no_grad()
@pytest.mark.longest
def test_onnx(tmp_path):
    network, x = deeplab(), torch.randn(2, 3, 20, 33)
    torch.testing.assert_close(through_onnx(network, x, tmp_path / "network.onnx"), network(x), rtol=1e-4, atol=1e-5)


def test_in_a_bundle(tmp_path):
    definition = {
        "_target_": "medwsss.networks.DeepLabV3Plus",
        "spatial_dims": 2,
        "in_channels": 3,
        "out_channels": 5,
        "backbone": "mobilenet_v2",
    }
    verify_in_bundle(tmp_path, definition, [33, "16*n"], classes=5)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"backbone": "resnet18"}, "expected backbone in .*got 'resnet18'"),
        ({"output_stride": 32}, "expected output_stride 8 or 16, got 32"),
    ],
)
def test_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        DeepLabV3Plus(2, 3, 5, **arguments)
