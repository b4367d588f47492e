# SPDX-License-Identifier: Apache-2.0
"""Masks where there are any, else strokes, else nothing: and it is said which."""

from __future__ import annotations

import pytest

from medwsss.study import plan_validation
from tests.study.study_folder import three_patients


@pytest.fixture
def study(tmp_path):
    """Three items with scribbles and masks, one of them in validation."""
    study = three_patients(tmp_path)
    study.content["validation"][0]["scribble"] = "scribble2.nii.gz"
    return study


def without_masks(study):
    for item in study.content["validation"]:
        del item["label"]


def labels(plan, study):
    return [item["label"].removeprefix(f"{study.folder}/") for item in plan.items]


def test_masks(study):
    plan = plan_validation(study.listed(), held_out_share=0.5)
    assert (plan.on, plan.sections) == ("masks", ("training", "validation"))
    assert labels(plan, study) == ["mask2.nii.gz"] and str(plan) == "validation on masks: 1 images"


@pytest.mark.parametrize(
    "spoil", [without_masks, lambda s: s.content["validation"][0].update(label="scribble2.nii.gz")]
)
def test_strokes(study, spoil):
    spoil(study)
    plan = plan_validation(study.listed(), held_out_share=0.5)
    assert (plan.on, plan.sections) == ("strokes", ("training", "validation"))
    assert labels(plan, study) == ["scribble2.nii.gz"] and "agreement on the strokes' voxels alone" in str(plan)
    study.check(sections=plan.sections, annotation_key="scribble")


@pytest.mark.parametrize("section", [[], None])
def test_no_section(study, section):
    study.content["validation"] = section
    for item in study.content["training"]:
        del item["label"]
    plan = plan_validation(study.listed())
    assert (plan.on, plan.items, plan.sections) == ("nothing", [], ("training",))
    assert str(plan).startswith("no validation: the list has no section for it; the model is that of the last epoch")
    plan = plan_validation(study.listed(), held_out_share=0.1)
    assert (plan.on, plan.sections) == ("held-out strokes", ("training",))
    assert labels(plan, study) == ["scribble0.nii.gz", "scribble1.nii.gz"]
    study.check(sections=plan.sections, annotation_key="scribble")
    assert study.command()[0] == 0


def test_some_masks_are_not_enough(study):
    study.content["validation"].append({"image": "image2.nii.gz", "scribble": "scribble2.nii.gz"})
    with pytest.raises(ValueError, match=r"validation\[1\]\['label'\]: expected a file name, got None"):
        plan_validation(study.listed())
