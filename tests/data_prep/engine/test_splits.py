# SPDX-License-Identifier: Apache-2.0
"""Published splits against what their publishers say; random ones by their properties."""

from __future__ import annotations

import pytest

from data_prep.engine.splits import SPLITS, assign_sections

ACDC = [f"patient{n:03d}" for n in range(1, 101)]
MSCMR = [f"subject{n}" for n in range(1, 46)]


def members(sections, section):
    return {patient for patient, name in sections.items() if name == section}


def test_acdc_has_five_folds_of_twenty_held_out_patients():
    held_out = [members(assign_sections(ACDC, "acdc", fold), "validation") for fold in range(1, 6)]
    assert [len(fold) for fold in held_out] == [20] * 5
    assert set().union(*held_out) == set(ACDC)
    assert held_out[1] == {f"patient{n:03d}" for n in range(21, 41)}  # WSL4MIS: fold2_testing_set
    for fold in range(1, 6):
        assert members(assign_sections(ACDC, "acdc", fold), "training") == set(ACDC) - held_out[fold - 1]


def test_maag_has_35_and_15_patients_as_scribformer_lists_them():
    """In the order of its ``acdc/dataset.py``."""
    training = [37, 50, 53, 100, 38, 19, 61, 74, 97, 31, 91, 35, 56, 94, 26, 69, 46, 59, 4, 89, 71, 6, 52, 43, 45]
    training += [63, 93, 14, 98, 88, 21, 28, 99, 54, 90]
    validation = [84, 32, 27, 96, 17, 18, 57, 81, 79, 22, 1, 44, 49, 25, 95]
    sections = assign_sections(ACDC, "acdc_maag")
    assert members(sections, "training") == {f"patient{n:03d}" for n in training} and len(training) == 35
    assert members(sections, "validation") == {f"patient{n:03d}" for n in validation} and len(validation) == 15
    larger = assign_sections(ACDC, "acdc_maag70")
    assert members(larger, "validation") == members(sections, "validation")
    assert members(larger, "training") > members(sections, "training") and len(members(larger, "training")) == 70


def test_mscmr_is_split_into_25_5_and_15():
    sections = assign_sections(MSCMR, "mscmr")
    assert len(sections) == 45
    assert [len(members(sections, s)) for s in ("training", "validation", "test")] == [25, 5, 15]
    assert members(sections, "validation") == {"subject1", "subject8", "subject29", "subject36", "subject41"}
    assert {"subject43", "subject3", "subject40"} < members(sections, "test")


@pytest.mark.parametrize("split", [split for folds in SPLITS.values() for split in folds])
def test_sections_are_disjoint(split):
    assert not split.training & split.validation and not (split.training | split.validation) & split.test


def test_a_random_split_depends_on_seed_and_names_alone():
    first = assign_sections(ACDC, seed=3, validation_share=0.25)
    assert len(members(first, "validation")) == 25 and len(first) == 100
    assert first == assign_sections([*reversed(ACDC), *ACDC], seed=3, validation_share=0.25)
    assert first != assign_sections(ACDC, seed=4, validation_share=0.25)


@pytest.mark.parametrize(
    "patients, share, expected",
    [(1, 0.5, 0), (2, 0.01, 1), (2, 0.99, 1), (5, 0.2, 1), (10, 0.0, 0)],
)
def test_a_random_split_leaves_both_sections_something(patients, share, expected):
    sections = assign_sections(map(str, range(patients)), validation_share=share)
    assert len(members(sections, "validation")) == expected and len(sections) == patients


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"name": "acdc", "fold": 6}, "fold from 1 to 5"),
        ({"name": "acdc", "fold": 0}, "fold from 1 to 5"),
        ({"name": "unheard"}, "got unheard"),
        ({"validation_share": 1.0}, "less than 1, got 1.0"),
        ({"validation_share": -0.1}, "got -0.1"),
        ({"patients": ["a", "b"], "name": "mscmr"}, "training patients of split mscmr"),
        ({"patients": ["patient050"], "name": "acdc"}, "validation patients of split acdc, fold 1"),
    ],
)
def test_what_cannot_be_split_is_an_error(arguments, message):
    with pytest.raises(ValueError, match=message):
        assign_sections(**{"patients": ACDC, **arguments})
