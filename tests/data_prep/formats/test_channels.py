# SPDX-License-Identifier: Apache-2.0
"""A label map of several channels: resolved by a table that speaks of several, refused by name by one of numbers."""

from __future__ import annotations

import json
import re

import nibabel as nib
import numpy as np
import pytest
from PIL import Image

from data_prep.engine.sources import Case
from data_prep.formats.pictures import picture_files
from data_prep.formats.volumes import volume_files
from medwsss.keys import IMAGE, LABEL, UNLABELED
from medwsss.study.findings import examine
from medwsss.transforms import MapWeakLabels
from tests.data_prep import trees
from tests.data_prep.converters.test_folder import raster
from tests.data_prep.pictures import convert, photograph, refusal, save

MASK = np.arange(48).reshape(6, 8) % 3
NUMBERS = MapWeakLabels(3)
BANDS = MapWeakLabels(3, colors=np.eye(3, dtype=int).tolist())  # one 0/1 band a class
ONE_HOT = np.eye(3, dtype=np.uint8)[MASK]
BLUE = np.where(MASK[..., None] == 2, [0, 0, 255], np.where(MASK[..., None] == 1, [255, 0, 0], 0))
VOLUME = trees.dense(3)


def palette(path):
    photograph(path)
    Image.open(path).convert("P").save(path)


def flat(tmp_path, label, **options):
    return picture_files(
        Case("a", "a", {IMAGE: photograph(tmp_path / "image.png"), LABEL: label}, "training"), **options
    )


@pytest.mark.parametrize("kind", ["red and blue", "one band a class", "tiff", "alpha that is opaque"])
def test_channels_that_differ_are_no_numbers(tmp_path, kind):
    """Red is 255 in the first channel, blue is 0 there: one of the two would become background."""
    if kind == "tiff":
        label = tmp_path / "label.tif"
        raster(label, ONE_HOT.transpose(2, 0, 1))
    else:
        alpha = np.full((6, 8, 1), 255)
        array = {"red and blue": BLUE, "one band a class": ONE_HOT}.get(kind, np.concatenate([BLUE, alpha], -1))
        label = save(tmp_path / "label.png", array)
    with pytest.raises(ValueError, match="label.png|one channel of labels, got 3 in .*label.*: channels that together"):
        flat(tmp_path, label, labels=MapWeakLabels(2, mapping={0: 0, 255: 1}))
    found = examine(str(photograph(tmp_path / "image.png")), NUMBERS, mask=str(label))
    assert len(found.errors) == 1 and str(label) in found.errors[0]


def test_numbers_that_are_repeated_in_every_channel_are_numbers(tmp_path):
    label = save(tmp_path / "label.png", np.repeat(MASK[..., None], 3, -1))
    (made,) = (file for key, file in flat(tmp_path, label, labels=NUMBERS).items() if key == LABEL)
    (tmp_path / "made.png").write_bytes(made.read())
    assert not examine(str(tmp_path / "image.png"), NUMBERS, mask=str(tmp_path / "made.png")).errors


@pytest.mark.parametrize(("labels", "told"), [(BANDS, "expected 3 channels"), (NUMBERS, None)])
def test_a_palette_counts_by_its_indices(tmp_path, labels, told):
    label = save(tmp_path / "label.png", MASK, "P")
    if told:
        with pytest.raises(ValueError, match=f"{told}.* got 1 in .*label.png: a palette counts by its indices"):
            flat(tmp_path, label, labels=labels)
    else:
        assert LABEL in flat(tmp_path, label, labels=labels)


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("kind", ["one-hot", "time"])
def test_a_fourth_axis_is_not_dropped(tmp_path, channels, kind):
    """An image of as many channels does not make it right."""
    shape = (*trees.SHAPE, channels) if channels > 1 else trees.SHAPE
    image = trees.save(tmp_path / "image.nii.gz", trees.image(shape=shape))
    array = np.eye(3, dtype=np.uint8)[VOLUME] if kind == "one-hot" else np.stack([VOLUME, 2 - VOLUME], -1)
    label = trees.save(tmp_path / "label.nii.gz", array)
    case = Case("a", "a", {IMAGE: image, LABEL: label}, "training")
    with pytest.raises(ValueError, match=f"one channel of labels, got {array.shape[-1]} in .*label.nii.gz"):
        volume_files(case, NUMBERS, in_channels=channels)
    if kind == "one-hot":
        made = volume_files(case, BANDS, in_channels=channels)[LABEL]
        (tmp_path / "made.nii.gz").write_bytes(made.read())
        np.testing.assert_array_equal(trees.load(tmp_path / "made.nii.gz")[0], VOLUME)


