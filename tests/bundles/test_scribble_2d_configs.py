# SPDX-License-Identifier: Apache-2.0
"""The files of the bundle for photographs: complete, with the paper's numbers, and nothing written twice."""

from __future__ import annotations

import json

import jsonschema
import monai.bundle
import pytest
import torch

from tests.bundles import bundle
from tests.bundles.photographs import BUNDLE, TINY, config, read, resolved, workflow
from tests.bundles.test_configs import NEW_IN_EVALUATION, SCHEMA, undeclared_classes

NAMES = sorted(path.stem for path in BUNDLE.glob("*.json"))
OVERLAYS = sorted(set(NAMES) - {"train", "inference", "metadata"})
METHODS = {"pce", "gd", "full", "entropy", "total_variation", "mean_teacher", "partial_dice", "dice_self_labeling"}
METHODS |= {"uncertain_teacher", "mixed_labels"}
NETWORKS = {"mobilenetv2", "resnet101", "vit", "small"}


def test_the_bundle_is_complete():
    expected = {"train", "evaluate", "inference", "multi_gpu_train", "metadata", "cityscapes", "ade20k"}
    assert expected | METHODS | NETWORKS <= set(NAMES)
    assert (BUNDLE / "LICENSE").read_text() == (bundle.REPOSITORY / "LICENSE").read_text()


def test_configs_is_a_view_of_the_bundle():
    links = sorted((BUNDLE / "configs").iterdir())
    if not all(link.is_symlink() for link in links):
        pytest.skip("this checkout has no symbolic links")
    assert [link.name for link in links] == sorted([*(f"{name}.json" for name in NAMES), "logging.conf"])
    assert all(link.readlink().as_posix() == f"../{link.name}" and link.is_file() for link in links)


def blocks(config, path=()):
    """``{path: text}`` of everything in a configuration that takes more than a line."""
    for key, value in config.items() if isinstance(config, dict) else enumerate(config):
        if isinstance(value, (dict, list)):
            yield from blocks(value, (*path, key))
            if len(text := json.dumps(value, sort_keys=True)) > 120:
                yield (*path, key), text


def test_nothing_is_written_twice():
    """What both bundles have in common, the one for photographs takes from the other by reference."""
    there = {text for _, text in blocks(bundle.read("train"))}
    assert not [path for path, text in blocks(read("train")) if text in there]
    for name in METHODS | {"multi_gpu_train"}:
        if (BUNDLE / f"{name}.json").is_symlink():  # a checkout without links has the links' texts
            assert (BUNDLE / f"{name}.json").resolve() == (bundle.BUNDLE / f"{name}.json").resolve()


def test_every_reference_to_the_other_bundle_has_its_own_name():
    """``"loss": "%bundles/scribble/train.json::loss"``, so that both are found at the same place."""

    def references(config, path=()):
        for key, value in config.items() if isinstance(config, dict) else enumerate(config):
            if isinstance(value, (dict, list)):
                yield from references(value, (*path, str(key)))
            elif isinstance(value, str) and value.startswith("%bundles"):
                yield "::".join((*path, str(key))), value

    for name in ("train", "evaluate"):
        found = dict(references(read(name)))
        assert len(found) >= 3
        for path, value in found.items():
            own = {"run": {"train": "training", "evaluate": "evaluating"}[name]}.get(path, path)
            own = own.removeprefix("solver::")  # which is inside a solver here
            target = value.removeprefix(f"%bundles/scribble/{name}.json::")
            # one that both have among other steps has an id at the top
            assert target == own or (own[-1].isdigit() and "_target_" in bundle.read(name)[target])
    parser = resolved()
    assert all(not (isinstance(v, str) and v.startswith("%")) for v in parser.get().values())


@pytest.mark.parametrize("name", OVERLAYS)
def test_overlays_overlay_something(name):
    """A mistyped id in an overlay is a new, unread one."""
    train = read("train")
    for key in set(read(name)) - NEW_IN_EVALUATION:
        section = train
        for part in key.split("#"):
            assert part in section, f"{key} is not in train.json"
            section = section[part]
    assert (BUNDLE / f"{name}.json").read_text().count("\n") <= 30


def test_the_recipe_of_the_paper():
    """§3, implementation details, and §3.5."""
    train = resolved().get()
    paper = {"eta": 0.3, "lam": 6.0, "bandwidth": 9.0, "guide_smoothing": 0, "connectivity": 1}
    paper |= {"cross_entropy": "collision_cross_entropy", "relaxation": "collision_divergence"}
    paper |= {
        "batch_size": 12,
        "epochs": 60,
        "learning_rate": 0.0007,
        "patch_size": [513, 513],
        "declared": "$declared_labels(@datalist, num_classes=21)",
        "backbone": "resnet101",
    }
    assert {key: train[key] for key in paper} == paper
    assert train["optimizer"]["_target_"] == "torch.optim.SGD" and train["lr_scheduler"]["power"] == 0.9
    gd = resolved(
        "train", "gd"
    ).get()  # on photographs, too: the other bundle's 0.035 of 255 grey levels is no pair term
    assert (gd["bandwidth"], gd["guide_smoothing"], gd["relaxation"]) == (9.0, 0, "quadratic")
    assert resolved("train", "ade20k", "gd").get()["bandwidth"] == 3.0
    assert gd["loss"]["_target_"] == "medwsss.losses.RegularizedLoss"
    assert read("cityscapes") == {"num_classes": 19, "bandwidth": 3.0}
    assert read("ade20k") == {"num_classes": 150, "bandwidth": 3.0}


