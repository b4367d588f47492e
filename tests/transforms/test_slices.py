# SPDX-License-Identifier: Apache-2.0
"""Slices of volumes: each is read as itself, and what is done to it is what is done to an image."""

from __future__ import annotations

import nibabel as nib
import numpy as np
import pytest
import torch
from monai.inferers import SimpleInferer

from medwsss.inferers import SlicesInferer
from medwsss.transforms import CamToSeedsd, LoadSliced, ScoresToCamd


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_each_slice_of_the_file(tmp_path, axis):
    volume = np.arange(2 * 3 * 4, dtype=np.float32).reshape(2, 3, 4)
    nib.save(nib.Nifti1Image(volume, np.diag([2.0, 3, 5, 1])), tmp_path / "v.nii.gz")
    load = LoadSliced("image")
    for number in range(volume.shape[axis]):
        case = load({"image": str(tmp_path / "v.nii.gz"), "slice": number, "slice_axis": axis})
        np.testing.assert_array_equal(case["image"][0], np.take(volume, number, axis))
        assert case["image"].pixdim.tolist() == [s for k, s in enumerate([2, 3, 5]) if k != axis]
        case["image"] += 1  # the volume that is kept stays as it is
    with pytest.raises(ValueError, match=f"a slice 9 across axis {axis}, got the shape .2, 3, 4.: .*v.nii.gz"):
        load({"image": str(tmp_path / "v.nii.gz"), "slice": 9, "slice_axis": axis})
    assert load({"image": str(tmp_path / "v.nii.gz")})["image"].shape == (1, 2, 3, 4)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_volume_is_its_slices(axis):
    """Maps, seeds, priors and scores of a volume against those of each slice by itself."""
    scores = torch.randn(2, 3, 4, 5, generator=torch.Generator().manual_seed(axis))
    tags = torch.randint(0, 2, (scores.shape[axis + 1], 2)).float()
    volume = CamToSeedsd(slice_axis=axis)(ScoresToCamd(use_tags=True, slice_axis=axis)({"pred": scores, "tags": tags}))
    for number, (pred, known) in enumerate(zip(scores.unbind(axis + 1), tags)):
        one = CamToSeedsd()(ScoresToCamd(use_tags=True)({"pred": pred, "tags": known}))
        for key in ("cam", "scribble", "prior"):
            torch.testing.assert_close(volume[key].select(axis + 1, number), one[key])
        torch.testing.assert_close(volume["tag_scores"][number], one["tag_scores"])


@pytest.mark.parametrize("axis", [None, 0, 2])
def test_volumes_go_through_slice_by_slice(axis):
    seen = []

    def network(x):
        seen.append(len(x))
        return x.flatten(1).mean(1).reshape(-1, 1, *[1] * (x.ndim - 2)) + 0 * x

    image = torch.rand(1, 1, 3, 4, 5)
    out = SlicesInferer(SimpleInferer(), axis, batch_size=2)(image, network)
    axes = [2, 3, 4] if axis is None else [k for k in (2, 3, 4) if k != axis + 2]
    torch.testing.assert_close(out, image.mean(axes, keepdim=True).expand_as(image))
    assert seen == {None: [1], 0: [2, 1], 2: [2, 2, 1]}[axis]
    with pytest.raises(ValueError, match="batch_size"):
        SlicesInferer(SimpleInferer(), 0, 0)
