# SPDX-License-Identifier: Apache-2.0
"""Data lists: every kind of bad input is refused, all of it in one message; good ones are summarised."""

from __future__ import annotations

import json
import warnings
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from monai.bundle import ConfigParser

from medwsss.keys import UNLABELED, VOID
from medwsss.study.datalist import (
    check_datalist,
    check_splits,
    load_datalist,
    patient_of,
    read_class_names,
    read_schema,
)
from medwsss.transforms import LabelSchema, MapWeakLabels

DATA = Path(__file__).parents[3] / "shared" / "data"
AFFINE = np.diag([1.5, 1.5, 10.0, 1.0])
LABELS = MapWeakLabels(num_classes=2, ignore_values=4, void_values=9)


def real(path):
    if not (DATA / path).exists():
        pytest.skip(f"needs the real data {path}, which are not on this machine")
    return DATA / path


def scribble(shape=(4, 5, 3), fill=4):
    """Two voxels of each class on a map of ``fill``."""
    label = np.full(shape, fill, np.uint8)
    label.flat[:4] = [0, 0, 1, 1]
    return label


class Study:
    """A folder with a data list of two good cases, to be spoiled."""

    def __init__(self, folder):
        self.folder = folder
        self.items = []
        for i in range(2):
            self.write(f"image{i}.nii.gz", np.arange(60.0).reshape(4, 5, 3) + i)
            self.write(f"scribble{i}.nii.gz", scribble())
            self.items.append({"image": f"image{i}.nii.gz", "scribble": f"scribble{i}.nii.gz", "id": i})

    def write(self, name, array, affine=AFFINE):
        nib.save(
            nib.Nifti1Image(array.astype(np.float32 if array.dtype.kind == "f" else np.int16), affine),
            self.folder / name,
        )

    def load(self, **kwargs):
        (self.folder / "list.json").write_text(json.dumps({"training": self.items}))
        return load_datalist(self.folder / "list.json", **kwargs)


@pytest.fixture
def study(tmp_path):
    (tmp_path / "study").mkdir()
    return Study(tmp_path / "study")


def test_load_resolves_and_renames(study):
    study.items[1]["image"] = ["image0.nii.gz", "image1.nii.gz"]  # the channels of one image
    items = study.load(keys={"image": "image", "label": "scribble"})
    assert items == [
        {"image": str(study.folder / "image0.nii.gz"), "label": str(study.folder / "scribble0.nii.gz")},
        {
            "image": [str(study.folder / "image0.nii.gz"), str(study.folder / "image1.nii.gz")],
            "label": str(study.folder / "scribble1.nii.gz"),
        },
    ]


def test_load_is_relative_to_the_list_and_not_to_the_working_folder(study, monkeypatch):
    study.load()
    monkeypatch.chdir(study.folder.parent)
    assert load_datalist("study/list.json")[0]["image"] == str(study.folder / "image0.nii.gz")


def test_text_with_a_dollar_is_text_also_in_a_bundle(study):
    name = "$__import__('os').getcwd()"
    study.write(f"{name}.nii.gz", scribble())
    study.items[0]["scribble"] = f"{name}.nii.gz"
    study.load()
    config = {"_target_": "medwsss.study.datalist.load_datalist", "path": str(study.folder / "list.json")}
    parser = ConfigParser({"items": config, "again": "@items"})
    assert parser.get_parsed_content("again")[0]["scribble"] == str(study.folder / f"{name}.nii.gz")


@pytest.mark.parametrize(
    "spoil, told",
    [
        ({"scribble": "gone.nii.gz"}, ["training[1]['scribble']", "existing file", "gone.nii.gz"]),
        ({"scribble": None}, ["training[1]['scribble']", "got None"]),
        ({"image": ["image0.nii.gz", 3]}, ["training[1]['image']", "expected a file name"]),
        ({"image": []}, ["training[1]['image']", "expected a file name"]),
        ({"image": ""}, ["training[1]['image']", "expected a file name"]),
        ({"image": "../outside.nii.gz"}, ["training[1]['image']", "in the folder of the list"]),
        ({"image": "link.nii.gz"}, ["training[1]['image']", "in the folder of the list"]),
        ({"image": "{outside}"}, ["training[1]['image']", "in the folder of the list"]),
    ],
)
def test_load_refuses(study, spoil, told):
    study.folder = study.folder.parent
    study.write("outside.nii.gz", scribble())
    study.folder = study.folder / "study"
    outside = study.folder.parent / "outside.nii.gz"
    (study.folder / "link.nii.gz").symlink_to(outside)
    study.items[1].update(
        {k: v.replace("{outside}", str(outside)) if isinstance(v, str) else v for k, v in spoil.items()}
    )
    with pytest.raises(ValueError, match="got 1 problems") as error:
        study.load()
    assert all(text in str(error.value) for text in [*told, str(study.folder / "list.json")])
    if "in the folder of the list" in told:
        assert study.load(allow_outside=True)


