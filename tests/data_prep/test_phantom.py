# SPDX-License-Identifier: Apache-2.0
"""The phantom study: same bytes for the same seed, scribbles that tell the truth, a list MONAI reads."""

from __future__ import annotations

import hashlib
import json
from functools import partial

import nibabel as nib
import numpy as np
import pytest
from monai.data import load_decathlon_datalist

from data_prep import phantom
from data_prep.__main__ import main
from medwsss.keys import UNLABELED

SHAPE = (32, 32, 14)


def digest(folder):
    return {
        str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest() for p in folder.rglob("*") if p.is_file()
    }


def read(path):
    return np.asarray(nib.load(path).dataobj)


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """The default anatomy at half the resolution."""
    return phantom.make_phantom_study(tmp_path_factory.mktemp("phantom") / "study", 4, 2, shape=SHAPE)


@pytest.fixture(scope="module")
def training(study):
    items = load_decathlon_datalist(str(study), is_segmentation=True, data_list_key="training")
    return [{k: read(v) for k, v in item.items()} for item in items]


def test_same_seed_same_bytes_and_another_seed_other_bytes(tmp_path, study, monkeypatch):
    monkeypatch.setattr("time.time", lambda: 1e9)  # gzip may stamp the hour
    again = phantom.make_phantom_study(tmp_path / "again", 4, 2, shape=SHAPE).parent
    other = phantom.make_phantom_study(tmp_path / "other", 1, 1, seed=1, shape=SHAPE).parent
    assert digest(again) == digest(study.parent)
    assert not set(digest(other).values()) & set(digest(again).values())


def test_more_volumes_leave_the_first_ones_alone(tmp_path, study):
    fewer = digest(phantom.make_phantom_study(tmp_path / "fewer", 1, 1, shape=SHAPE).parent)
    fewer.pop("dataset.json")
    assert fewer.items() <= digest(study.parent).items()


def test_lists_are_relative_and_load(study):
    content = json.loads(study.read_text())
    assert [len(content[split]) for split in ("training", "validation")] == [4, 2]
    assert content["ignore_value"] == UNLABELED and content["num_classes"] == len(content["labels"]) == 5
    for split, keys in (("training", {"image", "scribble", "label"}), ("validation", {"image", "label"})):
        for item, loaded in zip(content[split], load_decathlon_datalist(str(study), True, split), strict=True):
            assert set(item) == keys and not any(path.startswith("/") for path in item.values())
            assert all(nib.load(loaded[key]).shape == SHAPE for key in keys)


def test_voxels_are_anisotropic(study):
    for path in study.parent.rglob("*.nii.gz"):
        assert np.array_equal(nib.load(path).affine, np.diag([1.0, 1.0, 2.5, 1.0]))


def test_scribbles_stay_inside_their_class_and_are_sparse(training):
    for item in training:
        seeds = item["scribble"] != UNLABELED
        assert np.array_equal(item["scribble"][seeds], item["label"][seeds])
        assert 0 < seeds.mean() < 0.02


def test_every_class_is_there_and_seeded_in_every_volume(training):
    for item in training:
        assert set(np.unique(item["label"])) == set(range(5))
        assert set(np.unique(item["scribble"])) == {*range(5), UNLABELED}


def test_grey_values_do_what_the_docstring_says(training):
    """The neighbour is brighter than the organ by little, the mass equals it in mean but not in texture."""
    for item in training:
        organ, neighbour, mass = (item["image"][item["label"] == k].astype(float) for k in (1, 2, 3))
        assert 5 < neighbour.mean() - organ.mean() < 35
        assert abs(mass.mean() - organ.mean()) < 15 and mass.std() > organ.std()
        assert item["image"].min() >= 0 and item["image"].max() <= 255


def test_a_stroke_is_one_connected_line_inside_a_ring():
    x, y = np.mgrid[-20:21, -20:21]
    ring = (np.hypot(x, y) > 13) & (np.hypot(x, y) < 16)  # thin: the way across its hole is the cheaper one
    for seed in range(10):
        rows, columns = phantom._stroke(np.random.default_rng(seed), ring)
        assert ring[rows, columns].all() and len(rows) > 2
        assert (np.maximum(abs(np.diff(rows)), abs(np.diff(columns))) == 1).all()


def test_ensure_makes_once_and_only_complete_studies(tmp_path, monkeypatch):
    folder = tmp_path / "new" / "study"
    small = partial(phantom.make_phantom_study, training=2, validation=1, shape=SHAPE)
    monkeypatch.setattr(phantom, "make_phantom_study", small)

    def interrupted(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(phantom, "_scribble", interrupted)
        with pytest.raises(KeyboardInterrupt):
            phantom.ensure_phantom_study(folder)
    assert list(folder.parent.iterdir()) == []

    path = phantom.ensure_phantom_study(folder)
    before = {p: p.stat().st_mtime_ns for p in folder.rglob("*")}
    assert phantom.ensure_phantom_study(folder) == path
    assert {p: p.stat().st_mtime_ns for p in folder.rglob("*")} == before
    assert list(folder.parent.iterdir()) == [folder]


def test_foreign_files_are_not_touched(tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").write_text("x")
    with pytest.raises(ValueError, match="mine to be absent or empty"):
        phantom.make_phantom_study(tmp_path / "mine", 1, 0, shape=SHAPE)
    assert digest(tmp_path / "mine").keys() == {"thesis.tex"}


def test_structures_that_are_present_at_random(tmp_path, study):
    """What is there lies where it would lie beside the others, and tags say what is; the neighbour takes less then."""
    path = phantom.make_phantom_study(tmp_path / "some", 4, 2, shape=SHAPE, present=0.5)
    content, seen = json.loads(path.read_text()), set()
    for item in content["training"] + content["validation"]:
        label, whole = (read(folder / item["label"]) for folder in (path.parent, study.parent))
        found = [k for k in range(1, 5) if (label == k).any()]
        assert item["tags"] == [phantom.CLASSES[k] for k in found]
        for k in found:
            assert (label == k)[whole == k].all()
        seen |= {(k, k in found) for k in range(1, 5)}
    assert len(seen) == 8  # of each structure, a volume with and one without
    with pytest.raises(ValueError, match="expected a probability"):
        phantom.make_phantom_study(tmp_path / "none", present=0)
    with pytest.raises(ValueError, match="expected at least 7 voxels along each axis, got 64 x 64 x 6"):
        phantom.make_phantom_study(tmp_path / "none", shape=(64, 64, 6))


def test_command_line(tmp_path, capsys):
    few = ["--training", "1", "--validation", "0", "--shape", *map(str, SHAPE)]
    assert main(["phantom", "--output", str(tmp_path / "study"), *few]) == 0
    assert capsys.readouterr().out.strip() == str(tmp_path / "study" / "dataset.json")
    assert read(tmp_path / "study" / "images" / "training_000.nii.gz").shape == SHAPE
    assert phantom.Options(output=tmp_path).shape == (64, 64, 28)  # without the option, as before
