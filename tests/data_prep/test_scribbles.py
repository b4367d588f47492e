# SPDX-License-Identifier: Apache-2.0
"""Strokes for a whole data list: the library's, by name and seed, whatever the number of processes."""

from __future__ import annotations

import hashlib
import json
import shutil

import nibabel as nib
import numpy as np
import pytest
from monai.data import load_decathlon_datalist
from PIL import Image

from data_prep import phantom, scribbles
from data_prep.__main__ import main
from medwsss.keys import UNLABELED, VOID
from medwsss.transforms import ShortenScribble


def digest(folder):
    return {
        str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest() for p in folder.rglob("*") if p.is_file()
    }


def read(path):
    return np.asarray(nib.load(path).dataobj if str(path).endswith(".gz") else Image.open(path))


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """Three volumes with scribbles for training, one for validation."""
    return phantom.make_phantom_study(tmp_path_factory.mktemp("phantom") / "study", 3, 1, shape=(32, 32, 7))


@pytest.fixture
def draw(study, tmp_path):
    """Runs the command on the study; the output folder."""

    def run(name, *options):
        assert main(["scribbles", "--datalist", str(study), "--output", str(tmp_path / name), *options]) == 0
        return tmp_path / name

    return run


def maps(folder, key, section="training"):
    items = load_decathlon_datalist(str(folder / "dataset.json"), is_segmentation=True, data_list_key=section)
    return [read(item[key]) for item in items if key in item]


def test_strokes_inside_masks_with_the_geometry_of_the_source(study, draw):
    folder = draw("all", "--workers", "1")
    content, source = json.loads((folder / "dataset.json").read_text()), json.loads(study.read_text())
    assert content["labels"] == source["labels"] and content["ignore_values"] == [UNLABELED]
    assert [len(content[section]) for section in ("training", "validation")] == [3, 1]
    for item, old in zip(content["training"], source["training"]):
        scribble, mask = nib.load(folder / item["scribble"]), nib.load(study.parent / old["label"])
        assert np.array_equal(scribble.affine, mask.affine) and scribble.get_data_dtype() == np.uint8
        assert scribble.header.get_zooms() == mask.header.get_zooms()
        values, dense = np.asarray(scribble.dataobj), np.asarray(mask.dataobj)
        assert set(np.unique(values)) == {*range(5), UNLABELED} and 0.005 < (values < VOID).mean() < 0.2
        assert (values == dense)[values < VOID].all()
        assert not np.array_equal(values, read(study.parent / old["scribble"]))
        for key in ("image", "label"):
            assert np.array_equal(read(folder / item[key]), read(study.parent / old[key]))
    assert not any("scribble" in item for item in content["validation"])


def test_bytes_depend_on_seed_and_names_alone(study, draw, tmp_path, monkeypatch):
    monkeypatch.setattr("time.time", lambda: 1e9)  # gzip may stamp the hour
    one = digest(draw("one", "--workers", "1"))
    assert digest(draw("one", "--workers", "1")) == one  # finished: nothing to do
    assert digest(draw("two", "--workers", "2")) == one
    other = digest(draw("other", "--workers", "1", "--seed", "1"))
    assert [name for name in one if one[name] != other[name]] and all(
        "scribbles/" in name or name == "dataset.json" for name in one if one[name] != other[name]
    )

    # an item does not see the others of its list
    few = json.loads(study.read_text())
    few["training"] = few["training"][2:]
    (study.parent / "few.json").write_text(json.dumps(few))
    main(["scribbles", "--datalist", str(study.parent / "few.json"), "--output", str(tmp_path / "few")])
    assert digest(tmp_path / "few")["scribbles/training_002.nii.gz"] == one["scribbles/training_002.nii.gz"]


def test_slices_lie_across_the_thick_axis(study, draw, tmp_path):
    """Whatever axis of the file that is: the same strokes."""
    item = json.loads(study.read_text())["training"][0]
    source = shutil.copytree(study.parent, tmp_path / "source")
    for key in "image", "label":
        image = nib.load(source / item[key])
        turned = np.asarray(image.dataobj).transpose(2, 0, 1), image.affine[:, [2, 0, 1, 3]]
        nib.save(nib.Nifti1Image(*turned), source / item[key])
    plain = draw("plain", "--workers", "1", "--slice-step", "2")
    words = ["--output", str(tmp_path / "turned"), "--workers", "1", "--slice-step", "2"]
    assert main(["scribbles", "--datalist", str(source / "dataset.json"), *words]) == 0
    before, after = (read(folder / item["scribble"]) for folder in (plain, tmp_path / "turned"))
    assert np.array_equal(after.transpose(1, 2, 0), before)