def test_load_lists_every_problem_at_once(study):
    study.items[0].pop("scribble")
    study.items[1]["image"] = "gone.nii.gz"
    with pytest.raises(ValueError, match=r"(?s)got 2 problems.*training\[0\]\['scribble'\].*training\[1\]\['image'\]"):
        study.load()


@pytest.mark.parametrize("text", ['{"training": []}', '{"validation": [{}]}', '{"training": {}}', "[]", "{", None])
def test_load_refuses_lists_without_items(tmp_path, text):
    if text is not None:
        (tmp_path / "list.json").write_text(text)
    with pytest.raises(ValueError, match="list.json"):
        load_datalist(tmp_path / "list.json")


def shifted(mm):
    affine = AFFINE.copy()
    affine[0, 3] += mm
    return affine


BAD = {
    "corrupt NIfTI": (lambda s: (s.folder / "image1.nii.gz").write_bytes(b"not gzip"), "readable image.*image1"),
    "truncated NIfTI": (
        lambda s: (s.folder / "image1.nii.gz").write_bytes((s.folder / "image1.nii.gz").read_bytes()[:150]),
        "readable image.*image1",
    ),
    "corrupt label": (lambda s: (s.folder / "scribble1.nii.gz").write_bytes(b""), "readable image.*scribble1"),
    "other shape": (
        lambda s: s.write("scribble1.nii.gz", scribble((5, 4, 3))),
        r"shape \(4, 5, 3\).*\(5, 4, 3\).*scribble1",
    ),
    "other affine": (lambda s: s.write("scribble1.nii.gz", scribble(), shifted(0.3)), "affine.*0.3 mm.*scribble1"),
    "other spacing": (lambda s: s.write("scribble1.nii.gz", scribble(), np.eye(4)), "affine.*scribble1"),
    "NaN": (
        lambda s: s.write("image1.nii.gz", np.where(np.arange(60) == 7, np.nan, 0.0).reshape(4, 5, 3)),
        "1 NaN.*image1",
    ),
    "infinity": (lambda s: s.write("image1.nii.gz", np.full((4, 5, 3), -np.inf)), "60 NaN or infinite.*image1"),
    "undeclared label": (lambda s: s.write("scribble1.nii.gz", scribble(fill=7)), r"got 7 \(56 voxels\).*scribble1"),
    "fractional label": (lambda s: s.write("scribble1.nii.gz", scribble() + 0.5), r"got 0.5 \(2 voxels\).*scribble1"),
    "another number of channels": (
        lambda s: s.write("image1.nii.gz", np.zeros((4, 5, 3, 2))),
        "1 channels and 3 axes.*got 2 and 3 in .*image1",
    ),
    "label with channels": (lambda s: s.write("scribble1.nii.gz", scribble((4, 5, 3, 2))), "one channel.*scribble1"),
    "another number of axes": (lambda s: s.write("image1.nii.gz", np.zeros((4, 5))), "got 1 and 2 in .*image1"),
}


@pytest.mark.parametrize("spoil, told", BAD.values(), ids=BAD)
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_check_refuses(study, spoil, told):
    items = study.load()
    check_datalist(items, LABELS)
    spoil(study)
    with pytest.raises(ValueError, match=told):
        check_datalist(items, LABELS)


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_check_lists_every_problem_at_once(study):
    items = study.load()
    BAD["NaN"][0](study)
    BAD["undeclared label"][0](study)
    study.write("scribble0.nii.gz", scribble(), shifted(5))
    with pytest.raises(ValueError, match="got 3 problems") as error:
        check_datalist(items, LABELS)
    assert len(str(error.value).splitlines()) == 4


