# SPDX-License-Identifier: Apache-2.0
"""What a list declares is complete, free of contradictions, and the same for everybody who asks."""

from __future__ import annotations

import inspect
import json
import warnings

import pytest

from medwsss.keys import UNLABELED, VOID
from medwsss.study import SCHEMAS, declared_labels, label_mapper, read_class_names, read_schema

U, V = UNLABELED, VOID
RGB = [[255, 0, 0], [0, 0, 255]]
FIXED = {
    "scroadextractor": {0: 0, 128: U, 255: 1},
    "monai_label": {0: U, 2: 0, 3: 1},
    "camouflaged_objects": {0: U, 1: 1, 2: 0},
    "medscribble": {(0, 0): U, (0, 1): 0, (1, 0): 1},
    "pa_seg_points": {0: U, 1: 0, 2: 1},
    "pa_seg_geodesic": {0: 0, 1: 1, 2: U},
}


@pytest.fixture
def written(tmp_path):
    def write(**content):
        (tmp_path / "list.json").write_text(json.dumps(content))
        return tmp_path / "list.json"

    return write


@pytest.mark.parametrize("beside", [{}, {"num_classes": 2}, {"labels": {"0": "other", "1": "organ"}}], ids=str)
@pytest.mark.parametrize("name", FIXED)
def test_schemas_of_a_fixed_number_of_classes_may_be_told_it(written, name, beside):
    path = written(schema=name, **beside)
    assert read_schema(path).table() == label_mapper(path).table == FIXED[name]
    with pytest.raises(ValueError, match="expected 2 classes, got 3 in .*list.json"):
        read_schema(written(schema=name, num_classes=3))
    with pytest.raises(ValueError, match="expected labels of classes .* got .*'c'.* in .*list.json"):
        read_schema(written(schema=name, labels={"0": "a", "1": "b", "7": "c"}))


@pytest.mark.parametrize("name", ["festa", "s4all"])
def test_schemas_of_colours_take_the_lists(written, name):
    labels = {"0": "water", "1": "land"}
    table = {(255, 0, 0): 0, (0, 0, 255): 1}
    assert read_schema(written(schema=name, colors=RGB, labels=labels)).table() == {**table, (0, 0, 0): U}
    path = written(schema=name, colors=RGB, labels=labels, ignore_values=[9, 9, 9])
    assert label_mapper(path).table == {**table, (9, 9, 9): U}
    with pytest.raises(ValueError, match=f"the schema {name!r} needs, got no colors in .*list.json"):
        read_schema(written(schema=name, labels=labels))
    with pytest.raises(ValueError, match="expected 3 colors"):
        read_schema(written(schema=name, colors=RGB, num_classes=3))


def test_every_schema_stands_beside_labels(written):
    """None of them ends in Python's words about arguments."""
    for name in SCHEMAS:
        colors = {"colors": RGB} if "colors" in inspect.signature(SCHEMAS[name]).parameters else {}
        path = written(schema=name, labels={"0": "a", "1": "b"}, **colors)
        assert label_mapper(path).num_classes == 2
        assert read_class_names(path, 2) == ["a", "b"]


@pytest.mark.parametrize(
    "content, table, names",
    [
        # BraTS: a gap
        ({"labels": {"0": "a", "1": "b", "2": "c", "4": "d"}}, {0: 0, 1: 1, 2: 2, 4: 3}, "abcd"),
        ({"labels": {"a": 0, "b": 5, "c": 1700}, "num_classes": 3, "ignore": 9}, {0: 0, 5: 1, 1700: 2, 9: U}, "abc"),
        ({"labels": {"1": "a", "2": "b"}, "ignore_values": 0}, {1: 0, 2: 1, 0: U}, "ab"),  # 0 is unlabelled
        ({"labels": {"1": "a", "2": "b", "0": "nobody"}, "ignore_values": 0}, {1: 0, 2: 1, 0: U}, "ab"),
        ({"labels": {"a": 1, "b": 2, "Ignore": 0}}, {1: 0, 2: 1, 0: U}, "ab"),
        ({"labels": {"-2": "a", "3": "b"}, "void_value": -1}, {-2: 0, 3: 1, -1: V}, "ab"),
        ({"mapping": {"7": 1, "8": 0, "9": 1}, "labels": {"0": "a", "1": "b"}}, {7: 1, 8: 0, 9: 1}, "ab"),
        ({"schema": "zero_is_unlabeled", "labels": {"1": "a", "2": "b"}}, {0: U, 1: 0, 2: 1}, "ab"),
        ({"schema": "monai_label", "labels": {"2": "a", "3": "b", "0": "nobody"}}, {0: U, 2: 0, 3: 1}, "ab"),
        ({"schema": "acdc", "ignore_value": 4, "num_classes": 4}, {0: 0, 1: 1, 2: 2, 3: 3, 4: U}, None),
        ({"colors": RGB, "ignore_values": [[0, 0, 0]]}, {(255, 0, 0): 0, (0, 0, 255): 1, (0, 0, 0): U}, None),
        ({"num_classes": 5, "labels": {"0": "a", "4": "b"}}, {k: k for k in range(5)}, None),  # some have no name
    ],
    ids=lambda value: str(value)[:40],
)
def test_what_a_list_declares(written, content, table, names):
    schema = read_schema(written(**content))
    assert schema.table() == table
    if names:
        assert read_class_names(written(**content), schema.num_classes) == list(names)


