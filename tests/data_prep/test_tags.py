# SPDX-License-Identifier: Apache-2.0
"""Tags of masks, tables and folders: what the list then says."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image

from data_prep.__main__ import main
from medwsss.study import load_tagged


@pytest.fixture
def images(tmp_path):
    for name in ("a", "b", "cat/c", "cat/d", "dog/e", "normal/f"):
        path = tmp_path / f"{name}.png"
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(np.full((4, 5), ord(name[-1]), np.uint8)).save(path)
    return tmp_path


def made(capsys, *words):
    code = main(["tags", *map(str, words)])
    return code, capsys.readouterr().err


def read(path):
    return json.loads(path.read_text())


def test_of_masks(images, capsys):
    """Of 20 pixels, 10 and 4 of two classes, 1 of a third one: 5 % is less than 10 %, and unknown."""
    mask = np.zeros((4, 5), np.uint8)
    mask.flat[:15] = [1] * 10 + [2] * 4 + [3]
    Image.fromarray(mask).save(images / "mask.png")
    content = {"labels": {"0": "background", "1": "cat", "2": "dog", "3": "mouse"}}
    content |= {"training": [{"image": "a.png", "label": "mask.png"}], "validation": []}
    (images / "list.json").write_text(json.dumps(content))
    assert made(capsys, "--masks", images / "list.json", "--output", images / "tags.json", "--min-share", 0.1)[0] == 0
    (item,) = read(images / "tags.json")["training"]
    assert item["tags"] == ["cat", "dog"] and item["unknown_tags"] == ["mouse"] and item["label"] == "mask.png"
    assert load_tagged(images / "tags.json")[0]["tags"][:2] == [1, 1]
    content["training"][0].pop("label")
    (images / "list.json").write_text(json.dumps(content))
    code, told = made(capsys, "--masks", images / "list.json", "--output", images / "tags.json")
    assert code == 1 and "training[0]: expected a mask" in told


def test_of_a_table(images, capsys):
    """As CheXpert has them: 1, 0, −1 (unsure), and nothing."""
    (images / "t.csv").write_text("image,section,cat,dog\na.png,training,1,-1\nb.png,validation,0,1.0\n")
    assert made(capsys, "--table", images / "t.csv", "--output", images / "dataset.json")[0] == 0
    content = read(images / "dataset.json")
    assert content["labels"] == {"0": "background", "1": "cat", "2": "dog"}
    assert content["training"] == [{"image": "a.png", "tags": ["cat"], "unknown_tags": ["dog"]}]
    assert content["validation"] == [{"image": "b.png", "tags": ["dog"]}]
    (images / "t.csv").write_text("image,tags\na.png,cat; dog\nb.png,\n")
    made(capsys, "--table", images / "t.csv", "--output", images / "dataset.json", "--validation-share", 0)
    assert [item["tags"] for item in read(images / "dataset.json")["training"]] == [["cat", "dog"], []]
    (images / "t.csv").write_text("image,cat\na.png,yes\n")
    code, told = made(capsys, "--table", images / "t.csv", "--output", images / "dataset.json")
    assert code == 1 and "t.csv:2" in told and "'yes'" in told


def test_of_folders(images, capsys):
    arguments = ("--folders", images, "--output", images / "dataset.json", "--validation-share", 0.25)
    assert made(capsys, *arguments)[0] == 0
    content = read(images / "dataset.json")
    items = [*content["training"], *content["validation"]]
    assert len(content["validation"]) == 1
    assert {item["image"]: item["tags"] for item in items} == {
        "cat/c.png": ["cat"],
        "cat/d.png": ["cat"],
        "dog/e.png": ["dog"],
        "normal/f.png": [],
    }
    made(capsys, *arguments)
    assert read(images / "dataset.json") == content


def test_of_coco(images, capsys):
    """Category 3 is class 2; 30 and 5 pixels of a crowd are 35, 9 of another class are fewer than 10."""
    categories = [{"id": 3, "name": "dog"}, {"id": 1, "name": "cat"}]
    outlines = [(7, 3, 30), (7, 3, 5), (7, 1, 9)]
    told = {
        "categories": categories,
        "images": [{"id": 7, "file_name": "a.jpg"}, {"id": 9, "file_name": "b.jpg"}],
        "annotations": [{"image_id": i, "category_id": k, "area": area, "iscrowd": 1} for i, k, area in outlines],
    }
    (images / "annotations").mkdir()
    for word in ("train", "val"):
        (images / "annotations" / f"instances_{word}2017.json").write_text(json.dumps(told))
    arguments = ("--coco", images, "--output", images / "tags.json", "--min-voxels", 10)
    assert made(capsys, *arguments)[0] == 0
    content = read(images / "tags.json")
    assert content["labels"] == {"0": "background", "1": "cat", "2": "dog"}
    assert content["training"] == [
        {"image": "train2017/a.jpg", "tags": ["dog"], "unknown_tags": ["cat"]},
        {"image": "train2017/b.jpg", "tags": []},
    ]
    assert content["validation"][1] == {"image": "val2017/b.jpg", "tags": []}
    told["annotations"][0]["category_id"] = 2
    (images / "annotations" / "instances_val2017.json").write_text(json.dumps(told))
    code, error = made(capsys, *arguments)
    assert code == 1 and "instances_val2017.json" in error and "KeyError(2)" in error


def test_of_voc(images, capsys):
    """A difficult cat beside another one is a cat; a dog that is difficult is unknown."""
    objects = [("cat", 1), ("cat", 0), ("dog", 1)]
    text = "".join(f"<object><name>{name}</name><difficult>{d}</difficult></object>" for name, d in objects)
    root = images / "VOC2012"
    for name in ("ImageSets/Segmentation/train.txt", "ImageSets/Segmentation/val.txt"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text("2007_a\n")
    (root / "Annotations").mkdir()
    (root / "Annotations" / "2007_a.xml").write_text(f"<annotation>{text}</annotation>")
    arguments = ("--voc", root, "--output", root / "tags.json")
    assert made(capsys, *arguments)[0] == 0
    content = read(root / "tags.json")
    tags = {"image": "JPEGImages/2007_a.jpg", "tags": ["cat"], "unknown_tags": ["dog"]}
    assert content["training"] == [tags]
    assert content["validation"] == [{**tags, "label": "SegmentationClass/2007_a.png"}]
    assert content["labels"]["8"] == "cat" and content["void_values"] == [255]
    (root / "Annotations" / "2007_a.xml").write_text(f"<annotation>{text.replace('dog', 'wolf')}</annotation>")
    code, error = made(capsys, *arguments)
    assert code == 1 and "'wolf'" in error and "2007_a.xml" in error


def test_one_source_and_a_list_beside_it(images, capsys):
    assert "one of --masks" in made(capsys, "--output", images / "dataset.json")[1]
    code, told = made(capsys, "--folders", images, "--output", images / "cat" / "dataset.json")
    assert code == 1 and "expected the list in the folder" in told
