# SPDX-License-Identifier: Apache-2.0
"""A run's folder says what inference needs, as data, and nobody contradicts it unheard."""

from __future__ import annotations

import json
import logging
import shutil

import pytest
from monai.bundle import ConfigParser
from monai.networks.nets import UNet

from medwsss.bundle.command_line import cause_of
from medwsss.bundle.run_folder import read_run
from medwsss.keys import SETTINGS

IMPORTS = ["$from medwsss.bundle.run_folder import trained_settings", "$from medwsss.bundle.run_folder import use_run"]
NETWORK = {"_target_": "UNet", "spatial_dims": 2, "in_channels": 1, "out_channels": "@num_classes"}
CONFIG = {
    "imports": IMPORTS,
    "bundle_root": "bundles/scribble",
    "num_classes": 5,
    "spatial_dims": 2,
    "patch_size": [48, 48],
    "channels": [4, 8],
    "strides": "$[2] * (len(@channels) - 1)",
    "network_def": {**NETWORK, "channels": "@channels", "strides": "@strides"},
}
NAMES = ["num_classes", "patch_size", "channels", "strides", "network_def"]


@pytest.fixture
def run(tmp_path):
    """The folder of a run of other channels and classes than those of CONFIG."""
    trained = {**CONFIG, "num_classes": 3, "channels": [4, 8, 16], "settings": f"$trained_settings({NAMES})"}
    content = ConfigParser(trained).get_parsed_content("settings")
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / SETTINGS).write_text(json.dumps(content))
    return tmp_path / "run"


def use(run, *options, **changes):
    """The configuration after ``use_run`` in a command with these options."""
    argv = ["monai/bundle/__main__.py", "run", "--config_file", "inference.json", *options]
    parser = ConfigParser({**CONFIG, "run_dir": run and str(run), "use": f"$use_run({argv})", **changes})
    parser.get_parsed_content("use")
    return parser


def refused(run, *options, **changes):
    with pytest.raises(RuntimeError) as error:
        use(run, *options, **changes)
    assert isinstance(cause := cause_of(error.value), ValueError)
    return str(cause)


def test_values_and_no_expressions_are_written(run):
    bundle, settings = read_run(run)
    network = {"_target_": "UNet", "spatial_dims": 2, "in_channels": 1, "out_channels": 3}
    network |= {"channels": [4, 8, 16], "strides": [2, 2]}
    values = {"num_classes": 3, "patch_size": [48, 48], "channels": [4, 8, 16], "strides": [2, 2]}
    assert (bundle, settings) == ("scribble", {**values, "network_def": network})


def test_what_cannot_be_written_is_told(caplog):
    config = {**CONFIG, "network_def": "$len", "settings": f"$trained_settings({NAMES})"}
    written = ConfigParser(config).get_parsed_content("settings")["settings"]
    assert set(written) == set(NAMES) - {"network_def"} and "will not say network_def" in caplog.text


def test_a_copied_folder_replaces_what_the_bundle_says(run, tmp_path, caplog):
    copy = shutil.copytree(run, tmp_path / "copy")
    shutil.rmtree(run)
    with caplog.at_level(logging.INFO):
        parser = use(copy)
    assert f"num_classes is 3, from {copy / SETTINGS}, in place of 5" in caplog.text
    network = parser.get_parsed_content("network_def")
    assert isinstance(network, UNet) and (network.out_channels, network.channels) == (3, [4, 8, 16])
    assert parser.get_parsed_content("strides") == [2, 2]
    assert parser["network_def"]["out_channels"] == 3  # also where MONAI parses anew


def test_without_a_run_nothing_changes():
    assert use(None).get_parsed_content("network_def").out_channels == 5


def test_an_override_that_contradicts_is_refused(run):
    told = refused(run, "--num_classes", "4", "--network_def#channels", "[4,8]", num_classes=4)
    assert f"expected --num_classes 3, as in {run / SETTINGS}, or no such override, got 4" in told
    assert "--network_def#channels [4, 8, 16], as in" in told
    use(run, "--num_classes", "3", "--channels", "[4,8,16]", num_classes=3, channels=[4, 8, 16])


def test_another_window_is_told_and_used(run, caplog):
    parser = use(run, "--patch_size", "[32,32]", patch_size=[32, 32])
    assert parser.get_parsed_content("patch_size") == [32, 32]
    assert "patch_size is [32, 32], as the command says, and was [48, 48] in training" in caplog.text


def test_another_bundle(run):
    assert "expected a run of the bundle scribble_2d, got one of scribble" in refused(run, bundle_root="scribble_2d")


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda content: content.pop("bundle"), "expected a run's settings: bundle and settings, got ['settings']"),
        (lambda content: content["settings"].update(strides="$exit()"), "got the expression '$exit()' of strides"),
        (
            lambda content: content["settings"]["network_def"].update(_target_="subprocess.Popen"),
            "expected networks and transforms, got 'subprocess.Popen' of network_def#_target_",
        ),
        (
            lambda content: content["settings"]["network_def"].update(act={"_target_": "nowhere.Act"}),
            "got 'nowhere.Act' of network_def#act#_target_",
        ),
        (lambda content: content["settings"].update(num_classes="x"), "expected --num_classes of whole numbers"),
    ],
    ids=["no bundle", "expression", "function", "nothing", "out of range"],
)
def test_a_damaged_file_is_named(run, change, told):
    content = json.loads((run / SETTINGS).read_text())
    change(content)
    (run / SETTINGS).write_text(json.dumps(content))
    assert told in (said := refused(run)) and str(run / SETTINGS) in said


def test_half_a_file_and_none(run):
    path = run / SETTINGS
    path.write_bytes(path.read_bytes()[:-20])
    assert f"expected a run's settings in JSON, got {path}" in refused(run)
    path.unlink()
    assert f"got no file {path}" in refused(run)