@pytest.mark.parametrize(
    "content, told",
    [
        ({"schema": "acdc", "ignore_values": [255]}, r"the schema 'acdc' says of ignore_values, 4, got \[255\]"),
        ({"schema": "voc", "void_values": [254]}, "says of void_values, 255"),
        ({"schema": "monai_label", "mapping": {"0": 0, "1": 1}}, "says of mapping"),
        (
            {"schema": {"num_classes": 2, "ignore_values": 0, "mapping": {"1": 0, "2": 1}}, "num_classes": 3},
            "num_classes",
        ),
        ({"num_classes": 3, "labels": {"0": "a", "1": "b", "5": "c", "6": "d"}}, r"expected 3 classes .*'d'"),
        (
            {"labels": {"0": "background", "1": "a"}, "ignore_values": [0]},
            "value 0 to mean one thing, got 'background'",
        ),
        ({"num_classes": 3, "ignore_values": [0]}, "value 0 to mean one thing, got class 0 and unlabelled"),
        ({"labels": {"a": 1, "b": 1}}, "one name for each value"),
        ({"labels": {"1": "a", "2": "a"}}, "one name for each value"),
        ({"num_classes": 2, "ignore_values": [[0, 0, 0]]}, r"expected numbers of no class, got \[\[0, 0, 0\]\]"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_contradictions_name_the_list_and_a_way_out(written, content, told):
    for ask in read_schema, declared_labels, label_mapper:
        with pytest.raises(ValueError, match=f"{told}.* in .*list.json: labels name the classes by the values"):
            ask(written(**content))


@pytest.mark.parametrize(
    "content, fallback, table",
    [
        ({}, {"num_classes": 2}, {0: 0, 1: 1, 255: U, 254: V}),
        ({}, {"num_classes": 2, "ignore_values": [9], "void_values": []}, {0: 0, 1: 1, 9: U}),
        ({"labels": {"0": "a", "1": "b"}}, {"num_classes": 9}, {0: 0, 1: 1, 255: U, 254: V}),
        ({"num_classes": 2, "void_values": [255]}, {}, {0: 0, 1: 1, 255: V}),  # declares its own
        ({"num_classes": 2, "ignore_values": [9]}, {"void_values": [8]}, {0: 0, 1: 1, 9: U, 8: V}),
        ({"num_classes": 2, "ignore_values": [9]}, {"void_values": [9]}, {0: 0, 1: 1, 9: U}),
        ({"labels": {"0": "a", "254": "b"}}, {}, {0: 0, 254: 1, 255: U}),
        ({"colors": RGB}, {"ignore_values": [255]}, {(255, 0, 0): 0, (0, 0, 255): 1}),
    ],
)
def test_what_a_list_does_not_say(written, content, fallback, table):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert declared_labels(written(**content), **fallback).table() == table
        told = {k: v for k, v in fallback.items() if k != "num_classes" or not content}
        assert declared_labels(written(**content), **told).table() == table


GAP = {"labels": {"0": "a", "1": "b", "2": "c", "4": "d"}, "ignore_values": [255]}


def test_overrides_that_say_the_same_are_no_matter(written):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        mapper = label_mapper(written(**GAP), num_classes=4, ignore_values=255, void_values=[])
        assert mapper.table == {0: 0, 1: 1, 2: 2, 4: 3, 255: U}
        mapper = label_mapper(written(schema="monai_label"), num_classes=2, ignore_values=[0], void_values=[])
        assert mapper.table == FIXED["monai_label"]
        path = written(schema="medscribble")  # as the command line writes it
        assert label_mapper(path, num_classes=2, ignore_values=[[0, 0]]).table == FIXED["medscribble"]


def test_overrides_that_replace_something_are_told_of(written):
    with pytest.warns(UserWarning, match=r"num_classes 5 replaces 4, which .*list.json declares"):
        assert label_mapper(written(**GAP), num_classes=5).table == {**{k: k for k in range(5)}, 255: U}
    with pytest.warns(UserWarning, match=r"ignore_values \[9\] replaces \[255\]"):
        assert label_mapper(written(**GAP), ignore_values=[9]).table == {0: 0, 1: 1, 2: 2, 4: 3, 9: U}
    with pytest.raises(ValueError, match="value 4 to mean one thing, got class 3 and unlabelled in .*list.json"):
        with pytest.warns(UserWarning):
            label_mapper(written(**GAP), ignore_values=[4])
