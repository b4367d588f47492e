# SPDX-License-Identifier: Apache-2.0
"""The check of a study: every kind of bad input is refused, all of it in one message; good ones are summarised."""

from __future__ import annotations

import json
import warnings

import nibabel as nib
import numpy as np
import pytest

from medwsss.keys import UNLABELED, VOID
from medwsss.study import MapWeakLabels, check_study, examine
from tests.study.study_folder import AFFINE, LABELS, StudyFolder, scribble, three_patients, two_scribbles

DENSE = {"annotation_key": "scribble", "dense": True}  # what trains is under this key, and labels every voxel


def real(path):
    if not path.exists():
        pytest.skip(f"needs the real data {path}, which are not on this machine")
    return path


@pytest.fixture
def study(tmp_path):
    return two_scribbles(tmp_path)


@pytest.fixture
def patients(tmp_path):
    return three_patients(tmp_path)


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
    "other affine": (
        lambda s: s.write("scribble1.nii.gz", scribble(), shifted(0.3)),
        "affine.*0.[23] (mm|voxels).*scribble1",
    ),
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
    study.check()
    spoil(study)
    with pytest.raises(ValueError, match=told):
        study.check()


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_check_lists_every_problem_at_once(study):
    BAD["NaN"][0](study)
    BAD["undeclared label"][0](study)
    study.write("scribble0.nii.gz", scribble(), shifted(5))
    with pytest.raises(ValueError, match="got 3 problems") as error:
        study.check()
    assert len(str(error.value).splitlines()) == 4


def test_check_refuses_num_classes_too_small(study):
    with pytest.raises(ValueError, match=r"got 1 \(2 voxels\) in .*scribble0(.|\n)*got 1 \(2 voxels\) in .*scribble1"):
        study.check(MapWeakLabels(num_classes=1, ignore_values=4))


@pytest.mark.parametrize("sections", [None, ("training",), ("test",)])
def test_check_refuses_an_empty_list(study, sections):
    study.content["training"] = []
    with pytest.raises(ValueError, match="at least one item, got none in .*list.json"):
        study.check(sections=sections)


def test_affines_may_be_rounded(study):
    study.write("scribble1.nii.gz", scribble(), shifted(0.01))
    study.check()


def test_check_warns(study):
    study.write("scribble0.nii.gz", np.full((4, 5, 3), 4))
    with pytest.warns(UserWarning, match="got none: .*scribble0.nii.gz"):
        study.check()
    study.write("scribble0.nii.gz", scribble(fill=1))
    with pytest.warns(UserWarning, match=r"of classes \[2\]"):
        study.check(MapWeakLabels(num_classes=3, ignore_values=4), **DENSE)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        study.check(**DENSE)


def test_dense_masks_are_no_scribbles(study):
    mask = scribble(fill=1)
    mask[2:] = 0
    study.write("scribble0.nii.gz", mask)
    with pytest.raises(ValueError, match="got 100% labelled voxels in .*scribble0.nii.gz; if it is a dense mask"):
        study.check()
    assert study.check(**DENSE).sections["training"].items == 2


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
    del study.content["training"][1]
    with pytest.raises(ValueError, match=f"scribble0.nii.gz: {told}"):
        study.check(labels)


def test_voids_do_not_count_as_unlabelled(study):
    label = scribble(fill=9)
    label.flat[4:8] = 4  # 4 of 8 voxels that exist are labelled: just a scribble
    study.write("scribble0.nii.gz", label)
    assert int(study.check().sections["training"].voxels[VOID]) == 52
    label.flat[7] = 9  # 4 of 7
    study.write("scribble0.nii.gz", label)
    with pytest.raises(ValueError, match="got 57% labelled"):
        study.check()


def test_summary(study):
    study.write("image1.nii.gz", np.full((2, 6, 3), -7.0), np.diag([2.0, 1.0, 10.0, 1.0]))
    study.write("scribble1.nii.gz", scribble((2, 6, 3)), np.diag([2.0, 1.0, 10.0, 1.0]))
    summary = study.check().sections["training"]
    assert summary.items == 2
    assert summary.voxels[[0, 1, UNLABELED, VOID]].tolist() == [4, 4, 56 + 32, 0]
    assert int(summary.voxels.sum()) == 60 + 36
    assert summary.shape == ((2, 5, 3), (4, 6, 3))
    assert summary.spacing == ((1.5, 1.0, 10.0), (2.0, 1.5, 10.0))
    assert summary.typical_spacing == pytest.approx([3**0.5, 1.5**0.5, 10])
    assert summary.intensity == ((-7.0,), (59.0,))
    table = str(summary)
    assert "2 items" in table and "2 x 5 x 3 .. 4 x 6 x 3" in table and "4.167%" in table


def turned(study, index, axes):
    """One case with its axes in another order in the file, its header right."""
    for name in f"image{index}.nii.gz", f"scribble{index}.nii.gz":
        image = nib.load(study.folder / name)
        study.write(name, np.asarray(image.dataobj).transpose(axes), image.affine[:, [*axes, 3]])


