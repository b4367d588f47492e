# SPDX-License-Identifier: Apache-2.0
"""Weights of another network, or of none, are refused with what would help."""

from __future__ import annotations

import pytest
import torch
from monai.networks.nets import UNet

from medwsss.bundle.weights import load_weights
from medwsss.networks import DeepLabV3Plus, ViTLinear

SMALL_VIT = {"img_size": [32, 32], "hidden_size": 12, "num_layers": 1, "mlp_dim": 12}


def unet(dims=2, channels=1, classes=3, widths=(4, 8), **options):
    return UNet(dims, channels, classes, widths, [2] * (len(widths) - 1), num_res_units=1, **options)


def saved(content, tmp_path):
    torch.save(content.state_dict() if isinstance(content, torch.nn.Module) else content, tmp_path / "model.pt")
    return tmp_path / "model.pt"


def refused(network, path):
    with pytest.raises(ValueError) as error:
        load_weights(network, path)
    assert str(path) in str(error.value)
    return str(error.value)


@pytest.mark.parametrize("wrap", [lambda state: state, lambda state: {"network": state, "trainer": {"epoch": 1}}])
def test_loaded(tmp_path, wrap):
    source, network = unet(), unet()
    assert load_weights(network, saved(wrap(source.state_dict()), tmp_path)) is network
    assert all(torch.equal(value, network.state_dict()[name]) for name, value in source.state_dict().items())


@pytest.mark.parametrize(
    "make",
    [
        unet,
        lambda dims=2, channels=1, classes=3: DeepLabV3Plus(dims, channels, classes, "mobilenet_v2"),
        lambda dims=2, channels=1, classes=3: ViTLinear(dims, channels, classes, **SMALL_VIT),
    ],
    ids=["unet", "deeplab", "vit"],
)
def test_the_likely_override_is_told(tmp_path, make):
    network = make()
    assert "they take --num_classes 5)" in refused(network, saved(make(classes=5), tmp_path))
    assert "they take --in_channels 2)" in refused(network, saved(make(channels=2), tmp_path))
    assert "they take --in_channels 2 --num_classes 5)" in refused(network, saved(make(2, 2, 5), tmp_path))


def test_other_networks(tmp_path):
    assert "they take --spatial_dims 3)" in refused(unet(), saved(unet(3), tmp_path))
    for other in (unet(widths=(4, 8, 16)), unet(widths=(8, 16)), unet(norm="batch"), torch.nn.Linear(2, 2)):
        assert "they take the overlay, --channels, --strides or --backbone of" in refused(
            unet(), saved(other, tmp_path)
        )


@pytest.mark.parametrize("content", [[1], {}, {"a": 1}, torch.zeros(2)], ids=["list", "empty", "no tensors", "tensor"])
def test_no_weights(tmp_path, content):
    assert "got something else" in refused(unet(), saved(content, tmp_path))


def test_no_file(tmp_path):
    assert "expected the weights of a trained network (--model_file)" in refused(unet(), tmp_path / "model.pt")
    assert "got no file" in refused(unet(), tmp_path)


def test_damaged(tmp_path):
    network = unet()
    path = saved(network, tmp_path)
    whole, some = path.read_bytes(), next(network.parameters()).detach().numpy().tobytes()[:8]
    for damaged in (whole[:-200], b"", b"{}", whole.replace(some, some[::-1], 1)):
        path.write_bytes(damaged)
        assert "expected weights that training wrote" in refused(unet(), path)


def test_weights_that_predict_nothing(tmp_path):
    network = unet()
    next(network.parameters()).data[0] = torch.nan
    assert "expected finite weights" in refused(unet(), saved(network, tmp_path))
