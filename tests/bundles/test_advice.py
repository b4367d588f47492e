# SPDX-License-Identifier: Apache-2.0
"""``medwsss advise`` on finished runs: files that an annotation tool can lay over the image."""

from __future__ import annotations

import json

import nibabel as nib
import numpy as np
import pytest
import torch
from PIL import Image
from scipy.ndimage import distance_transform_edt, find_objects

from medwsss.__main__ import main
from medwsss.advice.command import advise
from medwsss.keys import UNLABELED

REACH = 2.0


def regions_of(report, case):
    return {region["number"]: region for region in report["regions"] if region["case"] == case}


def check_boxes(mask, regions):
    """Each number of the mask is a region of the report, in the same place."""
    boxes = find_objects(mask)
    assert {*np.unique(mask)} - {0} == {*regions} and len(boxes) == len(regions)
    for number, box in enumerate(boxes, 1):
        told, points = regions[number], np.argwhere(mask == number)
        assert told["bounding_box"] == [[side.start for side in box], [side.stop for side in box]]
        assert told["voxels"] == len(points)
        np.testing.assert_allclose(told["centroid"], points.mean(0), atol=0.051)


@pytest.mark.parametrize("name", ["trained", "trained_slices"])
def test_volumes(name, study, tmp_path, request, capsys):
    output = tmp_path / "advice"
    words = ["advise", str(request.getfixturevalue(name)), "--output", str(output), "--reach", str(REACH)]
    assert main(words) == 0
    assert str(output / "next_strokes.json") in capsys.readouterr().out
    report = json.loads((output / "next_strokes.json").read_text())
    assert [case["case"] for case in report["cases"]] != [] and len(report["cases"]) == 3
    for entries in (report["cases"], report["regions"], *(case["slices"] for case in report["cases"])):
        scores = [entry["score"] for entry in entries]
        assert scores == sorted(scores, reverse=True) and scores[0] > 0
    for case in report["cases"]:
        image, mask = (nib.load(path) for path in (case["image"], output / case["mask"]))
        assert mask.shape == image.shape and (mask.affine == image.affine).all()
        numbers, regions = np.asarray(mask.dataobj), regions_of(report, case["case"])
        assert 1 <= len(regions) <= 5
        check_boxes(numbers, regions)
        scribble = np.asarray(nib.load(study / "scribbles" / f"{case['case']}.nii.gz").dataobj)
        spacing = np.array(image.header.get_zooms())
        distance = distance_transform_edt(scribble == UNLABELED, sampling=spacing / spacing.min())
        assert (distance[numbers > 0] > REACH).all()
        for region in regions.values():
            points = np.argwhere(numbers == region["number"])
            assert region["slice"] == {"axis": 2, "index": points[0, 2]} and np.ptp(points[:, 2]) == 0
            world = nib.affines.apply_affine(image.affine, points.mean(0))
            np.testing.assert_allclose(region["centroid_mm"], world, atol=0.006)
            first, second = region["classes"]
            assert first["class"] != second["class"] and 1 >= first["probability"] >= second["probability"]
        assert Image.open(output / case["overlay"]).size[0] > 300
    assert sum(s["score"] for s in report["cases"][0]["slices"]) == pytest.approx(report["cases"][0]["score"], abs=0.1)


def test_unannotated_volumes_whatever_axis_is_thick(study, trained, tmp_path):
    image = nib.load(study / "images" / "training_000.nii.gz")
    voxels, affine = np.asarray(image.dataobj), image.affine
    nib.save(nib.Nifti1Image(voxels, affine), tmp_path / "a.nii.gz")
    nib.save(nib.Nifti1Image(voxels.transpose(2, 0, 1), affine[:, [2, 0, 1, 3]]), tmp_path / "b.nii.gz")
    (tmp_path / "list.json").write_text(json.dumps({"test": [{"image": "a.nii.gz"}, {"image": "b.nii.gz"}]}))
    report = advise(trained, tmp_path / "out", source=tmp_path / "list.json")
    straight, turned = (np.asarray(nib.load(tmp_path / "out" / "masks" / f"{n}.nii.gz").dataobj) for n in "ab")
    np.testing.assert_array_equal(straight.transpose(2, 0, 1), turned)
    assert straight.any()
    for a, b in zip(*(regions_of(report, name).values() for name in "ab"), strict=True):
        assert (a["slice"]["axis"], b["slice"]["axis"]) == (2, 0) and a["slice"]["index"] == b["slice"]["index"]
        np.testing.assert_allclose(a["centroid_mm"], b["centroid_mm"], atol=0.011)
        assert a["score"] == b["score"] and a["classes"] == b["classes"]


def test_pictures(photographs, trained_on_photographs, tmp_path):
    report = advise(trained_on_photographs, tmp_path, regions=2, reach=1)
    assert len(report["cases"]) == 4
    for case in report["cases"]:
        mask = Image.open(tmp_path / case["mask"])
        assert mask.size == (52, 40)  # as displayed, also where EXIF turns the file
        check_boxes(np.asarray(mask).T, regions_of(report, case["case"]))
        assert case["slices"] == []
        void = np.asarray(mask)[:, :2]
        assert not void.any()
    assert all(region["slice"] is None and region["centroid_mm"] is None for region in report["regions"])


def test_what_is_refused(study, trained, tmp_path, capsys):
    def refused(*words):
        assert main(["advise", *map(str, words)]) == 1
        return capsys.readouterr().err

    assert f"none in {tmp_path}" in refused(tmp_path)
    assert "from 0, got 0 and 4.0" in refused(trained, "--regions", 0)
    assert "section 'test' with at least one item" in refused(trained, "--source", study / "dataset.json")
    (tmp_path / "checkpoints").mkdir()
    file = tmp_path / "checkpoints" / "checkpoint_epoch=1.pt"
    file.write_bytes(b"no checkpoint")
    assert f"readable checkpoint, got BadZipFile in {file}" in refused(tmp_path)
    torch.save({"trainer": {"epoch": 1}}, file)
    assert f"settings of a bundle's run in {file}, got none" in refused(tmp_path)
    settings = torch.load(sorted((trained / "checkpoints").iterdir())[-1], weights_only=True)
    torch.save(settings, file)
    assert f"got no file {tmp_path / 'model.pt'}" in refused(tmp_path)
    with pytest.raises(SystemExit):
        main(["advise", str(trained), "--section", "test"])