def test_check_refuses_num_classes_too_small(study):
    with pytest.raises(ValueError, match=r"got 1 \(2 voxels\) in .*scribble0(.|\n)*got 1 \(2 voxels\) in .*scribble1"):
        check_datalist(study.load(), MapWeakLabels(num_classes=1, ignore_values=4))


def test_check_refuses_an_empty_list():
    with pytest.raises(ValueError, match="at least one item"):
        check_datalist([], LABELS)


def test_affines_may_be_rounded(study):
    study.write("scribble1.nii.gz", scribble(), shifted(0.01))
    check_datalist(study.load(), LABELS)


def test_check_warns(study):
    study.write("scribble0.nii.gz", np.full((4, 5, 3), 4))
    with pytest.warns(UserWarning, match="got none: .*scribble0.nii.gz"):
        check_datalist(study.load(), LABELS)
    study.write("scribble0.nii.gz", scribble(fill=1))
    with pytest.warns(UserWarning, match=r"of classes \[2\]"):
        check_datalist(study.load(), MapWeakLabels(num_classes=3, ignore_values=4), dense=True)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_datalist(study.load(), LABELS, dense=True)


def test_dense_masks_are_no_scribbles(study):
    mask = scribble(fill=1)
    mask[2:] = 0
    study.write("scribble0.nii.gz", mask)
    with pytest.raises(ValueError, match="got 100% labelled voxels in .*scribble0.nii.gz; if it is a dense mask"):
        check_datalist(study.load(), LABELS)
    assert check_datalist(study.load(), LABELS, dense=True).items == 2


@pytest.mark.parametrize(
    "labels, values, told",
    [
        (MapWeakLabels(num_classes=3, ignore_values=3), (0, 1, 2), "0 is probably the value of unlabelled voxels"),
        # the other way round: read as inverted (3 is background), written as usual (3 is unlabelled)
        (
            MapWeakLabels(num_classes=3, ignore_values=0, mapping={1: 1, 2: 2, 3: 0}),
            (3, 1, 2),
            "3 is probably the value of unlabelled voxels",
        ),
    ],
)
def test_an_inverted_ignore_value_is_noticed(study, labels, values, told):
    label = np.full((4, 5, 3), values[0])
    label.flat[:2] = values[1:]
    study.write("scribble0.nii.gz", label)
    with pytest.raises(ValueError, match=f"scribble0.nii.gz: {told}"):
        check_datalist(study.load()[:1], labels)


def test_voids_do_not_count_as_unlabelled(study):
    label = scribble(fill=9)
    label.flat[4:8] = 4  # 4 of 8 voxels that exist are labelled: just a scribble
    study.write("scribble0.nii.gz", label)
    assert int(check_datalist(study.load(), LABELS).voxels[VOID]) == 52
    label.flat[7] = 9  # 4 of 7
    study.write("scribble0.nii.gz", label)
    with pytest.raises(ValueError, match="got 57% labelled"):
        check_datalist(study.load(), LABELS)


def test_summary(study):
    study.write("image1.nii.gz", np.full((2, 6, 3), -7.0), np.diag([2.0, 1.0, 10.0, 1.0]))
    study.write("scribble1.nii.gz", scribble((2, 6, 3)), np.diag([2.0, 1.0, 10.0, 1.0]))
    summary = check_datalist(study.load(), LABELS)
    assert summary.items == 2
    assert summary.voxels[[0, 1, UNLABELED, VOID]].tolist() == [4, 4, 56 + 32, 0]
    assert int(summary.voxels.sum()) == 60 + 36
    assert summary.shape == ((2, 5, 3), (4, 6, 3))
    assert summary.spacing == ((1.5, 1.0, 10.0), (2.0, 1.5, 10.0))
    assert summary.typical_spacing == pytest.approx([3**0.5, 1.5**0.5, 10])
    assert summary.intensity == ((-7.0,), (59.0,))
    table = str(summary)
    assert "2 items" in table and "2 x 5 x 3 .. 4 x 6 x 3" in table and "4.167%" in table


