# SPDX-License-Identifier: Apache-2.0
"""What MONAI's tools expect to find in the bundle's files, before anything runs."""

from __future__ import annotations

import json
import re
from importlib.metadata import version

import jsonschema
import pytest
import torch

from tests.bundles.bundle import BUNDLE, REPOSITORY, TINY, TINY_2D, read, resolved, workflow

NAMES = sorted(path.stem for path in BUNDLE.glob("*.json"))
OVERLAYS = sorted(set(NAMES) - {"train", "inference", "metadata"})

# meta_schema_20240725.json's required keys and the types that MONAI reads; the schema itself is third-party, and online
TEXT = {"type": "string", "minLength": 1}
VERSION = {"type": "string", "pattern": r"^\d+\.\d+\.\d+"}
TENSOR = {
    "type": "object",
    "required": ["type", "format", "num_channels", "spatial_shape", "dtype", "value_range"],
    "properties": {"num_channels": {"type": "integer"}, "spatial_shape": {"type": "array"}},
}
SCHEMA = {
    "type": "object",
    "properties": {
        "schema": {"type": "string", "format": "uri"},
        "version": VERSION,
        "monai_version": VERSION,
        "pytorch_version": VERSION,
        "numpy_version": VERSION,
        "required_packages_version": {"type": "object", "additionalProperties": VERSION},
        "task": TEXT,
        "description": TEXT,
        "authors": TEXT,
        "copyright": TEXT,
        "network_data_format": {
            "type": "object",
            "required": ["inputs", "outputs"],
            "properties": {
                "inputs": {"type": "object", "required": ["image"], "additionalProperties": TENSOR},
                "outputs": {"type": "object", "required": ["pred"], "additionalProperties": TENSOR},
            },
        },
        "supported_apps": {"type": "object"},
        "changelog": {"type": "object", "additionalProperties": TEXT},
    },
}
SCHEMA["required"] = [key for key in SCHEMA["properties"] if key not in ("supported_apps", "changelog")]


def test_the_bundle_is_complete():
    expected = {"train", "evaluate", "inference", "multi_gpu_train", "pce", "gd", "full", "metadata"}
    assert expected <= set(NAMES)
    assert (BUNDLE / "LICENSE").read_text() == (REPOSITORY / "LICENSE").read_text()


def test_configs_is_a_view_of_the_bundle():
    links = sorted((BUNDLE / "configs").iterdir())
    if not all(link.is_symlink() for link in links):
        pytest.skip("this checkout has no symbolic links")
    assert [link.name for link in links] == sorted([*(f"{name}.json" for name in NAMES), "logging.conf"])
    assert all(link.readlink().as_posix() == f"../{link.name}" and link.is_file() for link in links)


@pytest.mark.parametrize("name", OVERLAYS)
def test_overlays_are_small(name):
    assert (BUNDLE / f"{name}.json").read_text().count("\n") <= 30


NEW_IN_EVALUATION = {
    "evaluating",
    "evaluation_metrics",
    "evaluation_handlers",
    "figure_notes",
    "surface_tolerance",
    "run_dir",
}


@pytest.mark.parametrize("name", OVERLAYS)
def test_overlays_overlay_something(name):
    """A mistyped id in an overlay is a new, unread one."""
    new = {"evaluate": NEW_IN_EVALUATION}.get(name, set())
    train = read("train")
    for key in set(read(name)) - new:
        section = train
        for part in key.split("#"):
            assert part in section, f"{key} is not in train.json"
            section = section[part]


STATEFUL = {"pseudo_labels", "diagnostics", "guard", "report", "best_model"}


def test_handlers_with_a_state_are_always_there():
    """MONAI drops a ``_disabled_`` component from a list, but not a reference to one, which is ``None``."""
    train = read("train")
    assert train["pseudo_labels"] == "$@volume_labels if @labels == 'volume' else @batch_labels"
    ids = STATEFUL - {"pseudo_labels"} | {"volume_labels", "batch_labels"}
    assert all("_target_" in train[name] and "_disabled_" not in train[name] for name in ids)
    listed = train["validate"]["handlers"] + re.findall(r"@(?!train)\w+", train["train"]["trainer"]["train_handlers"])
    assert {name.removeprefix("@") for name in listed if isinstance(name, str)} == STATEFUL
    saved = next(h for h in train["train"]["handlers"] if h["_target_"].endswith("FullCheckpoint"))["save_dict"]
    assert {name: saved[name] for name in STATEFUL} == {name: f"@{name}" for name in STATEFUL}


