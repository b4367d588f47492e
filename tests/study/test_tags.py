# SPDX-License-Identifier: Apache-2.0
"""Tags of a data list: what they say, and what of them is refused before training, by file and value."""

from __future__ import annotations

import json
import math

import nibabel as nib
import numpy as np
import pytest
import torch
from PIL import Image

from data_prep.__main__ import main
from medwsss.study import check_study, label_mapper, load_tagged, tag_schema, write_seed_list
from medwsss.study.seeds import seed_files
from medwsss.study.tags import check_tags

LABELS = {"0": "background", "1": "cat", "2": "dog", "3": "horse"}


@pytest.fixture
def study(tmp_path):
    """Four training images and two for validation, with masks of what their tags say."""
    rng = np.random.default_rng(0)
    tags = [["cat"], [2, "horse"], [], ["cat", "dog"], ["dog"], ["cat", 3]]
    items = []
    for index, told in enumerate(tags):
        Image.fromarray(rng.integers(0, 255, (8, 6, 3)).astype(np.uint8)).save(tmp_path / f"{index}.png")
        mask = np.zeros((8, 6), np.uint8)
        for row, tag in enumerate(told):
            mask[row] = tag if isinstance(tag, int) else next(int(k) for k, name in LABELS.items() if name == tag)
        Image.fromarray(mask).save(tmp_path / f"mask{index}.png")
        items.append({"image": f"{index}.png", "tags": told})
    for index in (4, 5):
        items[index]["label"] = f"mask{index}.png"
    return Study(tmp_path, {"labels": LABELS, "training": items[:4], "validation": items[4:]})


class Study:
    """A folder and the content of its data list."""

    def __init__(self, folder, content):
        self.folder, self.content = folder, content

    @property
    def path(self):
        path = self.folder / "dataset.json"
        path.write_text(json.dumps(self.content))
        return path

    def check(self, **options):
        return check_study(self.path, label_mapper(self.path), **options)


def test_tags_are_names_or_numbers_and_may_be_unknown(study):
    study.content["training"][0]["unknown_tags"] = ["dog"]
    items = load_tagged(study.path)
    assert [item["tags"] for item in items[1:]] == [[0, 1, 1], [0, 0, 0], [1, 1, 0]]
    assert items[0]["tags"][::2] == [1, 0] and math.isnan(items[0]["tags"][1])
    assert set(items[0]) == {"image", "tags"} and items[0]["image"] == str(study.folder / "0.png")
    validation = load_tagged(study.path, "validation")
    assert set(validation[0]) == {"image", "label", "tags"}
    del study.content["validation"][0]["tags"]
    assert all(map(math.isnan, load_tagged(study.path, "validation")[0]["tags"]))


def test_every_class_is_a_tag_where_there_is_no_background(study):
    study.content |= {"background": False, "labels": {"0": "water", "1": "land", "2": "road", "3": "wood"}}
    study.content["training"] = [{"image": "0.png", "tags": ["water", 3]}]
    assert tag_schema(study.path).names == ("water", "land", "road", "wood")
    assert load_tagged(study.path)[0]["tags"] == [1, 0, 0, 1]


def test_a_study_without_a_fault(study):
    report = study.check().accepted()
    assert report.errors == report.warnings == []
    assert report.tags.splitlines()[1].split() == ["cat", "2", "50.0%", "0"]
    assert main(["check", str(study.path)]) == 0


def item(**change):
    return lambda content: content["training"][0].update(change)


def everywhere(*tags, absent=()):
    def change(content):
        for each in content["training"]:
            each["tags"] = [*tags, *(tag for tag in each["tags"] if tag not in (*tags, *absent))]

    return change


