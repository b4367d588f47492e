# SPDX-License-Identifier: Apache-2.0
"""Data lists: every kind of bad list is refused, all of it in one message; good ones say what they mean."""

from __future__ import annotations

import json

import pytest
from monai.bundle import ConfigParser

from medwsss.keys import UNLABELED, VOID
from medwsss.study import LabelSchema, MapWeakLabels
from medwsss.study.datalist import annotation_of, find_shared, load_datalist, patient_of, read_class_names, read_schema
from tests.study.study_folder import LABELS, scribble, two_scribbles


@pytest.fixture
def study(tmp_path):
    (tmp_path / "study").mkdir()
    return two_scribbles(tmp_path / "study")


def load(study, **options):
    return load_datalist(study.listed(), **options)


def test_load_resolves_and_renames(study):
    study.content["training"][1]["image"] = ["image0.nii.gz", "image1.nii.gz"]  # the channels of one image
    items = load(study, keys={"image": "image", "label": "scribble"})
    assert items == [
        {"image": str(study.folder / "image0.nii.gz"), "label": str(study.folder / "scribble0.nii.gz")},
        {
            "image": [str(study.folder / "image0.nii.gz"), str(study.folder / "image1.nii.gz")],
            "label": str(study.folder / "scribble1.nii.gz"),
        },
    ]


def test_load_is_relative_to_the_list_and_not_to_the_working_folder(study, monkeypatch):
    load(study)
    monkeypatch.chdir(study.folder.parent)
    assert load_datalist("study/list.json")[0]["image"] == str(study.folder / "image0.nii.gz")


def test_text_with_a_dollar_is_text_also_in_a_bundle(study):
    name = "$__import__('os').getcwd()"
    study.write(f"{name}.nii.gz", scribble())
    study.content["training"][0]["scribble"] = f"{name}.nii.gz"
    load(study)
    config = {"_target_": "medwsss.study.datalist.load_datalist", "path": str(study.folder / "list.json")}
    parser = ConfigParser({"items": config, "again": "@items"})
    assert parser.get_parsed_content("again")[0]["scribble"] == str(study.folder / f"{name}.nii.gz")


@pytest.mark.parametrize(
    "spoil, told",
    [
        ({"scribble": "gone.nii.gz"}, ["training[1]['scribble']", "existing file", "gone.nii.gz"]),
        ({"scribble": None}, ["training[1]['scribble']", "got None"]),
        ({"image": ["image0.nii.gz", 3]}, ["training[1]['image']", "expected a file name"]),
        ({"image": []}, ["training[1]['image']", "expected a file name"]),
        ({"image": ""}, ["training[1]['image']", "expected a file name"]),
        ({"image": "../outside.nii.gz"}, ["training[1]['image']", "in the folder of the list"]),
        ({"image": "link.nii.gz"}, ["training[1]['image']", "in the folder of the list"]),
        ({"image": "{outside}"}, ["training[1]['image']", "in the folder of the list"]),
    ],
)
def test_load_refuses(study, spoil, told):
    study.folder = study.folder.parent
    study.write("outside.nii.gz", scribble())
    study.folder = study.folder / "study"
    outside = study.folder.parent / "outside.nii.gz"
    (study.folder / "link.nii.gz").symlink_to(outside)
    study.content["training"][1].update(
        {k: v.replace("{outside}", str(outside)) if isinstance(v, str) else v for k, v in spoil.items()}
    )
    with pytest.raises(ValueError, match="got 1 problems") as error:
        load(study)
    assert all(text in str(error.value) for text in [*told, str(study.folder / "list.json")])
    if "in the folder of the list" in told:
        assert load(study, allow_outside=True)


def test_load_lists_every_problem_at_once(study):
    study.content["training"][0].pop("scribble")
    study.content["training"][1]["image"] = "gone.nii.gz"
    with pytest.raises(ValueError, match=r"(?s)got 2 problems.*training\[0\]\['scribble'\].*training\[1\]\['image'\]"):
        load(study)


@pytest.mark.parametrize("text", ['{"training": []}', '{"validation": [{}]}', '{"training": {}}', "[]", "{", None])
def test_load_refuses_lists_without_items(tmp_path, text):
    if text is not None:
        (tmp_path / "list.json").write_text(text)
    with pytest.raises(ValueError, match="list.json"):
        load_datalist(tmp_path / "list.json")


def written(folder, content):
    (folder / "list.json").write_text(json.dumps(content))
    return folder / "list.json"


