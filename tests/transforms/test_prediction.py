# SPDX-License-Identifier: Apache-2.0
"""What is not for the network is refused by name, and what is void gets no class."""

from __future__ import annotations

import nibabel as nib
import numpy as np
import pytest
import torch
from monai.data import MetaTensor

from medwsss.keys import VOID
from medwsss.transforms import CheckImaged, SaveMapd, SavePredictiond, SplitMapsd


def image(voxels, name="case.nii", **meta):
    return MetaTensor(torch.as_tensor(voxels, dtype=torch.float32), meta={"filename_or_obj": name, **meta})


def ones(*shape):
    return torch.ones(shape)


def put(value):
    voxels = ones(2, 3, 4)
    voxels[1, 2, 3] = value
    return voxels


@pytest.mark.parametrize(
    "given, told",
    [
        (image(ones(1, 3, 4)), "expected 2 channels .in_channels.*got 1 in case.nii"),
        (image(ones(4, 3, 4)), "got 4 in case.nii"),
        (image(ones(2, 3, 4, 5)), r"expected an image of 2 axes, got the shape \(3, 4, 5\) in case.nii"),
        (image(put(torch.nan)), "got 1 NaN or infinite voxels in case.nii"),
        (image(put(torch.inf), void="nodata -9999"), "got 1 NaN or infinite voxels in case.nii"),
        (image(ones(2, 3, 4), mode="P"), "palette indices in case.nii"),
    ],
)
def test_refused(given, told):
    with pytest.raises(ValueError, match=told):
        CheckImaged("image", 2, 2)({"image": given})


@pytest.mark.parametrize(
    "span, values, fits",
    [
        ([0, 255], [0, 255], True),
        ([0, 255], [1, 4], True),  # at night
        ([0, 255], [7, 7], True),
        ([0, 255], [0, 1.5], False),
        ([0, 255], [0.1, 1.0], False),
        ([0, 255], [37, 9800], False),
        ([0, 1], [0.1, 1.2], True),
        ([0, 1], [0, 255], False),
        ([0, 255], [-9999, 200], False),
    ],
)
def test_the_range_of_intensities(span, values, fits):
    case, check = {"image": image([[values]])}, CheckImaged("image", 1, intensity_range=span)
    if fits:
        check(case)
    else:
        with pytest.raises(ValueError, match=f"about {span[0]} to {span[1]} .intensity_range.*got .* in case.nii"):
            check(case)
    check({"image": image([[[torch.nan] * 2]], void="alpha")})


def test_void_is_where_no_channel_has_anything():
    voxels = ones(2, 2, 3)
    voxels[0, 0] = torch.nan
    voxels[1, 0, 1:] = torch.nan
    checked = CheckImaged("image", 2)({"image": image(voxels, void="mask")})
    assert checked["void"].tolist() == [[[False, True, True], [False, False, False]]]
    assert not CheckImaged("image", 2)({"image": image(ones(2, 2, 3))})["void"].any()


@pytest.fixture
def case(tmp_path):
    """An image of 3 x 4 x 1 voxels with a void corner, as the network is done with it."""
    affine = np.diag([2.0, 3, 4, 1])
    nib.save(nib.Nifti1Image(np.ones((3, 4, 1), np.float32), affine), tmp_path / "case.nii")
    void = torch.zeros(1, 3, 4, 1, dtype=torch.bool)
    void[0, 0, 0] = True
    pred = MetaTensor(torch.arange(12.0).reshape(1, 3, 4, 1, 1))  # one axis more than the file has
    target = tmp_path / "new" / "folder" / "case_pred.nii.gz"
    return {"image": image(ones(1), str(tmp_path / "case.nii")), "pred": pred, "void": void, "output": str(target)}


def test_saved_whole(case, tmp_path):
    SavePredictiond("pred")(case)
    saved = nib.load(case["output"])
    expected = np.arange(12).reshape(3, 4, 1)
    expected[0, 0] = VOID
    np.testing.assert_array_equal(saved.dataobj, expected)
    np.testing.assert_array_equal(saved.affine, np.diag([2, 3, 4, 1]))
    assert [path.name for path in (tmp_path / "new" / "folder").iterdir()] == ["case_pred.nii.gz"]


def test_nothing_of_a_file_that_could_not_be_written(case, monkeypatch):
    """A full disk leaves the old prediction."""
    SavePredictiond("pred")(case)
    before = open(case["output"], "rb").read()

    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    case["pred"] = case["pred"] * 0
    with pytest.raises(OSError, match="expected to write .*case_pred.nii.gz, got: No space left"):
        SavePredictiond("pred")(case)
    assert open(case["output"], "rb").read() == before


def test_classes_that_would_be_void(case):
    case["pred"] = case["pred"] + 243
    with pytest.raises(ValueError, match="expected classes below 254, got 254"):
        SavePredictiond("pred")(case)


def test_maps_are_split_and_saved_without_void(case, tmp_path):
    case["pred"] = torch.arange(48.0).reshape(4, 3, 4, 1, 1)
    targets = {f"output_{name}": str(tmp_path / f"case_{name}.nii.gz") for name in ("uncertainty", "probabilities")}
    split = SplitMapsd("pred", ["uncertainty", "probabilities"])({**case, **targets})
    assert [len(split[key]) for key in ("pred", "uncertainty", "probabilities")] == [1, 1, 2]
    SaveMapd(["uncertainty", "probabilities"])(split)
    uncertainty, probabilities = (np.asarray(nib.load(path).dataobj) for path in targets.values())
    assert np.isnan(uncertainty[0, 0, 0]) and np.isnan(probabilities[0, 0, 0]).all()
    np.testing.assert_array_equal(uncertainty.ravel()[1:], np.arange(13, 24))
    np.testing.assert_array_equal(probabilities[..., 1].ravel()[1:], np.arange(37, 48))