MALFORMED = {
    "no list": (lambda c: c["training"].clear(), "'training' with at least one item", ""),
    "another section": (lambda c: c.update(train=c.pop("training")), "'training' with at least one item", ""),
    "no tags": (lambda c: c["training"][0].pop("tags"), "expected 'tags', a list", "training[0]"),
    "a text": (item(tags="cat"), "got 'cat', did you mean ['cat']?", "training[0]['tags']"),
    "nothing": (item(tags=None), "expected a list of tags, got None", "training[0]['tags']"),
    "a table": (item(tags={"cat": 1}), "expected a list of tags, got {'cat': 1}", "training[0]['tags']"),
    "a list in it": (item(tags=[["cat"]]), "got ['cat']", "training[0]['tags']"),
    "a typing error": (item(tags=["catt"]), "got 'catt', did you mean 'cat'?", "training[0]['tags']"),
    "no such class": (item(tags=[4]), "got 4", "training[0]['tags']"),
    "a fraction": (item(tags=[1.5]), "got 1.5", "training[0]['tags']"),
    "a truth": (item(tags=[True]), "got True", "training[0]['tags']"),
    "a background": (item(tags=["background"]), "the background 'background'", "training[0]['tags']"),
    "its number": (item(tags=[0]), "the background 0", "training[0]['tags']"),
    "twice": (item(tags=["cat", 1]), "each tag once, got 1 again", "training[0]['tags']"),
    "there and unknown": (item(unknown_tags=["cat"]), "got 'cat' again", "training[0]['unknown_tags']"),
    "an unknown text": (item(unknown_tags="dog"), "did you mean ['dog']?", "training[0]['unknown_tags']"),
    "in no image": (everywhere(absent=("dog", 2)), "images with the tag 'dog', got none", ""),
    "in every image": (everywhere("cat"), "images without the tag 'cat', got it in all 4", ""),
    "no image": (item(image="9.png"), "expected an existing file", "training[0]['image']"),
    "no classes": (lambda c: c.update(labels={"0": "background"}), "got no tag", ""),
    "a word for no": (lambda c: c.update(background="no"), "got 'no'", ""),
}


def refuse(study):
    """What the bundle does before anything else."""
    load_tagged(study.path)
    study.check(sections=("training", "validation")).accepted()


@pytest.mark.parametrize("name", MALFORMED)
def test_malformed_lists_are_refused(study, name):
    """By the check that training begins with: the file, the item and the value are told, with what helps."""
    change, value, place = MALFORMED[name]
    change(study.content)
    with pytest.raises(ValueError) as error:
        refuse(study)
    assert value in str(error.value) and place in str(error.value) and str(study.path) in str(error.value)


def test_constant_tags_may_be_allowed(study):
    everywhere("cat")(study.content)
    assert study.check(allow_constant_tags=True).errors == []


def test_what_is_doubtful_is_told(study):
    study.content["training"][1]["tags"] = ["horse"]
    study.content["training"][3]["tags"] = ["cat", "dog"]
    study.content["training"][0]["tags"] = []
    (told,) = study.check().warnings
    assert "'cat' and 'dog' always together" in told
    study.content["training"][0]["tags"] = ["cat"]
    study.content["validation"][0]["tags"] = ["cat"]
    (told,) = study.check().warnings
    assert "['dog'], got ['cat']" in told and "mask4.png" in told


def test_rare_tags_are_told(study):
    _, doubts, _ = check_tags([[1, 0, 1], [0, 1, 0]] + [[1, 1, 0]] * 197, tag_schema(study.path))
    assert any("'horse' in 1 of 199" in text for text in doubts)