def test_the_thick_axis_is_the_last_of_the_summary(study):
    turned(study, 1, (2, 0, 1))
    summary = study.check().sections["training"]
    assert summary.spacing == ((1.5, 1.5, 10.0),) * 2 and summary.typical_spacing == pytest.approx([1.5, 1.5, 10])
    assert summary.shape == ((4, 5, 3),) * 2
    assert "image1.nii.gz: thick axis 0, brought last in training" in str(summary)


def test_other_orders_of_axes_are_warned_of(study):
    isotropic = np.eye(4)
    for i in range(2):
        study.write(f"image{i}.nii.gz", np.arange(60.0).reshape(4, 5, 3) + i, isotropic)
        study.write(f"scribble{i}.nii.gz", scribble(), isotropic)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        study.check()
    turned(study, 1, (2, 0, 1))
    with pytest.warns(UserWarning, match="one anatomical order, got left-right x .*image0.* and head-foot x .*image1"):
        study.check()


def test_values_that_are_no_class_numbers_are_announced(study):
    labels = MapWeakLabels(num_classes=2, mapping={0: 0, 1: 1}, ignore_values=4)
    assert "in brackets" not in str(study.check(labels).sections["training"])
    labels = MapWeakLabels(num_classes=2, mapping={0: 1, 1: 0}, ignore_values=4)
    assert "0 (1), 1 (0), in brackets as the files have them" in str(study.check(labels).sections["training"])


def test_a_single_class_is_refused(study):
    for i in range(2):
        study.write(f"scribble{i}.nii.gz", np.where(scribble() == 1, 4, scribble()))
    with pytest.raises(ValueError, match="at least two classes, got one.*list.json"):
        study.check(MapWeakLabels(num_classes=1, ignore_values=4))


def test_images_of_one_value_are_no_copies(patients):
    """Black crops are alike; the section validation may have some, too."""
    for i in range(3):
        patients.write(f"image{i}.nii.gz", np.zeros((6, 5, 4)))
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        patients.check()
    assert told and not [each for each in told if "the same voxels" in str(each.message)]


@pytest.mark.parametrize(
    "value, told", [(4, r"with labels, got none \(all unlabelled or void\)"), (0, "nothing but class 0")]
)
def test_empty_masks(patients, value, told):
    patients.write("mask2.nii.gz", np.full((6, 5, 4), value))
    with pytest.warns(UserWarning, match=f"{told}.* in .*mask2"):
        patients.check()


def test_2d_images(tmp_path):
    image_io = pytest.importorskip("PIL.Image")
    image_io.fromarray(np.zeros((4, 6, 3), np.uint8)).save(tmp_path / "image.png")
    image_io.fromarray(scribble((4, 6))).save(tmp_path / "label.png")
    (tmp_path / "list.json").write_text(json.dumps({"training": [{"image": "image.png", "scribble": "label.png"}]}))
    summary = check_study(tmp_path / "list.json", LABELS).accepted().sections["training"]
    assert summary.shape == ((6, 4), (6, 4)) and summary.intensity == ((0.0,) * 3, (0.0,) * 3)
    assert summary.voxels[[0, 1, UNLABELED]].tolist() == [2, 2, 20]


def relisted(folder, path, keys=(("image", "image"), ("scribble", "scribble")), section="training", items=None):
    """Some items of a list, with other keys, as the training section of a list of its own."""
    chosen = json.loads(path.read_text())[section][:items]
    absolute = [{key: str(path.parent / item[source]) for key, source in keys} for item in chosen]
    study = StudyFolder(folder)
    study.content["training"] = absolute
    return study


def test_acdc_mini(shared_data, tmp_path):
    path = real(shared_data / "acdc_mini/dataset.json")
    labels = MapWeakLabels(num_classes=4, ignore_values=4)
    summary = check_study(path, labels, ("training",)).accepted().sections["training"]
    training = json.loads(path.read_text())["training"]
    files = [np.asarray(nib.load(path.parent / item["scribble"]).dataobj) for item in training]  # without MONAI
    counts = np.bincount(np.concatenate([f.ravel() for f in files]), minlength=5)
    assert summary.items == 12 and summary.voxels[[0, 1, 2, 3, UNLABELED]].tolist() == counts.tolist()

    mask = (("image", "image"), ("label", "label"))
    relisted(tmp_path, path, mask, "validation").check(MapWeakLabels(num_classes=4), dense=True, allow_outside=True)
    first = relisted(tmp_path, path, items=1)
    with pytest.raises(ValueError, match=r"got 4 \(\d+ voxels\)"):
        first.check(MapWeakLabels(num_classes=4), allow_outside=True)
    with pytest.raises(ValueError, match=r"got 3 \(\d+ voxels\)"):
        first.check(MapWeakLabels(num_classes=3, ignore_values=4), allow_outside=True)
    dense = relisted(tmp_path, path, (("image", "image"), ("scribble", "mask")), items=1)
    with pytest.raises(ValueError, match="a dense mask"):
        dense.check(MapWeakLabels(num_classes=4), allow_outside=True)


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
def test_odd_nifti_files(shared_data, tmp_path, image, label, told):
    folder = real(shared_data / "odd_files/nifti")
    study = StudyFolder(tmp_path)
    study.content["training"] = [{"image": str(folder / image), "scribble": str(folder / label)}]
    labels = MapWeakLabels(num_classes=4, mapping={0: 0, 1: 1, 2: 2, 3: 3, 200: 2, 255: 1})
    if told is None:
        study.check(labels, **DENSE, allow_outside=True)
    else:
        with pytest.raises(ValueError, match=told):
            study.check(labels, allow_outside=True)