def test_metadata(tmp_path):
    metadata = read("metadata")
    jsonschema.validate(metadata, SCHEMA)
    schema = tmp_path / "schema.json"
    schema.write_text(json.dumps(SCHEMA))
    monai.bundle.verify_metadata(meta_file=str(BUNDLE / "metadata.json"), filepath=str(schema))
    assert metadata["version"] in metadata["changelog"]
    train, formats = read("train"), metadata["network_data_format"]
    assert formats["inputs"]["image"]["num_channels"] == train["in_channels"]
    assert formats["outputs"]["pred"]["num_channels"] == undeclared_classes(train)
    other = bundle.read("metadata")
    same = [key for key in other if key.endswith("version") and key != "version"]
    assert len(same) == 4 and all(metadata[key] == other[key] for key in same)


def test_training_and_inference_agree():
    """The copies that MONAI's tools make necessary: inference.json has to stand alone."""
    train, inference = resolved().get(), read("inference")
    assert "%bundles" not in (BUNDLE / "inference.json").read_text()
    common = (set(train) & set(inference)) - {
        "imports",
        "bundle_root",
        "dataset_dir",
        "datalist",
        "output_dir",
        "model_file",
    }
    common -= {"initialize", "run", "num_classes"}
    assert inference["num_classes"] == undeclared_classes(train)
    assert {"network_def", "network", "test_scales", "mean", "std", "backbone"} <= common
    assert {k: train[k] for k in common} == {k: inference[k] for k in common}
    assert train["validate"]["inferer"] == inference["whole"]
    steps = [step for step in train["validate"]["preprocessing"]["transforms"] if "image" in step["keys"]]
    expected = inference["preprocessing"]["transforms"]
    assert [{**step, "keys": "image"} for step in steps] == [
        step for step in expected if not step["_target_"].endswith("CheckImaged")
    ]


@pytest.mark.parametrize(
    "names",
    [("train",), ("train", "mobilenetv2"), ("train", "small"), ("train", "vit", "pce"), ("train", "small", "gd")],
    ids="+".join,
)
@pytest.mark.filterwarnings("ignore:training starts from random weights")
def test_properties_of_training(names, photographs, tmp_path):
    flow = workflow(*names, **{**TINY, "dataset_dir": str(photographs), "output_dir": str(tmp_path)})
    flow.initialize()
    assert flow.check_properties() == []


def test_properties_of_inference(photographs, trained_on_photographs, tmp_path):
    places = {"datalist": str(photographs / "dataset.json"), "model_file": str(trained_on_photographs / "model.pt")}
    settings = {"section": "validation", "num_classes": 2, "output_dir": str(tmp_path)}
    flow = workflow("inference", "small", kind="infer", **settings, **places)
    flow.initialize()
    assert flow.check_properties() == []


@pytest.mark.parametrize("overlay", ["mobilenetv2", "vit", "small"])
def test_verify_net_in_out(overlay):
    meta, layers = {"meta_file": str(BUNDLE / "metadata.json"), "device": "cpu"}, {}
    if overlay == "vit":
        layers = {"network_def#num_layers": 1, "network_def#hidden_size": 12, "network_def#mlp_dim": 12}
    size = {"any": 32, "config_file": config("inference", overlay)}
    monai.bundle.verify_net_in_out("network_def", **meta, **size, **layers)
    with pytest.raises(ValueError, match="channel"):  # it does look
        monai.bundle.verify_net_in_out("network_def", **meta, **size, **layers, num_classes=3)


def test_ckpt_export(tmp_path):
    files = {"meta_file": str(BUNDLE / "metadata.json"), "config_file": config("inference", "mobilenetv2")}
    torch.manual_seed(0)
    network = resolved("inference", "mobilenetv2").get_parsed_content("network_def").eval()
    torch.save(network.state_dict(), tmp_path / "model.pt")
    target = tmp_path / "model.ts"
    monai.bundle.ckpt_export("network_def", filepath=str(target), ckpt_file=str(tmp_path / "model.pt"), **files)
    exported, metadata, _ = monai.data.load_net_with_metadata(str(target))
    image = torch.rand(1, 3, 33, 47)
    torch.testing.assert_close(exported.eval()(image), network(image))
    assert metadata["version"] == read("metadata")["version"]