def test_the_list_of_seeds_is_a_study(study, tmp_path):
    """Of scribbles and priors, in the values of the list, which points at the images where they are."""
    study.content["labels"] = {"10": "background", "11": "cat", "12": "dog", "13": "horse"}
    study.content["training"][0]["label"] = "mask0.png"
    items = [{**each, "case": f"case{n}"} for n, each in enumerate(load_tagged(study.path))]
    path = write_seed_list(study.path, items, tmp_path / "out" / "seeds", 4)
    content = json.loads(path.read_text())
    assert path.parent == tmp_path / "out" / "seeds"
    first = content["training"][0]
    assert first["image"] == "../../0.png" and first["tags"] == ["cat"] and first["mask"] == "../../mask0.png"
    assert first["scribble"] == "scribbles/case0.png" and first["prior"][3] == "priors/case0_3.tif"
    scribble, priors = seed_files(path.parent, items[0], 4)
    assert scribble == path.parent / first["scribble"] and len(priors) == 4
    assert content["validation"][1]["label"] == "../../mask5.png"
    assert label_mapper(path)(torch.tensor([[10, 13, 255, 254]])).tolist() == [[0, 3, 255, 254]]


# ---- slices


@pytest.fixture
def volumes(tmp_path):
    """Two volumes of 4 × 3 × 2 voxels with tags for the two slices across the last axis, and one for validation."""
    items = []
    for index, told in enumerate(([["cat"], []], [["horse"], {"tags": [2], "unknown_tags": ["cat"]}], [["dog"], None])):
        voxels = np.random.default_rng(index).integers(0, 99, (4, 3, 2)).astype(np.int16)
        nib.save(nib.Nifti1Image(voxels, np.eye(4)), tmp_path / f"{index}.nii.gz")
        items.append({"image": f"{index}.nii.gz", "slice_tags": told})
    return Study(tmp_path, {"labels": LABELS, "training": items[:2], "validation": items[2:]})


def test_slices_are_items_and_volumes_hold_them_all(volumes):
    items = load_tagged(volumes.path)
    assert [(item["image"][-8], item["slice"], item["slice_axis"]) for item in items] == [
        ("0", 0, 2), ("0", 1, 2), ("1", 0, 2), ("1", 1, 2)
    ]  # fmt: skip
    assert [item["tags"] for item in items[:3]] == [[1, 0, 0], [0, 0, 0], [0, 0, 1]]
    assert str(items[3]["tags"]) == "[nan, 1.0, 0.0]"
    whole = load_tagged(volumes.path, "validation", whole=True)
    assert str([item["tags"] for item in whole]) == "[[[0.0, 1.0, 0.0], [nan, nan, nan]]]" and "slice" not in whole[0]
    table = [line.split() for line in volumes.check().tags.splitlines()[1:]]
    assert table == [["cat", "1", "33.3%", "1"], ["dog", "1", "25.0%", "0"], ["horse", "1", "25.0%", "0"]]


@pytest.mark.parametrize(
    "change, told",
    [
        ({"slice_axis": 1}, "each of the 3 slices across axis 1 (slice_axis), got 2 of {}/0.nii.gz"),
        ({"slice_axis": 3}, "expected 'slice_axis' of 0, 1 or 2, across which slices lie, got 3 in {}/dataset.json"),
        ({"slice_tags": [["cat"]]}, "each of the 2 slices across axis 2 (slice_axis), got 1 of {}/0.nii.gz"),
        ({"slice_tags": "cat"}, "{}/dataset.json: training[0]: expected 'slice_tags' alone, a list"),
        ({"slice_tags": [["cat"], ["dgo"]]}, "training[0]['slice_tags'][1]['tags']: expected a tag of cat, dog, horse"),
        ({"tags": ["cat"]}, "training[0]: expected 'slice_tags' alone, a list with an entry for each slice, got"),
    ],
)
def test_slices_that_do_not_fit(volumes, change, told):
    target = volumes.content if "slice_axis" in change else volumes.content["training"][0]
    target |= change
    with pytest.raises(ValueError) as error:
        volumes.check().accepted()
    assert told.format(volumes.folder) in str(error.value)


def test_a_picture_has_no_slices(study):
    for item in study.content["training"]:
        item["slice_tags"] = [item.pop("tags")] * 6
    study.content["validation"] = []
    assert "expected a volume, whose slices have tags" in "\n".join(study.check(sections=["training"]).errors)
