# SPDX-License-Identifier: Apache-2.0
"""A recipe stands behind what somebody says and before what the bundle says; one that does not fit is named."""

from __future__ import annotations

import json
import logging
from dataclasses import replace

import pytest
from monai.bundle import ConfigParser
from monai.networks.nets import UNet

from medwsss.bundle.command_line import cause_of
from medwsss.bundle.recipe import check_recipe, use_recipe
from medwsss.keys import RECIPE
from medwsss.study import StudySummary, plan_training, read_recipe
from tests.study.plan.studies import PHOTOGRAPHS, VOLUMES

assert use_recipe  # which the configurations name


@pytest.fixture
def folder(tmp_path):
    """A data list of three classes, and a recipe beside it."""
    (tmp_path / "dataset.json").write_text(json.dumps({"num_classes": 3, "training": [{"image": "a"}]}))
    plan_training(VOLUMES).write(tmp_path / RECIPE)
    return tmp_path


def use(folder, *options, bundle="scribble", **changes):
    """The bundle's configuration after ``use_recipe`` in a command with these options."""
    argv = ["monai/bundle/__main__.py", "run", "--config_file", "train.json", *options]
    parser = ConfigParser()
    parser.read_config(f"bundles/{bundle}/train.json")
    parser["initialize"] = ["$take_names('dataset_dir')", f"$use_recipe({argv})"]
    parser.update({"dataset_dir": str(folder), "device": "cpu", **changes})
    parser.get_parsed_content("initialize")
    return parser


def refused(folder, *options, **changes):
    with pytest.raises(RuntimeError) as error:
        use(folder, *options, **changes)
    assert isinstance(cause := cause_of(error.value), ValueError)
    return str(cause)


def edit(folder, change):
    content = json.loads((folder / RECIPE).read_text())
    change(content)
    (folder / RECIPE).write_text(json.dumps(content))


def test_a_recipe_says_what_the_bundle_would(folder, caplog):
    with caplog.at_level(logging.INFO):
        parser = use(folder)
    planned = plan_training(VOLUMES).settings
    assert planned["patch_size"] != [48, 48, 16]
    assert {name: parser.get_parsed_content(name) for name in planned} == planned
    network = parser.get_parsed_content("network_def")
    assert isinstance(network, UNet) and list(network.channels) == planned["channels"]
    assert parser.get_parsed_content("dataset_dir") == str(folder)
    assert f"The recipe {folder / RECIPE}" in caplog.text and "by hand" not in caplog.text


def test_without_one_the_bundle_does(folder, caplog):
    (folder / RECIPE).unlink()
    with caplog.at_level(logging.INFO):
        assert use(folder).get_parsed_content("patch_size") == [48, 48, 16]
    assert "No recipe" in caplog.text
    plan_training(VOLUMES).write(folder / "other.json")
    assert use(folder, recipe=str(folder / "other.json")).get_parsed_content("batch_size") == 2


def test_what_somebody_says_counts_and_is_told(folder, caplog):
    """Typed even where it is what the bundle says; by an overlay or from Python where it is something else."""
    parser = use(folder, "--batch_size", "4", epochs=7)
    assert (parser.get_parsed_content("batch_size"), parser.get_parsed_content("epochs")) == (4, 7)
    assert f"batch_size is 4, as the command or an overlay says; {folder / RECIPE} says 2" in caplog.text
    assert "epochs is 7" in caplog.text and "learning_rate is" not in caplog.text
    assert parser.get_parsed_content("learning_rate") == 0.003


def test_an_overlay_of_the_bundle_and_settings_over_it(folder):
    plan_training(PHOTOGRAPHS).write(folder / RECIPE)
    parser = use(folder, bundle="scribble_2d")
    network = parser.get_parsed_content("network_def")
    assert isinstance(network, UNet) and network.out_channels == 3  # small.json, evaluated with the list's classes
    assert type(parser.get_parsed_content("optimizer")).__name__ == "AdamW"
    assert parser.get_parsed_content("test_scales") == [0.5] and parser.get_parsed_content("pretrained") is None
    told = refused(folder, "--weights", "a.pth", bundle="scribble_2d", weights="a.pth")
    assert f"expected the network of {folder / RECIPE} (small.json), got weights" in told
    assert "got backbone" in refused(folder, bundle="scribble_2d", backbone="mobilenet_v2")