@pytest.mark.filterwarnings("ignore:expected seeds of every class")
def test_voc_scribblesup(shared_data, tmp_path):
    path = real(shared_data / "odd_files/voc_scribblesup/dataset.json")
    study = relisted(tmp_path, path, (("image", "image"), ("scribble", "label")))
    report = study.check(MapWeakLabels(num_classes=21, ignore_values=255), allow_outside=True)
    voxels = report.sections["training"].voxels
    share = 1 - int(voxels[UNLABELED]) / int(voxels.sum())
    assert share == pytest.approx(0.0315, abs=0.003)  # the data's description: 3.4 % and 2.9 %
    with pytest.raises(ValueError, match="got 255"):
        study.check(MapWeakLabels(num_classes=21, ignore_values=21), allow_outside=True)


# ---- what is opened, and what is compared


def test_the_key_one_asks_for_is_needed(patients):
    del patients.content["training"][1]["scribble"]
    with pytest.raises(ValueError, match=r"training\[1\]\['scribble'\]: expected a file name, got None"):
        patients.check(annotation_key="scribble")
    with pytest.raises(ValueError, match=r"training\[0\]\['block'\](.|\n)*training\[1\]\['block'\]"):
        patients.check(annotation_key="block", dense=True)


def test_scribbles_are_needed_of_all_where_one_has_them(patients):
    del patients.content["training"][1]["scribble"]
    with pytest.raises(ValueError, match=r"training\[1\]\['scribble'\]: expected a file name, got None"):
        patients.check()
    for item in patients.content["training"]:
        item.pop("scribble", None)
    assert patients.check(dense=True).sections["training"].items == len(patients.content["training"])


def test_only_the_sections_asked_for_are_opened(patients):
    (patients.folder / "image2.nii.gz").write_bytes(b"")
    assert patients.check(sections=("training",)).sections.keys() == {"training"}
    with pytest.raises(ValueError, match="got 1 problems(.|\n)*image2.nii.gz"):
        patients.check(sections=("validation",))


def test_names_are_compared_over_all_sections(patients):
    patients.content["test"] = [{"image": "image0.nii.gz", "patient": "p9"}]
    with pytest.raises(ValueError, match="every image in one section, got image0.nii.gz in training and in test"):
        patients.check(sections=("validation",))


def test_where_dense_masks_train_scribbles_are_left_alone(patients):
    (patients.folder / "scribble0.nii.gz").write_bytes(b"")
    summary = patients.check(annotation_key="label", dense=True, sections=("training",)).sections["training"]
    assert summary.voxels[[0, 1]].tolist() == [208, 32]
    with pytest.raises(ValueError, match="scribble0.nii.gz"):
        patients.check()


def test_validation_is_by_the_label(patients):
    """Whatever else an item has: the bundles read no other key there."""
    patients.content["validation"][0]["mask"] = "mask0.nii.gz"
    patients.check()
    patients.write("mask2.nii.gz", np.full((6, 5, 4), 7))
    with pytest.raises(ValueError, match=r"got 7 \(120 voxels\) in .*mask2.nii.gz"):
        patients.check()


def test_a_report_is_accepted_as_it_is(patients):
    patients.write("scribble0.nii.gz", np.full((6, 5, 4), 4))
    report = check_study(patients.listed(), LABELS)
    with pytest.warns(UserWarning, match="expected seeds, got none"):
        assert report.accepted() is report


def test_what_a_raster_says_without_meaning_it(tmp_path):
    """Degrees, and an alpha channel that nobody declared."""
    rasterio = pytest.importorskip("rasterio")
    bands = np.random.default_rng(0).integers(1, 200, (4, 8, 8)).astype(np.uint8)
    bands[3] = np.where(np.arange(8) < 4, 0, 255)
    profile = {"driver": "GTiff", "height": 8, "width": 8, "count": 4, "dtype": "uint8", "photometric": "MINISBLACK"}
    place = {"crs": "EPSG:4326", "transform": rasterio.Affine(1e-3, 0, 13, 0, -1e-3, 52)}
    with rasterio.open(tmp_path / "a.tif", "w", **profile, **place) as raster:
        raster.write(bands)
    told = examine(str(tmp_path / "a.tif"), LABELS).warnings
    assert len(told) == 2 and "got one in degrees" in told[0] and "alpha channel that is declared" in told[1]
    bands[3, 0, 0] = 7
    with rasterio.open(tmp_path / "b.tif", "w", **profile) as raster:
        raster.write(bands)
    assert examine(str(tmp_path / "b.tif"), LABELS).warnings == []