def test_one_more_axis_of_one_voxel_is_none(tmp_path):
    image = trees.save(tmp_path / "image.nii.gz", trees.image()[..., None])
    label = trees.save(tmp_path / "label.nii.gz", VOLUME[..., None])
    made = volume_files(Case("a", "a", {IMAGE: image, LABEL: label}, "training"), NUMBERS)[LABEL]
    (tmp_path / "made.nii.gz").write_bytes(made.read())
    np.testing.assert_array_equal(trees.load(tmp_path / "made.nii.gz")[0], VOLUME)


@pytest.mark.parametrize(
    ("values", "ignored", "array"),
    [
        ([[1, 0], [0, 1]], [[0, 0]], np.eye(2, dtype=np.uint8)[np.minimum(MASK, 1)] * (MASK < 2)[..., None]),
        ([[10, 20, 30], [30, 20, 10]], [[0, 0, 0]], np.array([[10, 20, 30], [30, 20, 10], [0, 0, 0]])[MASK]),
    ],
)
def test_a_table_of_lists_resolves_them(tmp_path, values, ignored, array):
    for name in ("a", "b"):
        raster(tmp_path / f"data/images/{name}.tif", MASK[None].astype(np.uint8))
        raster(tmp_path / f"data/labels/{name}.tif", array.transpose(2, 0, 1).astype(np.uint8))
    table = {"labels": {"other": values[0], "road": values[1]}, "ignore_values": ignored}
    (tmp_path / "labels.json").write_text(json.dumps(table))
    made = convert("folder", tmp_path / "data", tmp_path / "study", "--labels", tmp_path / "labels.json")
    (name,) = made.names("training")
    np.testing.assert_array_equal(made.pixels("training", name, "label"), np.where(MASK == 2, UNLABELED, MASK))


@pytest.mark.parametrize("values", [[[1, 0], [0, 1, 0]], [[1.5, 0], [0, 1]], [["r"], ["g"]], [[], []], [True, False]])
def test_a_table_that_makes_no_sense(tmp_path, capsys, values):
    photograph(tmp_path / "data/images/a.png")
    (tmp_path / "labels.json").write_text(json.dumps({"labels": dict(zip("ab", values))}))
    options = ("--labels", tmp_path / "labels.json")
    assert "a list of one length" in refusal(capsys, "folder", tmp_path / "data", tmp_path / "study", *options)


@pytest.mark.parametrize("dtype", ["uint8", "int16"])
def test_a_header_that_scales_is_named_as_the_cause(tmp_path, dtype):
    image = trees.save(tmp_path / "image.nii.gz", trees.image())
    scaled = nib.Nifti1Image(VOLUME.astype(float), trees.AFFINE)
    scaled.set_data_dtype(dtype)  # nibabel writes 0 … 2 as 0 … 255, and 1 comes back as 0.996
    nib.save(scaled, tmp_path / "label.nii.gz")
    label = tmp_path / "label.nii.gz"
    told = r"label.nii.gz: its header scales what is stored \(scl_slope"
    with pytest.raises(ValueError, match=told):
        volume_files(Case("a", "a", {IMAGE: image, LABEL: label}, "training"), NUMBERS)
    assert "scl_slope" in examine(str(image), NUMBERS, mask=str(label)).errors[0]


@pytest.mark.parametrize(
    "classes, picture, told",
    [
        ({"building": 1}, photograph, r"at least two classes, got \['building'\]"),
        ({"a": 0, "b": 1}, palette, "expected intensities, got palette indices in .*a.png"),
    ],
)
def test_what_no_network_can_learn_from_is_not_written(tmp_path, capsys, classes, picture, told):
    picture(tmp_path / "data/images/a.png")
    save(tmp_path / "data/labels/a.png", MASK % 2)
    (tmp_path / "labels.json").write_text(json.dumps({"labels": classes, "ignore_values": [7]}))
    options = ("--labels", tmp_path / "labels.json")
    assert re.search(told, refusal(capsys, "folder", tmp_path / "data", tmp_path / "study", *options))
    assert not (tmp_path / "study/dataset.json").exists()