def test_goes_on_where_it_was_interrupted(draw, tmp_path, monkeypatch):
    whole = digest(draw("whole", "--workers", "1"))
    encode, calls = scribbles.encode_labels, []

    def dies_in_the_third_case(*arguments):
        calls.append(arguments)
        if len(calls) == 5:
            raise KeyboardInterrupt
        return encode(*arguments)

    monkeypatch.setattr(scribbles, "encode_labels", dies_in_the_third_case)
    with pytest.raises(KeyboardInterrupt):
        draw("part", "--workers", "1")
    kept = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "part" / "scribbles").iterdir()}
    assert len(kept) == 2 and not (tmp_path / "part" / "dataset.json").exists()
    monkeypatch.undo()
    assert digest(draw("part", "--workers", "1")) == whole
    assert all((tmp_path / "part" / "scribbles" / name).stat().st_mtime_ns == time for name, time in kept.items())


def test_options_arrive_and_shorter_strokes_nest(draw):
    short, long = (draw(ratio, "--workers", "1", "--length-ratio", ratio) for ratio in ("0.3", "0.9"))
    for a, b in zip(maps(short, "scribble"), maps(long, "scribble")):
        assert (a == b)[a < VOID].all() and (a < VOID).sum() < 0.6 * (b < VOID).sum()
    some = draw(
        "some", "--workers", "1", "--slice-step", "3", "--background", "none", "--kind", "click", "--width", "2"
    )
    for scribble in maps(some, "scribble"):
        assert set(np.flatnonzero((scribble < VOID).any((0, 1)))) <= {0, 3, 6} and not (scribble == 0).any()
    through = draw("through", "--workers", "1", "--slice-axis", "none", "--kind", "click", "--length-ratio", "0")
    assert all((s < VOID).sum() < 20 for s in maps(through, "scribble")[1:])


def test_existing_scribbles_are_shortened(study, draw):
    folder = draw("shorter", "--from", "scribble", "--length-ratio", "0.5", "--workers", "1")
    items = json.loads(study.read_text())["training"]
    for short, item in zip(maps(folder, "scribble"), items):
        long = read(study.parent / item["scribble"])
        assert np.array_equal(short, ShortenScribble(0.5)(long[None])[0].numpy())
    assert len(maps(folder, "label")) == 3


def test_pictures(tmp_path):
    """PNG in, PNG out; row 4, void in the list's own value, is void."""
    source = tmp_path / "pictures"
    source.mkdir()
    mask = np.zeros((20, 30), np.uint8)
    mask[6:16, 5:25], mask[4] = 1, 9
    for section in ("a", "b"):
        Image.fromarray(mask).save(source / f"{section}_mask.png")
        Image.fromarray(np.stack([mask * 20] * 3, -1)).save(source / f"{section}.png")
    items = {name: {"image": f"{name}.png", "label": f"{name}_mask.png"} for name in "ab"}
    content = {
        "labels": {"0": "other", "1": "road"},
        "void_value": 9,
        "training": [items["a"]],
        "validation": [items["b"]],
    }
    (source / "list.json").write_text(json.dumps(content))
    options = ["--datalist", str(source / "list.json"), "--output", str(tmp_path / "out"), "--workers", "1"]
    assert main(["scribbles", *options, "--sections", "training", "validation", "--kind", "border"]) == 0
    made = json.loads((tmp_path / "out" / "dataset.json").read_text())
    assert (made["spatial_dims"], made["in_channels"], made["void_values"]) == (2, 3, [VOID])
    for section in ("training", "validation"):
        scribble = read(tmp_path / "out" / made[section][0]["scribble"])
        assert (
            scribble.shape == (20, 30)
            and (scribble[4] == VOID).all()
            and set(np.unique(scribble)) == {0, 1, VOID, UNLABELED}
        )
        known = scribble < VOID
        assert (scribble == mask)[known].all()


