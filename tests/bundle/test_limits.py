# SPDX-License-Identifier: Apache-2.0
"""Corners of arithmetic are told of by the option's name, and what is ordinary passes."""

from __future__ import annotations

import json
from types import SimpleNamespace

import pytest
import torch
from monai.bundle import ConfigParser
from monai.networks.nets import UNet

from medwsss.bundle import limits
from medwsss.networks import DeepLabV3Plus
from medwsss.study import check_images
from tests.bundles.bundle import BUNDLE

ORDINARY = {
    "num_classes": 2,
    "spatial_dims": 2,
    "in_channels": 3,
    "epochs": 4,
    "warmup_epochs": "@epochs",
    "warmup_loss": None,
    "labels": "batch",
    "patches_from": "seeds",
    "trust": "everywhere",
    "learning_rate": 0.01,
    "bandwidth": "auto",
    "cache_rate": 1,
    "held_out_share": 0.0,
    "scales": [1.0, 1.0],
    "std": [1.0, 2, 3],
    "patch_size": [16, 16],
    "channels": [4, 8],
    "strides": [[2, 1]],
    "class_names": "$['a', 'b']",
    "spacing": "$@study.typical_spacing",
}


def check(**changes):
    parser = ConfigParser({**ORDINARY, **changes, "check": "$check()"}, globals={"check": limits.check_options})
    try:
        parser.get_parsed_content("check")
    except RuntimeError as error:
        raise error.__cause__ from None


def test_ordinary_options_pass():
    check()
    check(bandwidth=3, spacing=[1.0, 2.5], class_names=["a", "b"], held_out_share=0.99, batch_size=1, workers=0, seed=0)


@pytest.mark.parametrize(
    "name, value, told",
    [
        ("num_classes", 1, "whole numbers from 2 to 254, got 1"),
        ("spatial_dims", 1, "whole numbers from 2 to 3, got 1"),
        ("epochs", 0, "whole numbers from 1, got 0"),
        ("epochs", 1.5, "whole numbers from 1, got 1.5"),
        ("epochs", "3", "whole numbers from 1, got '3'"),
        ("epochs", True, "whole numbers from 1, got True"),
        ("val_interval", 0, "whole numbers from 1, got 0"),
        ("samples_per_volume", 0, "whole numbers from 1, got 0"),
        ("batch_size", -1, "whole numbers from 1, got -1"),
        ("workers", -1, "whole numbers from 0, got -1"),
        ("seed", -1, "whole numbers from 0, got -1"),
        ("learning_rate", 0, "numbers above 0, got 0"),
        ("learning_rate", float("nan"), "numbers above 0, got nan"),
        ("cache_rate", 1.5, "numbers from 0 to 1, got 1.5"),
        ("class_balance", -0.1, "numbers from 0 to 1, got -0.1"),
        ("held_out_share", 1.0, "numbers from 0 and below 1, got 1.0"),
        ("lam", -1, "numbers from 0, got -1"),
        ("labels", "volumes", "one of ('batch', 'volume'), got 'volumes'"),
        ("patches_from", "strokes", "one of ('seeds', 'both', 'everywhere'), got 'strokes'"),
        ("trust", "seeds", "one of ('everywhere', 'seeded'), got 'seeds'"),
        ("refreshes", -1, "whole numbers from 0, got -1"),
        ("memory", 1, "numbers from 0 and below 1, got 1"),
        ("solver_steps", 0, "whole numbers from 1, got 0"),
        ("bandwidth", 0, "numbers above 0, got 0"),
        ("std", [1, 0, 1], "numbers above 0, got [1, 0, 1]"),
        ("std", [1], "3 values (in_channels), got [1]"),
        ("scales", [1], "2 values (2), got [1]"),
        ("scales", 1.0, "several values, got 1.0"),
        ("scales", [2, 1], "from the smaller to the larger, got [2, 1]"),
        ("patch_size", 16, "several values, got 16"),
        ("patch_size", [16, -16], "whole numbers from 1, got [16, -16]"),
        ("strides", [[2, 0]], "whole numbers from 1, got [[2, 0]]"),
        ("spacing", [1, 1, 1], "2 values (spatial_dims), got [1, 1, 1]"),
        ("class_names", ["a"], "2 values (num_classes), got ['a']"),
        ("in_channels", [3], "one value, got [3]"),
    ],
)
def test_refused_by_name(name, value, told):
    # what belongs to in_channels stands aside
    aside = {"std": None} if name == "in_channels" else {}
    with pytest.raises(ValueError) as error:
        check(**{**aside, name: value})
    assert f"expected --{name}" in str(error.value) and told in str(error.value)


