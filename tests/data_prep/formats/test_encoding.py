# SPDX-License-Identifier: Apache-2.0
"""Label maps as files: equal arguments, equal bytes, and what is read is what was written."""

from __future__ import annotations

import io

import nibabel as nib
import numpy as np
import pytest
from PIL import Image

from data_prep.formats.encoding import encode_labels
from medwsss.keys import UNLABELED
from tests.data_prep import trees
from tests.data_prep.pictures import save

PLANE = np.where(np.arange(12).reshape(3, 4) == 5, UNLABELED, 1)  # three along a row, four rows
VOLUME = np.where(trees.dense(3) == 2, UNLABELED, trees.dense(3))


def volume(file, tmp_path):
    (tmp_path / "made.nii.gz").write_bytes(file.read())
    return nib.load(tmp_path / "made.nii.gz")


@pytest.mark.parametrize("like", [None, "mask.png", "mask.bmp"])
def test_a_plane_is_png_with_rows_first(tmp_path, like):
    file = encode_labels(PLANE[None], like and save(tmp_path / like, PLANE.T))
    assert file.suffix == ".png"
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(file.read()))), PLANE.T)


def test_a_volume_is_nifti(tmp_path):
    file = encode_labels(VOLUME[None])
    made = volume(file, tmp_path)
    assert file.suffix == ".nii.gz" and made.get_data_dtype() == np.uint8
    assert np.array_equal(made.affine, np.eye(4)) and np.array_equal(np.asarray(made.dataobj), VOLUME)


@pytest.mark.parametrize("name", ["mask.nii.gz", "mask.nii", "MASK.NII"])
def test_nifti_keeps_its_geometry(tmp_path, name):
    like = trees.save(tmp_path / name, VOLUME.astype(np.int32))
    made = volume(encode_labels(VOLUME[None], like), tmp_path)
    assert np.array_equal(made.affine, trees.AFFINE) and made.header.get_zooms() == (1.5, 1.5, 8)
    assert made.get_data_dtype() == np.uint8 and np.array_equal(np.asarray(made.dataobj), VOLUME)


@pytest.mark.parametrize("labels", [PLANE, VOLUME], ids=["plane", "volume"])
def test_same_bytes_at_any_hour(labels, tmp_path, monkeypatch):
    like = trees.save(tmp_path / "like.nii.gz", labels.astype(np.uint8))
    made = []
    for hour in (1e9, 2e9):
        monkeypatch.setattr("time.time", lambda hour=hour: hour)
        made.append([encode_labels(labels[None], which).read() for which in (None, like)])
    assert made[0] == made[1]