def test_with_a_run_its_settings_count_alone(folder):
    assert use(folder, run_dir="somewhere").get_parsed_content("batch_size") == 4


def test_an_edited_recipe_is_used_and_told(folder, caplog):
    edit(folder, lambda content: content["settings"].update(batch_size=3, eta=0.5))
    del_rate = read_recipe(folder / RECIPE).edited
    assert del_rate == {"batch_size": 2, "eta": None}
    parser = use(folder)
    assert (parser.get_parsed_content("batch_size"), parser.get_parsed_content("eta")) == (3, 0.5)
    assert "batch_size is 3, by hand; planned was 2" in caplog.text


NONSENSE = {
    "not JSON": (None, "expected a recipe in JSON"),
    "another version": (lambda c: c.update(version=0), "expected a recipe of version 3, got 0"),
    "no settings": (lambda c: c.pop("settings"), "expected a recipe of bundle, overlays, settings"),
    "a fact of another kind": (lambda c: c["study"].update(items="many"), "expected items of a study to be int"),
    "a fact that is not there": (lambda c: c["study"].pop("noise"), "got others or none of noise"),
    "another bundle": (lambda c: c.update(bundle="scribble_2d"), "for bundles/scribble, got one for bundles/sc"),
    "other classes": (lambda c: c["study"].update(num_classes=4), "expected a recipe for 3 classes, got 4"),
    "a mistyped name": (lambda c: c["settings"].update(patch_sise=[8]), "patch_sise in {path}, did you mean patch"),
    "out of range": (lambda c: c["settings"].update(epochs=-3), "expected --epochs of whole numbers from 1, got -3 in"),
    "a wrong length": (lambda c: c["settings"].update(patch_size=[32]), "expected --patch_size of 3 values"),
    "an expression": (lambda c: c["settings"].update(eta="$exit()"), "got the expression '$exit()' of eta"),
    "a function": (
        lambda c: c["settings"].update(scale_intensity={"_target_": "os.remove", "path": "a"}),
        "expected networks and transforms, got 'os.remove'",
    ),
    "a strange overlay": (lambda c: c["overlays"].append("../../other"), "expected an overlay of"),
}  # fmt: skip


@pytest.mark.parametrize("change, told", NONSENSE.values(), ids=NONSENSE)
def test_nonsense_is_named(folder, change, told):
    if change is None:
        (folder / RECIPE).write_text("{")
    else:
        edit(folder, change)
    said = refused(folder)
    assert told.format(path=folder / RECIPE) in said and str(folder / RECIPE) in said


def test_a_recipe_for_slices_is_none_for_volumes(folder):
    plan_training(replace(VOLUMES, spatial_dims=2)).write(folder / RECIPE)
    told = refused(folder, "--spatial_dims", "3")
    assert f"expected spatial_dims 2, which {folder / RECIPE} is for, got 3" in told and "plans anew" in told


def summary(**changes):
    shape = (tuple(VOLUMES.smallest), tuple(VOLUMES.largest))
    return StudySummary(**{"num_classes": 3, "channels": 1, "shape": shape, "spacing": shape, "items": 1, **changes})


def test_a_recipe_of_other_images_is_told(folder, caplog):
    path = str(folder / RECIPE)
    own = summary()
    plan_training(replace(VOLUMES, images=own.images)).write(folder / RECIPE)
    assert check_recipe(path, own) is own and check_recipe(None, own) is own
    assert caplog.text == ""
    check_recipe(path, summary(items=2))
    assert f"expected the {own.images} that {path} was made for, got 2 images" in caplog.text
    with pytest.raises(ValueError, match="of 3 channels and 3 axes for 1 and 3.*plans anew"):
        check_recipe(path, summary(items=2, channels=3))
