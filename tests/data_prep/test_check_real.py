# SPDX-License-Identifier: Apache-2.0
"""The check's numbers of real data sets are those that their descriptions give."""

from __future__ import annotations

import json

import pytest

from data_prep.__main__ import main

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")

# data set: options; of each section items and shares in percent, scribbles' (dense masks' where there are none) by
# label value, with None for unlabelled; and seeds that contradict the mask
README = {
    "acdc_mini": ([], {"training": (12, {None: 99.03}, 27), "validation": (4, {None: 99.03}, 16)}),
    "prostatex_one": ([], {"training": (1, {None: 99.54}, 0)}),
    "medscribble": ([], {"training": (41, {}, None)}),
    "remote_sensing/water12": (
        ["--dense"],
        {"training": (32, {0: 81.61, 1: 18.39}, 0), "validation": (11, {0: 61.44, 1: 38.56}, 0)},
    ),
    "remote_sensing/enmap_potsdam": (
        [],
        {
            "training": (5, {0: 1.60, 1: 2.48, 2: 2.85, 3: 18.67, 4: 0.53, 5: 0.70, None: 73.16}, 0),
            "validation": (1, {0: 1.37, 1: 0.68, 2: 9.08, 3: 7.42, 4: 0.19, 5: 20.21, None: 61.03}, 0),
        },
    ),
    "remote_sensing/landsat7_sparse": (
        [],
        {"training": (1, {0: 0.61, 1: 0.03, 2: 0.23, 3: 0.17, 4: 0.11, None: 98.85}, 0), "unlabelled": (1, {}, 0)},
    ),
    "remote_sensing/spacenet_samples": (["--dense"], {"training": (2, {0: 96.39, 1: 3.61}, 0)}),
    "odd_files/voc_scribblesup": ([], {"training": (2, {None: 96.86}, None)}),  # 3.4 % and 2.9 % covered
    "hippocampus": (
        ["--dense"],
        {"training": (100, {0: 94.88, 1: 2.65, 2: 2.47}, 0), "validation": (30, {0: 94.55, 1: 2.83, 2: 2.62}, 0)},
    ),
    "remote_sensing/roads": (
        ["--dense"],
        {"training": (60, {0: 81.00, 1: 19.00}, 0), "validation": (10, {0: 80.00, 1: 20.00}, 0)},
    ),
    "remote_sensing/dubai": (
        ["--dense"],
        {
            "training": (45, {0: 13.15, 1: 59.13, 2: 9.34, 3: 11.88, 4: 6.21, None: 0.29}, 0),
            "validation": (9, {0: 39.76, 1: 24.96, 2: 0.77, 3: 1.79, 4: 32.42, None: 0.31}, 0),
        },
    ),
    "camvid": (
        ["--dense"],
        {
            "training": (367, {0: 16.84, 1: 23.26, 3: 31.66, 5: 9.72, 10: 0.29, None: 3.95}, 0),
            "validation": (101, {0: 9.18, 1: 25.96, 3: 28.95, 5: 16.34, 10: 2.22, None: 1.70}, 0),
        },
    ),
}
BANDS = ("remote_sensing/water12", "remote_sensing/enmap_potsdam", "remote_sensing/landsat7_sparse")
LARGE = ("hippocampus", "remote_sensing/roads", "remote_sensing/dubai", "camvid")


def check(path, report, *options):
    if not path.exists():
        pytest.skip(f"needs the real data {path}")
    code = main(["check", str(path), "--json", str(report), *options])
    return code, json.loads(report.read_text())