def test_links_that_leave_the_folder(study, tmp_path, capsys):
    """As git-annex and DVC make them."""
    folder = shutil.copytree(study.parent, tmp_path / "linked")
    image = folder / "images/training_000.nii.gz"
    image.symlink_to(shutil.move(image, tmp_path / "store.nii.gz"))
    options = ["scribbles", "--datalist", str(folder / "dataset.json"), "--output", str(tmp_path / "out")]
    assert main([*options, "--workers", "1"]) == 1
    assert "(or --allow-outside), got" in capsys.readouterr().err
    assert main([*options, "--workers", "1", "--allow-outside"]) == 0
    assert not (tmp_path / "out/images/training_000.nii.gz").is_symlink()


def test_where_held_out_strokes_validate(study, tmp_path):
    content = json.loads(study.read_text())
    items = [{"image": item["image"], "scribble": item["scribble"]} for item in content["training"]]
    listed = study.parent / "sparse.json"
    listed.write_text(json.dumps({**content, "training": items[:2], "validation": items[2:]}))
    options = ["--datalist", str(listed), "--output", str(tmp_path / "out"), "--workers", "1"]
    assert main(["scribbles", *options, "--from", "scribble", "--length-ratio", "0.5"]) == 0
    made = json.loads((tmp_path / "out/dataset.json").read_text())
    assert [item.keys() for item in made["validation"]] == [{"image", "scribble", "patient"}]
    held_out = made["validation"][0]["scribble"]
    assert np.array_equal(read(tmp_path / "out" / held_out), read(study.parent / items[2]["scribble"]))


def elsewhere(folder):
    path = folder / "labels/training_000.nii.gz"
    mask = nib.load(path)
    nib.save(nib.Nifti1Image(np.asarray(mask.dataobj), mask.affine + 9 * np.eye(4, k=3)), path)


def several_channels(folder):
    path = folder / "labels/training_000.nii.gz"
    mask = nib.load(path)
    nib.save(nib.Nifti1Image(np.stack([np.asarray(mask.dataobj)] * 2, -1) * [0, 1], mask.affine, dtype="uint8"), path)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (elsewhere, "affine of the image, got one that moves voxels by up to"),
        (several_channels, "one channel of labels, got 2 in"),
    ],
)
def test_masks_that_do_not_fit(study, tmp_path, capsys, spoil, message):
    folder = shutil.copytree(study.parent, tmp_path / "spoilt")
    spoil(folder)
    options = ["--datalist", str(folder / "dataset.json"), "--output", str(tmp_path / "out"), "--workers", "1"]
    assert main(["scribbles", *options]) == 1
    error = capsys.readouterr().err
    assert message in error and "training_000" in error and not (tmp_path / "out/dataset.json").exists()


@pytest.mark.parametrize(
    "change, options, message",
    [
        ({"training": {"image": "a"}}, [], "expected a list of items as training"),
        ({"training": [{"image": 1, "label": "labels/training_000.nii.gz"}]}, [], "expected a file name as image"),
        ({"training": [{"image": "images/training_000.nii.gz", "label": None}]}, [], "expected label in every item"),
        ({}, ["--from", "mask"], "expected mask in every item of training"),
        ({}, ["--from", "scribble", "--sections", "validation"], "expected scribble in every item of validation"),
        ({"training": []}, [], "expected items in training"),
        (
            {"training": [{"image": "images/training_000.nii.gz", "label": "scribbles/training_000.nii.gz"}]},
            [],
            "a dense mask",
        ),
        ({"training": [{"image": "images/no.nii.gz", "label": "labels/no.nii.gz"}]}, [], "images/no.nii.gz"),
        ({}, ["--kind", "spiral"], "expected one of the kinds"),
        ({}, ["--length-ratio", "2"], "expected length_ratio from 0 to 1"),
    ],
)
def test_refused(study, tmp_path, capsys, change, options, message):
    wrong = study.parent / "wrong.json"
    wrong.write_text(json.dumps(json.loads(study.read_text()) | change))
    out = tmp_path / "out"
    assert main(["scribbles", "--datalist", str(wrong), "--output", str(out), "--workers", "1", *options]) == 1
    error = capsys.readouterr().err
    assert "error: " in error and message in error and not (out / "dataset.json").exists()