def test_the_list_of_handlers_holds_components_alone():
    """MONAI looks at the target of each."""
    assert all("_target_" in handler for handler in read("train")["train"]["handlers"])


def texts(config):
    if isinstance(config, (dict, list)):
        for value in config.values() if isinstance(config, dict) else config:
            yield from texts(value)
    elif isinstance(config, str):
        yield config


@pytest.mark.parametrize(
    "path", sorted(BUNDLE.parent.glob("*/*.json")), ids=lambda path: f"{path.parent.name}-{path.stem}"
)
def test_nothing_is_referred_to_by_its_place_in_a_list(path):
    """Whoever inserts something into a list would change what is meant."""
    found = [text for text in texts(json.loads(path.read_text())) if re.search(r"[@%][\w./#:]*(#|::)\d", text)]
    assert found == []


def undeclared_classes(train):
    """How many there are where the data list does not say."""
    return int(re.fullmatch(r"\$declared_labels\(@datalist, num_classes=(\d+)\)", train["declared"])[1])


def test_metadata():
    metadata = read("metadata")
    jsonschema.validate(metadata, SCHEMA)
    assert len(SCHEMA["required"]) == 11
    assert metadata["version"] in metadata["changelog"]
    train, image = read("train"), metadata["network_data_format"]["inputs"]["image"]
    assert (image["num_channels"], len(image["spatial_shape"])) == (train["in_channels"], train["spatial_dims"])
    assert metadata["network_data_format"]["outputs"]["pred"]["num_channels"] == undeclared_classes(train)


def test_metadata_names_the_installed_versions():
    metadata = read("metadata")
    named = {"monai": metadata["monai_version"], "torch": metadata["pytorch_version"]}
    named |= {"numpy": metadata["numpy_version"], **metadata["required_packages_version"]}
    installed = {name: version(name).split("+")[0] for name in named}
    if installed["torch"] != "2.13.0":
        pytest.skip("another environment than the tested one")
    assert named == installed


def test_inference_stands_alone():
    """MONAI's tools read it without train.json."""
    assert "%bundles" not in (BUNDLE / "inference.json").read_text()


@pytest.mark.parametrize("bundle", ["scribble", "scribble_2d"])
def test_inference_says_what_is_wrong_before_it_works(bundle):
    """In this order, and not in ``initialize``, which MONAI's ``load`` runs where there are no images."""
    inference = json.loads((BUNDLE.parent / bundle / "inference.json").read_text())
    names = (
        "$take_names('run_dir', 'source', 'dataset_dir', 'pattern', 'datalist', 'section', 'output_dir', 'model_file')"
    )
    checks = ["$check_override_names()", "$check_options()", "$use_run()"]
    assert inference["initialize"] == ["$show_cause_last()", names, *checks]
    assert inference["inferring"] == ["@inputs", "@model", "$check_outputs(@output_dir)", "$@evaluator.run()"]
    assert inference["evaluator"]["network"] == "@model" and inference["evaluator"]["iteration_update"] == "@cases"
    assert "@cases" in inference["handlers"]


def test_training_and_inference_agree():
    """The copies that MONAI's tools make necessary."""
    train, inference = read("train"), read("inference")
    same = [
        "network_def",
        "channels",
        "strides",
        "patch_size",
        "patch_3d",
        "spatial_dims",
        "scale_intensity",
    ]
    assert inference["num_classes"] == undeclared_classes(train)
    assert {k: train[k] for k in same} == {k: inference[k] for k in same}
    assert all(train["validate"][k] == inference[k] for k in ("slices", "windows"))

    def of_image(steps):
        """What happens to the image until it is random: LoadImaged may load more at once."""
        steps = [train["scale_intensity"] if step == "@scale_intensity" else step for step in steps]
        kept = [{**step, "keys": "image"} for step in steps if "image" in step["keys"] or step["keys"] == "@loaded"]
        return [step for step in kept if not step["_target_"].endswith(("CopyItemsd", "CheckImaged"))]

    train, expected = resolved("train"), of_image(inference["preprocessing"]["transforms"])
    assert len(expected) == 5
    assert of_image(train["train"]["deterministic_transforms"]) == expected
    assert of_image(train["validate"]["preprocessing"]["transforms"]) == expected