def test_2d_images(tmp_path):
    image_io = pytest.importorskip("PIL.Image")
    image_io.fromarray(np.zeros((4, 6, 3), np.uint8)).save(tmp_path / "image.png")
    image_io.fromarray(scribble((4, 6))).save(tmp_path / "label.png")
    (tmp_path / "list.json").write_text(json.dumps({"training": [{"image": "image.png", "scribble": "label.png"}]}))
    summary = check_datalist(load_datalist(tmp_path / "list.json"), LABELS)
    assert summary.shape == ((6, 4), (6, 4)) and summary.intensity == ((0.0,) * 3, (0.0,) * 3)
    assert summary.voxels[[0, 1, UNLABELED]].tolist() == [2, 2, 20]


def test_acdc_mini():
    path = real("acdc_mini/dataset.json")
    labels = MapWeakLabels(num_classes=4, ignore_values=4)
    training = load_datalist(path)
    summary = check_datalist(training, labels)
    files = [np.asarray(nib.load(item["scribble"]).dataobj) for item in training]  # counted without MONAI
    counts = np.bincount(np.concatenate([f.ravel() for f in files]), minlength=5)
    assert summary.items == 12 and summary.voxels[[0, 1, 2, 3, UNLABELED]].tolist() == counts.tolist()
    validation = load_datalist(path, "validation", {"image": "image", "label": "label"})
    check_datalist(validation, MapWeakLabels(num_classes=4), label_key="label", dense=True)
    with pytest.raises(ValueError, match=r"got 4 \(\d+ voxels\)"):
        check_datalist(training[:1], MapWeakLabels(num_classes=4))
    with pytest.raises(ValueError, match=r"got 3 \(\d+ voxels\)"):
        check_datalist(training[:1], MapWeakLabels(num_classes=3, ignore_values=4))
    with pytest.raises(ValueError, match="a dense mask"):
        check_datalist(
            load_datalist(path, keys={"image": "image", "scribble": "mask"})[:1], MapWeakLabels(num_classes=4)
        )


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize(
    "image, label, told",
    [
        ("mscmr_subject43_DE_slices6-8.nii.gz", "mscmr_subject43_DE_manual_slices6-8.nii.gz", "expected the affine"),
        ("example4d.nii.gz", "anatomical_label.nii.gz", "expected the shape"),
        ("anatomical.nii", "anatomical_label.nii.gz", None),  # big-endian, negative values, label with a qform only
        ("example_ct_sm.nii.gz", "example_ct_sm_T300_output.nii.gz", None),
    ],
)
def test_odd_nifti_files(image, label, told):
    folder = real("odd_files/nifti")
    items = [{"image": str(folder / image), "scribble": str(folder / label)}]
    labels = MapWeakLabels(num_classes=4, mapping={0: 0, 1: 1, 2: 2, 3: 3, 200: 2, 255: 1})
    if told is None:
        check_datalist(items, labels, dense=True)
    else:
        with pytest.raises(ValueError, match=told):
            check_datalist(items, labels)


@pytest.mark.filterwarnings("ignore:expected seeds of every class")
def test_voc_scribblesup():
    path = real("odd_files/voc_scribblesup/dataset.json")
    items = load_datalist(path, keys={"image": "image", "scribble": "label"})
    summary = check_datalist(items, MapWeakLabels(num_classes=21, ignore_values=255))
    share = 1 - int(summary.voxels[UNLABELED]) / int(summary.voxels.sum())
    assert share == pytest.approx(0.0315, abs=0.003)  # the data's description: 3.4 % and 2.9 %
    with pytest.raises(ValueError, match="got 255"):
        check_datalist(items, MapWeakLabels(num_classes=21, ignore_values=21))


def written(folder, content):
    (folder / "list.json").write_text(json.dumps(content))
    return folder / "list.json"


