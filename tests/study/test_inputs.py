# SPDX-License-Identifier: Apache-2.0
"""Which files are predicted and where to: a name of its own for each, or a refusal that says why."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from medwsss.study import find_inputs
from medwsss.study.inputs import group_channels
from medwsss.study.readers import SUFFIXES


def fill(folder, *names):
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    return folder


def found(folder, output="out", **options):
    """``{image: prediction}``, both below their folders."""
    output = folder.parent / output
    items = find_inputs(folder, output, **options)

    def below(files):
        files = files if isinstance(files, list) else [files]
        return "+".join(Path(file).relative_to(folder).as_posix() for file in files)

    return {below(item["image"]): Path(item["output"]).relative_to(output).as_posix() for item in items}


def refused(folder, output="out", **options):
    with pytest.raises(ValueError) as error:
        found(folder, output, **options)
    return str(error.value)


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "data").mkdir()
    return tmp_path / "data"


# ---- what is found


def test_whatever_training_reads_can_be_predicted(folder):
    fill(folder, *(f"{index}{suffix}" for index, suffix in enumerate(SUFFIXES)))
    assert len(found(folder)) == len(SUFFIXES)


def test_endings_of_either_case_and_names_of_all_kinds(folder):
    names = ["A.NII.GZ", "x.y.nii.gz", "Fall ä [1] (2).nii", "20240501.png", "B.JPG"]
    fill(folder, *names)
    assert found(folder) == {
        "A.NII.GZ": "A_pred.nii.gz",
        "x.y.nii.gz": "x.y_pred.nii.gz",
        "Fall ä [1] (2).nii": "Fall ä [1] (2)_pred.nii.gz",
        "20240501.png": "20240501_pred.png",
        "B.JPG": "B_pred.png",
    }


@pytest.mark.parametrize("pattern", ["*", "*.*", "a*"])
def test_what_lies_beside_images_is_none(folder, pattern):
    fill(folder, "a.png", "a.json", "a.txt", "labels.json", "Thumbs.db", ".DS_Store", "._a.png", "a/b.png")
    assert found(folder, pattern=pattern) == {"a.png": "a_pred.png"}


def test_a_pattern_of_an_ending_takes_what_it_says(folder):
    fill(folder, "1.dcm", "2.dcm", "a.png")
    assert found(folder, pattern="*.dcm") == {"1.dcm": "1_pred.nii.gz", "2.dcm": "2_pred.nii.gz"}


def test_dicom_is_named_by_numbers(folder):
    fill(folder, "1.2.840.1", "1.2.840.2", "series.3/a", "series.4/a")
    assert found(folder, pattern="1.*[0-9]") == {f"1.2.840.{k}": f"1.2.840.{k}_pred.nii.gz" for k in (1, 2)}
    assert found(folder, pattern="series.?") == {f"series.{k}": f"series.{k}_pred.nii.gz" for k in (3, 4)}


@pytest.mark.parametrize("name", ["brackets [v1]", "what?", "st*r", "ü b"])
def test_a_folder_is_no_pattern(tmp_path, name):
    assert found(fill(tmp_path / name, "a.nii")) == {"a.nii": "a_pred.nii.gz"}
    assert found(fill(tmp_path / name, "a[1].nii"), pattern="a[1].nii") == {"a[1].nii": "a[1]_pred.nii.gz"}


def test_folders_in_the_folder_are_kept(folder):
    fill(folder, "p1/a.png", "p2/a.png", "p2/deep/a.png", "a.png")
    expected = {"a.png": "a_pred.png", "p1/a.png": "p1/a_pred.png", "p2/a.png": "p2/a_pred.png"}
    assert found(folder, pattern="**/*") == {**expected, "p2/deep/a.png": "p2/deep/a_pred.png"}
    assert found(folder, pattern="*/*.png") == {name: to for name, to in expected.items() if "/" in name}


def test_links_are_files_like_others(folder, tmp_path):
    store = fill(tmp_path / "store", "x.png", "more/y.png")
    (folder / "a.png").symlink_to(store / "x.png")
    (folder / "linked").symlink_to(store / "more")
    assert found(folder, pattern="**/*") == {"a.png": "a_pred.png", "linked/y.png": "linked/y_pred.png"}


def test_earlier_predictions_are_not_predicted(folder):
    fill(folder, "a.png", "out/a_pred.png", "outer/b.png")
    assert found(folder, "data/out", pattern="**/*") == {"a.png": "a_pred.png", "outer/b.png": "outer/b_pred.png"}


def test_what_is_there_can_be_skipped(folder, tmp_path):
    fill(folder, "a.png", "b.png", "c.png")
    fill(tmp_path / "out", "b_pred.png", "c_pred.png.tmp")  # the second of a run that was killed
    assert list(found(folder, skip_existing=True)) == ["a.png", "c.png"]
    assert len(found(folder)) == 3


def test_maps_lie_beside_predictions_and_are_missed(folder, tmp_path):
    fill(folder, "a.png", "b.nii", "c.tif")
    maps = {"maps": ["uncertainty"]}
    names = [Path(item["output_uncertainty"]).name for item in find_inputs(folder, "out", **maps)]
    assert names == ["a_uncertainty.tif", "b_uncertainty.nii.gz", "c_uncertainty.tif"]
    fill(tmp_path / "out", "a_pred.png", "b_pred.nii.gz", "b_uncertainty.nii.gz")
    assert list(found(folder, skip_existing=True, **maps)) == ["a.png", "c.tif"]
    fill(folder, "a.tif")  # whose prediction has another ending than that of a.png, but not its map
    assert len(found(folder)) == 4 and "a_uncertainty.tif for " in refused(folder, **maps)


def test_endings_may_be_told(folder):
    fill(folder, "a.png", "b.tif")
    items = find_inputs(folder, "out", maps=["uncertainty", "p"], endings={"pred": ".tif", "p": ".gpkg"})
    targets = [Path(value).name for item in items for key, value in item.items() if key != "image"]
    assert targets == [f"{name}_{end}" for name in "ab" for end in ("pred.tif", "uncertainty.tif", "p.gpkg")]


# ---- what is refused


@pytest.mark.parametrize(
    "names",
    [("a.png", "a.jpg"), ("a.nii", "a.nii.gz"), ("a.png", "A.png"), ("ä.png", "a\u0308.png")],
    ids=["endings", "compression", "case", "composition"],
)
def test_two_images_of_one_name(folder, names):
    if len(set(fill(folder, *names).iterdir())) < 2:
        pytest.skip("a file system that takes them for one")
    message = refused(folder)
    assert "a name of its own for each prediction" in message and all(name in message for name in names)


def test_a_prediction_never_replaces_an_image(folder):
    fill(folder, "a.png", "a_pred.png")
    message = refused(folder, "data")
    assert "replace no image" in message and str(folder / "a_pred.png") in message
    assert found(folder, "data", pattern="a.png") == {"a.png": "a_pred.png"}
    (folder.parent / "link").symlink_to(folder)
    assert "replace no image" in refused(folder, "link")


@pytest.mark.parametrize(
    "names, options, told",
    [
        ((), {}, ["match *", "the folder is empty"]),
        (("a.txt", "b.json"), {}, ["there are a.txt, b.json", "other endings"]),
        (("A.NII.GZ",), {"pattern": "*.nii.gz"}, ["match *.nii.gz", "there are A.NII.GZ"]),
        (("s1/a.png",), {}, ["there are s1/", '--pattern "**/*"']),
        (("dataset.json", "images/a.png"), {}, ["--datalist", "dataset.json"]),
        ([f"{k}.txt" for k in range(9)], {}, ["0.txt, 1.txt, 2.txt, 3.txt, 4.txt and 4 more"]),
        (("a.png",), {"pattern": "/etc/*"}, ["expected a pattern of names in dataset_dir, got /etc/*"]),
        (("a.png",), {"pattern": "../*"}, ["expected a pattern of names in dataset_dir, got ../*"]),
    ],
)
def test_nothing_found_is_an_error_that_says_what_is_there(folder, names, options, told):
    message = refused(fill(folder, *names), **options)
    assert all(words in message for words in told), message


def test_no_folder(folder):
    assert f"nothing at {folder / 'absent'}" in refused(folder / "absent")
    fill(folder, "a.nii")
    message = refused(folder / "a.nii")
    assert f"got the file {folder / 'a.nii'}; --dataset_dir {folder} --pattern a.nii takes it alone" in message


# ---- a file a channel


def test_channels_in_files_of_their_own(folder):
    names = [f"{case}_{k:04d}.nii.gz" for case in ("BR_1", "BR_2") for k in range(2)]
    fill(folder, *names, "p/BR_1_0000.nii", "p/BR_1_0001.nii", "whole.nii")
    assert found(folder, in_channels=2, pattern="**/*") == {
        "BR_1_0000.nii.gz+BR_1_0001.nii.gz": "BR_1_pred.nii.gz",
        "BR_2_0000.nii.gz+BR_2_0001.nii.gz": "BR_2_pred.nii.gz",
        "p/BR_1_0000.nii+p/BR_1_0001.nii": "p/BR_1_pred.nii.gz",
        "whole.nii": "whole_pred.nii.gz",
    }
    assert found(folder)["BR_1_0000.nii.gz"] == "BR_1_0000_pred.nii.gz"  # of a network with one channel


@pytest.mark.parametrize(
    "names, told",
    [
        (["a_0000.nii", "b_0000.nii", "b_0001.nii"], "a, got a_0000.nii$"),
        (["a_0001.nii", "b_0000.nii", "b_0001.nii"], "a, got a_0001.nii$"),
        (["a_0000.nii", "a_0000.nii.gz", "a_0001.nii"], "a, got a_0000.nii, a_0000.nii.gz, a_0001.nii$"),
    ],
)
def test_incomplete_channels(folder, names, told):
    assert re.search(told, refused(fill(folder, *names), in_channels=2))


def test_numbered_photographs_are_no_channels():
    for numbers in (range(9), range(1, 9), [1, 2], []):
        names = [Path("a.jpg"), *(Path(f"IMG_{k:04d}.jpg") for k in numbers)]
        assert group_channels(names, 3) == [[name] for name in names]


# ---- a data list


def test_a_section_of_a_data_list(folder):
    fill(folder, "images/a_0000.nii.gz", "images/a_0001.nii.gz", "images/b.nii.gz", "c.png")
    items = [{"image": ["images/a_0000.nii.gz", "images/a_0001.nii.gz"], "label": "x"}, {"image": "./images/b.nii.gz"}]
    (folder / "dataset.json").write_text(json.dumps({"training": [], "validation": items, "test": ["c.png"]}))
    path = folder / "dataset.json"
    assert found(folder, datalist=path, section="validation") == {
        "images/a_0000.nii.gz+images/a_0001.nii.gz": "images/a_pred.nii.gz",
        "images/b.nii.gz": "images/b_pred.nii.gz",
    }
    assert found(folder, datalist=path) == {"c.png": "c_pred.png"}  # the Decathlon lists names
    assert "got 'training' (section) and ['validation', 'test']" in refused(folder, datalist=path, section="training")


def test_a_list_of_files_elsewhere(folder, tmp_path):
    fill(tmp_path / "store", "a.png")
    (folder / "dataset.json").write_text(json.dumps({"test": [{"image": "../store/a.png"}, {"image": "no.png"}, {}]}))
    message = refused(folder, datalist=folder / "dataset.json")
    assert "allow_outside" in message and "no.png" in message and "test[2]['image']" in message
    (folder / "dataset.json").write_text(json.dumps({"test": [{"image": "../store/a.png"}]}))
    (item,) = find_inputs(folder, "out", datalist=folder / "dataset.json", allow_outside=True)
    assert Path(item["image"]).samefile(tmp_path / "store" / "a.png") and item["output"] == str(Path("out/a_pred.png"))