@pytest.mark.parametrize("bundle", ["scribble", "scribble_2d"])
def test_a_runs_folder_says_what_its_images_and_its_network_depend_on(bundle):
    """All that inference refers to, over any number of steps, from what an image goes through, if training has it."""
    train, inference = (
        json.loads((BUNDLE.parent / bundle / f"{name}.json").read_text()) for name in ("train", "inference")
    )
    needed, left = set(), ["network_def", "preprocessing", "inferer"]
    while left:
        if (name := left.pop()) not in needed:
            needed.add(name)
            left += [found for text in texts(inference[name]) for found in re.findall(r"@(\w+)", text)]
            left += re.findall(r"^@(\w+)$", inference[name]) if isinstance(inference[name], str) else []
    known = set(train["trained"])
    assert needed & set(train) - {"preprocessing"} - {"patch_3d"} <= known
    assert known - needed <= {"class_names", "patch_size"}  # for people and evaluation, and for export


@pytest.mark.parametrize(
    "names, changes",
    [
        (("train",), {}),
        (("train",), TINY_2D),
        (("train", "pce"), {}),
        (("train", "gd"), {}),
        (("train", "full"), {}),
        (("train", "paper"), {}),
        (("train", "acdc"), {"num_classes": 5, "ignore_values": [255], "patch_size": [16, 16]}),
        (("train", "hippocampus"), {"num_classes": 5}),
    ],
    ids=["train", "train in 2-D", "pce", "gd", "full", "paper", "acdc", "hippocampus"],
)
def test_properties_of_training(names, changes, study, tmp_path):
    flow = workflow(*names, **{**TINY, "dataset_dir": str(study), "output_dir": str(tmp_path), **changes})
    flow.initialize()
    assert flow.check_properties() == []


def test_properties_of_evaluation_and_inference(study, trained):
    """MONAI knows evaluation properties by inference's names only, so the overlay is checked as what it overlays."""
    changes = {**TINY, "dataset_dir": str(study), "output_dir": str(trained)}
    flow = workflow("train", "evaluate", **changes)
    flow.initialize()
    assert flow.check_properties() == []
    flow = workflow("inference", kind="infer", **inference_of(study, trained))
    flow.initialize()
    assert flow.check_properties() == []


def test_the_papers_setting(study, tmp_path):
    """§3.5 and Appendix A: η = 0.3 in both places, λ = 6, H_CCE and P_CD, solved from the network's predictions.

    Whatever a study's settings and the default say.
    """
    labels = {"num_classes": 5, "ignore_values": [255]}
    flow = workflow("train", "acdc", "paper", **TINY, **labels, dataset_dir=str(study), output_dir=str(tmp_path))
    parser = flow.parser
    parser.parse()
    solver, loss = parser.get_parsed_content("solver"), parser.get_parsed_content("loss")
    energy = solver.energy
    assert (energy.eta, energy.lam, loss.eta, loss.class_balance, solver.levels) == (0.3, 6.0, 0.3, 0, 0)
    assert loss.normalization == "sums"  # as Eq. (8) has them
    assert energy.cross_entropy.name == "collision_cross_entropy"
    assert energy.relaxation.name == "collision_divergence"
    assert (energy.neighborhood.bandwidth, energy.neighborhood.smoothing) == (pytest.approx(9 / 255, rel=0.01), 0)


def inference_of(study, trained):
    return {
        "dataset_dir": str(study / "images"),
        "output_dir": str(trained / "predictions"),
        "model_file": str(trained / "model.pt"),
        "channels": TINY["channels"],
        "patch_size": TINY["patch_size"],
    }


def test_methods_start_from_the_same_weights(study, tmp_path):
    """Methods are compared from equal weights, and a run killed before its first checkpoint starts over equally."""
    weights = []
    for names in (["train"], ["train", "pce"], ["train", "gd"], ["train", "full"]):
        torch.manual_seed(len(weights))  # as another process would find it
        flow = workflow(*names, **TINY, dataset_dir=str(study), output_dir=str(tmp_path / names[-1]))
        flow.initialize()
        flow.parser.get_parsed_content("train#trainer")
        weights.append(flow.parser.get_parsed_content("network").state_dict())
    assert all((w[k] == weights[0][k]).all() for w in weights for k in w)


@pytest.mark.parametrize("path", sorted(BUNDLE.glob("*.json")), ids=lambda path: path.stem)
def test_names_are_unique(path):
    """JSON keeps the last of two equal keys, without a word."""

    def unique(pairs):
        keys = [key for key, _ in pairs]
        assert len(keys) == len(set(keys)), keys
        return dict(pairs)

    json.loads(path.read_text(), object_pairs_hook=unique)