@pytest.mark.parametrize("name", [pytest.param(n, marks=pytest.mark.longest if n in LARGE else ()) for n in README])
def test_numbers_are_those_of_the_description(shared_data, tmp_path, capsys, name):
    options, sections = README[name]
    code, report = check(shared_data / name / "dataset.json", tmp_path / "report.json", *options)
    assert code == 0 and report["errors"] == []
    assert set(report["sections"]) == set(sections)
    assert (report["plan"] is None) == (name in BANDS)  # their bundle has settings of its own
    single_pixels = "pixels.json on top is for images of 224 bands and 32 × 32 pixels" in capsys.readouterr().out
    assert single_pixels == (name == "remote_sensing/enmap_potsdam")
    for section, (items, shares, contradictions) in sections.items():
        found = report["sections"][section]
        voxels = list(found["voxels"].values())  # in the order of classes, then unlabelled and void
        assert found["items"] == items
        for value, share in shares.items():
            k = len(voxels) - 2 if value is None else value
            assert 100 * voxels[k] / sum(voxels) == pytest.approx(share, abs=0.01)  # descriptions round to 0.01
        if contradictions is not None:
            assert found["contradictions"] == contradictions


def test_acdc_coverage_of_each_class(shared_data, tmp_path):
    _, report = check(shared_data / "acdc_mini" / "dataset.json", tmp_path / "report.json")
    training = report["sections"]["training"]
    seeds, dense = (list(training[kind].values())[:4] for kind in ("voxels", "mask_voxels"))
    assert [100 * s / d for s, d in zip(seeds, dense)] == pytest.approx([0.6, 11.9, 14.8, 12.1], abs=0.051)
    assert [100 * d / sum(dense) for d in dense] == pytest.approx([97.09, 1.05, 1.06, 0.80], abs=0.0051)
    assert report["plan"]["settings"]["spatial_dims"] == 2


def part(shared_data, tmp_path, name, keep, **changes):
    """A list of some items of a data set, in a folder of its own."""
    source = shared_data / name / "dataset.json"
    if not source.exists():
        pytest.skip(f"needs the real data {source}")
    content = json.loads(source.read_text())
    items = [item for section in ("training", "validation") for item in content[section] if keep(item)]
    for item in items:
        for key, value in item.items():
            if isinstance(value, str) and (source.parent / value).is_file():
                item[key] = str(source.parent / value)
    facts = {key: value for key, value in content.items() if not isinstance(value, list)}
    facts = {key: value for key, value in facts.items() if key not in ("numTraining", "numValidation")}
    (tmp_path / "list.json").write_text(json.dumps(facts | {"training": items} | changes))
    return tmp_path / "list.json"


def test_acdcs_repeated_subject_is_found_although_its_files_differ(shared_data, tmp_path):
    twins = ("patient074_frame01", "patient076_frame01")
    path = part(shared_data, tmp_path, "acdc", lambda item: item["id"] in twins)
    code, report = check(path, tmp_path / "report.json", "--allow-outside")
    assert code == 0 and "got the same voxels in" in report["warnings"][0]


def test_landsats_other_convention(shared_data, tmp_path):
    options = ["--allow-outside", "--annotation-key", "label_zero_is_unlabelled"]
    classes = part(shared_data, tmp_path, "remote_sensing/landsat7_sparse", lambda item: True)
    code, report = check(classes, tmp_path / "report.json", *options)  # by the list: 0..4, and 5 is none of them
    assert code == 1 and "got 5 (68 voxels) in" in report["errors"][0]
    code, report = check(classes, tmp_path / "report.json", *options, "--num-classes", "6")
    assert code == 1 and "0 is probably the value of unlabelled voxels" in report["errors"][0]
    code, report = check(classes, tmp_path / "report.json", *options, "--schema", "zero_is_unlabeled")
    assert code == 0
    assert list(report["sections"]["training"]["voxels"].values()) == [383, 16, 145, 106, 68, 61782, 0]


def test_the_mscmr_pair_is_refused_for_its_affines(shared_data, tmp_path):
    folder = shared_data / "odd_files" / "nifti"
    pair = {"image": "mscmr_subject43_DE_slices6-8.nii.gz", "label": "mscmr_subject43_DE_manual_slices6-8.nii.gz"}
    content = {"num_classes": 4, "training": [{key: str(folder / name) for key, name in pair.items()}]}
    (tmp_path / "list.json").write_text(json.dumps(content))
    code, report = check(tmp_path / "list.json", tmp_path / "report.json", "--allow-outside", "--dense")
    assert code == 1 and len(report["errors"]) == 1 and "expected the affine of the image" in report["errors"][0]