@pytest.mark.parametrize(
    "content, declared, table",
    [
        ({"labels": {"0": "background", "1": "organ"}}, {}, {0: 0, 1: 1}),
        ({"labels": {"background": 0, "organ": 1, "ignore": 2}}, {}, {0: 0, 1: 1, 2: UNLABELED}),  # nnU-Net v2
        (
            {"num_classes": 2, "ignore_value": 7, "void_values": [8, 9]},
            {},
            {0: 0, 1: 1, 7: UNLABELED, 8: VOID, 9: VOID},
        ),
        ({"num_classes": 2, "scribble_ignore_value": 4}, {}, {0: 0, 1: 1, 4: UNLABELED}),
        (
            {"labels": {"0": "sky", "1": "road", "11": "void (ignore)"}, "ignore_value": 11},
            {},
            {0: 0, 1: 1, 11: UNLABELED},
        ),
        ({"labels": {"0": "background", "1": "a", "2": "b"}, "schema": "acdc"}, {}, {0: 0, 1: 1, 2: 2, 3: UNLABELED}),
        ({"schema": "acdc"}, {}, {0: 0, 1: 1, 2: 2, 3: 3, 4: UNLABELED}),
        (
            {"schema": {"num_classes": 2, "mapping": {"1": 0, "2": 1}, "ignore_values": 0}},
            {},
            {1: 0, 2: 1, 0: UNLABELED},
        ),
        ({"num_classes": 2}, {"schema": "scribblebench_inverted"}, {1: 1, 2: 0, 0: UNLABELED}),
        ({"num_classes": 9}, {"schema": "nnunet", "num_classes": 1}, {0: 0, 1: UNLABELED, -1: VOID}),
        ({"num_classes": 2, "ignore_value": 7}, {"ignore_values": [5]}, {0: 0, 1: 1, 5: UNLABELED}),
        ({}, {"num_classes": 1, "void_values": 3}, {0: 0, 3: VOID}),
    ],
)
def test_schema_of_a_list(tmp_path, content, declared, table):
    assert read_schema(written(tmp_path, content), **declared).table() == table


@pytest.mark.parametrize(
    "content, told",
    [
        ({}, "expected num_classes or labels"),
        ({"labels": {"background": 0, "tumour": [1, 2]}}, r"'tumour': \[1, 2\]"),  # nnU-Net's regions
        ({"schema": "acdk"}, "got 'acdk'"),
        ({"schema": "nnunet"}, "expected what the schema 'nnunet' needs, got .*num_classes"),
        ({"schema": ["acdc"]}, r"got \['acdc'\]"),
        ({"schema": {"classes": 3}}, "expected a name or the arguments of LabelSchema as schema"),
        ({"num_classes": 5, "ignore_value": 4}, "expected value 4 to mean one thing"),
    ],
)
def test_schema_of_a_list_refuses(tmp_path, content, told):
    with pytest.raises(ValueError, match=told):
        read_schema(written(tmp_path, content))


@pytest.mark.parametrize("labels", [{"0": "background", "1": "organ"}, {"background": 0, "organ": 1}])
def test_class_names_either_way_round(tmp_path, labels):
    assert read_class_names(written(tmp_path, {"labels": labels}), 3) == ["background", "organ", "class 2"]


def test_a_schema_is_complete():
    assert MapWeakLabels.of(LabelSchema(2, 4, 9)).table == LABELS.table


@pytest.mark.parametrize(
    "item, patient",
    [
        ({"patient": 7, "image": "a1.png"}, ("7", True)),
        ({"image": "images/patient022_frame01.nii.gz"}, ("patient022", False)),
        ({"image": ["sub-07_T1w.nii", "sub-07_T2w.nii"]}, ("sub-07", False)),
        ({"image": "photo.png"}, ("photo.png", False)),
    ],
)
def test_whom_an_item_shows(item, patient):
    assert patient_of(item) == patient


def test_splits_are_apart():
    training = [{"image": "a1_x.png", "patient": "one"}, {"image": "a2_x.png", "patient": "two"}]
    apart = [{"image": "b1.png", "patient": "three"}]
    assert find_shared({"training": training, "validation": apart}, ["training", "validation"]) == ([], [])
    assert find_shared({"training": training}, ["training"]) == ([], [])
    both = [{"image": "b1.png", "patient": "two"}, {"image": "a1_x.png", "patient": "four"}]
    errors, doubts = find_shared({"training": training, "test": apart, "validation": both}, ["training", "validation"])
    assert errors == [
        "expected every patient in one section, got two in training and in validation",
        "expected every image in one section, got a1_x.png in training and in validation",
    ]
    assert doubts == []
    guessed = {"training": training[:1] + [{"image": "a2_x.png"}], "validation": [{"image": "a2_y.png"}]}
    errors, doubts = find_shared(guessed, ["training", "validation"])
    assert errors == []
    assert len(doubts) == 1 and doubts[0].startswith("expected every patient in one section, got a2 in training and in")


@pytest.mark.parametrize(
    ("items", "key"),
    [
        ([{"scribble": "s", "label": "m"}, {"label": "m"}], "scribble"),
        ([{"label": "m"}, {"label": "n"}], "label"),
        ([{"label": "m"}, {"mask": "n"}], "scribble"),
        ([{"label": "m"}, "nonsense"], "label"),
        ([], "scribble"),
        ("nonsense", "scribble"),
    ],
)
def test_what_trains_without_a_scribble(tmp_path, caplog, items, key):
    """As ``check`` reads it; what is wrong with a list, others say."""
    (tmp_path / "dataset.json").write_text(json.dumps({"training": items}))
    with caplog.at_level("INFO"):
        assert annotation_of(tmp_path / "dataset.json") == key
    assert ("what is under 'label' trains" in caplog.text) == (key == "label")