def test_what_labels_of_volumes_do_not_have():
    check(labels="batch", warmup_loss=0.7)
    with pytest.raises(ValueError, match="labels volume to end by --warmup_epochs, got --warmup_loss"):
        check(labels="volume", warmup_loss=0.7)


@pytest.mark.parametrize("bundle", ["scribble", "scribble_2d"])
def test_every_number_of_the_bundles_has_a_range(bundle):
    content = json.loads((BUNDLE.parent / bundle / "train.json").read_text())
    numbers = [
        name for name, value in content.items() if isinstance(value, (int, float)) and not isinstance(value, bool)
    ]
    assert set(numbers) - limits.RANGES.keys() == {"rank"} | ({"output_stride"} & set(numbers))  # DeepLabV3Plus' own


def follow(network, patches, batch_size, channels, patch):
    before = {name: value.clone() for name, value in network.state_dict().items()}
    torch.manual_seed(3)
    limits.check_network(network, patches, batch_size, channels, patch)
    assert torch.initial_seed() == 3 and torch.equal(torch.rand(2), torch.rand(2, generator=seeded()))
    assert all(
        torch.equal(value, before[name]) and value.device.type == "cpu" for name, value in network.state_dict().items()
    )


def seeded():
    return torch.Generator().manual_seed(3)


def test_a_batch_of_one_behind_global_pooling_is_refused():
    network = DeepLabV3Plus(2, 3, 2, backbone="mobilenet_v2")
    with pytest.raises(ValueError, match=r"train on 1 patches of \[33, 33\].*more than 1 value.*--batch_size"):
        limits.check_network(network, 8, 1, 3, [33, 33])
    with pytest.raises(ValueError, match="an epoch has 1 patches.*--samples_per_volume"):
        limits.check_network(network, 1, 12, 3, [33, 33])
    follow(network, 2, 12, 3, [33, 33])


@pytest.mark.parametrize("norm, batch, fits", [("batch", 1, False), ("batch", 2, True), ("instance", 2, False)])
def test_one_voxel_at_the_deepest_level(norm, batch, fits):
    network = UNet(2, 1, 2, (4, 8, 16), (2, 2), num_res_units=1, norm=norm)
    if fits:
        follow(network, 8, batch, 1, [4, 4])
        return
    with pytest.raises(ValueError, match="larger --patch_size"):
        limits.check_network(network, 8, batch, 1, [4, 4])
    follow(network, 8, batch, 1, [8, 8])


def test_a_network_that_cannot_be_followed_is_not_refused():
    class Looks(torch.nn.Module):
        def forward(self, x):
            return x * float(x.sum())

    limits.check_network(Looks(), 1, 1, 1, [4])


def test_fewer_items_than_processes(monkeypatch):
    assert limits.check_numbers(3, 1) == 3
    monkeypatch.setattr("torch.distributed.is_initialized", lambda: True)
    monkeypatch.setattr("torch.distributed.get_world_size", lambda: 2)
    assert limits.check_numbers(5, 2) == 3
    with pytest.raises(ValueError, match="at least 2 items of validation, one a process, got 1"):
        limits.check_numbers(5, 1)
    with pytest.raises(ValueError, match="at least 2 items of training.*samples_per_volume"):
        limits.check_numbers(1, 5)


def test_images_that_the_network_does_not_take():
    study = SimpleNamespace(channels=4, shape=((20, 20), (30, 30)))
    assert check_images(study, 4, [2, 3]) is study
    assert check_images(None, 4, [2, 3]) is None
    with pytest.raises(ValueError, match="expected images of 1 channels, got 4: --in_channels 4"):
        check_images(study, 1, [2, 3])
    with pytest.raises(ValueError, match="expected images of 3 axes, got 2: --spatial_dims 2"):
        check_images(study, 4, range(3, 4))


def test_places_to_write_to(tmp_path):
    (tmp_path / "file").touch()
    limits.check_outputs(str(tmp_path / "new" / "deeper"), str(tmp_path / "model.pt"), str(tmp_path / "file"))
    with pytest.raises(ValueError, match="file/out: .*file does not allow it"):
        limits.check_outputs(str(tmp_path / "file" / "out"))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file"]