@pytest.mark.parametrize(
    "content, declared, table",
    [
        ({"labels": {"0": "background", "1": "organ"}}, {}, {0: 0, 1: 1}),
        ({"labels": {"background": 0, "organ": 1, "ignore": 2}}, {}, {0: 0, 1: 1, 2: UNLABELED}),  # nnU-Net v2
        (
            {"num_classes": 2, "ignore_value": 7, "void_values": [8, 9]},
            {},
            {0: 0, 1: 1, 7: UNLABELED, 8: VOID, 9: VOID},
        ),
        ({"num_classes": 2, "scribble_ignore_value": 4}, {}, {0: 0, 1: 1, 4: UNLABELED}),
        (
            {"labels": {"0": "sky", "1": "road", "11": "void (ignore)"}, "ignore_value": 11},
            {},
            {0: 0, 1: 1, 11: UNLABELED},
        ),
        ({"labels": {"0": "background", "1": "a", "2": "b"}, "schema": "acdc"}, {}, {0: 0, 1: 1, 2: 2, 3: UNLABELED}),
        ({"schema": "acdc"}, {}, {0: 0, 1: 1, 2: 2, 3: 3, 4: UNLABELED}),
        (
            {"schema": {"num_classes": 2, "mapping": {"1": 0, "2": 1}, "ignore_values": 0}},
            {},
            {1: 0, 2: 1, 0: UNLABELED},
        ),
        ({"num_classes": 2}, {"schema": "scribblebench_inverted"}, {1: 1, 2: 0, 0: UNLABELED}),
        ({"num_classes": 9}, {"schema": "nnunet", "num_classes": 1}, {0: 0, 1: UNLABELED, -1: VOID}),
        ({"num_classes": 2, "ignore_value": 7}, {"ignore_values": [5]}, {0: 0, 1: 1, 5: UNLABELED}),
        ({}, {"num_classes": 1, "void_values": 3}, {0: 0, 3: VOID}),
    ],
)
def test_schema_of_a_list(tmp_path, content, declared, table):
    assert read_schema(written(tmp_path, content), **declared).table() == table


@pytest.mark.parametrize(
    "content, told",
    [
        ({}, "expected num_classes or labels"),
        ({"labels": {"background": 0, "tumour": [1, 2]}}, r"'tumour': \[1, 2\]"),  # nnU-Net's regions
        ({"schema": "acdk"}, "got 'acdk'"),
        ({"schema": "nnunet"}, "expected what the schema 'nnunet' needs, got .*num_classes"),
        ({"schema": ["acdc"]}, r"got \['acdc'\]"),
        ({"schema": {"classes": 3}}, "expected a name or the arguments of LabelSchema as schema"),
        ({"num_classes": 5, "ignore_value": 4}, "expected value 4 to mean one thing"),
    ],
)
def test_schema_of_a_list_refuses(tmp_path, content, told):
    with pytest.raises(ValueError, match=told):
        read_schema(written(tmp_path, content))


@pytest.mark.parametrize("labels", [{"0": "background", "1": "organ"}, {"background": 0, "organ": 1}])
def test_class_names_either_way_round(tmp_path, labels):
    assert read_class_names(written(tmp_path, {"labels": labels}), 3) == ["background", "organ", "class 2"]


def test_a_schema_is_complete():
    assert MapWeakLabels.of(LabelSchema(2, 4, 9)).table == LABELS.table


@pytest.mark.parametrize(
    "item, patient",
    [
        ({"patient": 7, "image": "a1.png"}, ("7", True)),
        ({"image": "images/patient022_frame01.nii.gz"}, ("patient022", False)),
        ({"image": ["sub-07_T1w.nii", "sub-07_T2w.nii"]}, ("sub-07", False)),
        ({"image": "photo.png"}, ("photo.png", False)),
    ],
)
def test_whom_an_item_shows(item, patient):
    assert patient_of(item) == patient


def test_splits_are_apart(tmp_path):
    training = [{"image": "a1_x.png", "patient": "one"}, {"image": "a2_x.png", "patient": "two"}]
    apart = [{"image": "b1.png", "patient": "three"}]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_splits(written(tmp_path, {"training": training, "validation": apart}))
        check_splits(written(tmp_path, {"training": training}))
    both = [{"image": "b1.png", "patient": "two"}, {"image": "a1_x.png", "patient": "four"}]
    with pytest.raises(ValueError, match="(?s)got 2 problems.*every patient.* two in .*every image.* a1_x.png in "):
        check_splits(written(tmp_path, {"training": training, "validation": both}))
    with pytest.warns(UserWarning, match="expected every patient in one section, got a2 in training and in validation"):
        check_splits(
            written(
                tmp_path, {"training": training[:1] + [{"image": "a2_x.png"}], "validation": [{"image": "a2_y.png"}]}
            )
        )
