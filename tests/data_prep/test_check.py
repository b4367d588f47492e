# SPDX-License-Identifier: Apache-2.0
"""``python -m data_prep check``: bad lists end with the reason and exit code 1, good ones with the right numbers."""

from __future__ import annotations

import json
import tracemalloc
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from monai.data import NibabelReader
from PIL import Image

from data_prep.__main__ import main
from medwsss.study import read_recipe
from tests.study.study_folder import three_patients
from tests.study.test_readers import sixteen_bit_png

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")


@pytest.fixture
def study(tmp_path):
    return three_patients(tmp_path)


def no_items(study):
    study.content = {"num_classes": 2, "training": []}


def image_without_label(study):
    del study.content["validation"][0]["label"]


def label_without_image(study):
    del study.content["training"][1]["image"]


def missing_file(study):
    study.content["training"][0]["scribble"] = "gone.nii.gz"


def wrong_axis_order(study):
    study.write("scribble1.nii.gz", np.full((4, 5, 6), 4))


def label_with_time(study):
    study.write("scribble1.nii.gz", np.full((6, 5, 4, 2), 4))


def image_with_time(study):
    study.content["modality"] = {"0": "MRI"}
    for i in range(3):
        study.write(f"image{i}.nii.gz", np.random.default_rng(i).random((6, 5, 4, 2)))


def flat_where_volumes_are_declared(study):
    study.flat()
    study.content["tensorImageSize"] = "3D"


def alpha(study):
    study.flat()
    study.picture("seeds.png", None, "LA")


def alpha_image(study):
    study.flat()
    faded = Image.new("LA", (6, 6), 1)
    faded.putalpha(Image.linear_gradient("L").resize((6, 6)))
    faded.save(study.folder / "image0.png")


def colour_label(study):
    study.flat()
    study.picture("seeds.png", None, "RGB")


def sixteen_bits(study):
    study.flat()
    sixteen_bit_png(study.folder / "seeds.png")


def palette_image(study):
    study.flat()
    study.picture("image1.png", None, "P")


def nan(study):
    study.write("image1.nii.gz", np.full((6, 5, 4), np.nan))


def other_affine(study):
    study.write("scribble1.nii.gz", np.full((6, 5, 4), 4), np.diag([1.5, 1.5, 5.0, 1.0]))


def outside(study):
    other = study.folder.parent / f"{study.folder.name}_outside.nii.gz"
    (study.folder / "image0.nii.gz").rename(other)
    (study.folder / "image0.nii.gz").symlink_to(other)


def shared_patient(study):
    study.content["validation"][0]["patient"] = "p0"


def shared_image(study):
    study.content["validation"][0]["image"] = "image0.nii.gz"


def copied_image(study):
    (study.folder / "image2.nii.gz").write_bytes((study.folder / "image0.nii.gz").read_bytes())


def undeclared(study):
    study.content["ignore_value"] = 255


def dense(study):
    study.content["training"][0]["scribble"] = "mask0.nii.gz"


def miscounted(study):
    study.content["numTraining"] = 3


def no_classes(study):
    del study.content["num_classes"]


def not_an_item(study):
    study.content["training"].append("image1.nii.gz")


ERRORS = {
    no_items: "at least one item",
    image_without_label: "validation[0]: expected a label for the image",
    label_without_image: "training[1]['image']: expected a file name, got None",
    missing_file: "training[0]['scribble']: expected an existing file",
    wrong_axis_order: "scribble1.nii.gz: the same axes in another order?",
    label_with_time: "expected one channel of labels, got 2 in ",
    image_with_time: "expected 1 channels as declared, got 2 in training",
    flat_where_volumes_are_declared: "expected 3 axes (tensorImageSize), got 2 in training",
    alpha: "expected labels, got transparent ones in ",
    alpha_image: "image0.png: an alpha channel of ",
    colour_label: "expected one channel of labels, got 3 in ",
    sixteen_bits: "seeds.png: 16 bits a colour",
    palette_image: "expected intensities, got palette indices in ",
    nan: "expected finite intensities, got 120 NaN or infinite voxels in ",
    other_affine: "expected the affine of the image, got one that moves voxels by up to 1",  # 15 mm, 10 voxels
    outside: "expected a file in the folder of the list (or allow_outside)",
    shared_patient: "expected every patient in one section, got p0 in training and in validation",
    shared_image: "expected every image in one section, got image0.nii.gz in training and in validation",
    copied_image: "expected different images, got the same voxels in training (",
    undeclared: "got 4 (112 voxels) in ",
    dense: "got 100% labelled voxels in ",
    miscounted: "expected 3 items in training (numTraining), got 2",
    no_classes: "expected num_classes or labels",
    not_an_item: "training[2]: expected an item with an image and a label, got 'image1.nii.gz'",
}


TWICE = (image_with_time, alpha, colour_label, sixteen_bits, undeclared)  # in two sections, or for two cases


def test_a_good_study_passes(study, capsys):
    code, report = study.command()
    assert (code, report["errors"], report["warnings"]) == (0, [], [])
    training = report["sections"]["training"]
    assert training["items"] == 2 and training["compared"] == 16 and training["contradictions"] == 0
    assert training["voxels"] == {"class 0": 8, "class 1": 8, "unlabelled": 224, "void": 0}
    assert training["mask_voxels"] == {"class 0": 208, "class 1": 32, "unlabelled": 0, "void": 0}
    assert training["spacing"] == [[1.5, 1.5, 10.0]] * 2
    assert "3 cases, 0 errors, 0 warnings" in capsys.readouterr().out


def test_the_table_has_the_names_of_the_classes(study, capsys):
    study.content["labels"] = {"0": "background", "1": "left ventricle"}
    study.command()
    rows = [line.rsplit(maxsplit=3) for line in capsys.readouterr().out.splitlines()]
    assert {row[0]: row[1] for row in rows if len(row) == 4 and row[2] == "3.333%"} == {
        "background": "8",
        "left ventricle": "8",
    }


@pytest.mark.parametrize("spoil", ERRORS, ids=lambda spoil: spoil.__name__)
def test_bad_input_is_an_error(study, capsys, spoil):
    spoil(study)
    code, report = study.command()
    out, err = capsys.readouterr()
    assert code == 1 and ERRORS[spoil] in out + err
    assert "error: " in out + err and "Traceback" not in err
    if report is not None:
        assert len(report["errors"]) == (2 if spoil in TWICE else 1)


def test_allowed(study):
    outside(study)
    assert study.command("--allow-outside")[0] == 0
    dense(study)
    assert study.command("--allow-outside")[0] == 1
    study.content["training"] = study.content["training"][:1]
    assert study.command("--allow-outside", "--dense", "--annotation-key", "scribble")[0] == 0


def test_a_palette_label_is_read_as_indices(study):
    study.flat()
    label = Image.open(study.folder / "seeds.png").convert("P")
    label.putdata([4] * 34 + [0, 1])
    label.putpalette(range(30))
    label.save(study.folder / "seeds.png")
    code, report = study.command()
    assert code == 0 and report["sections"]["training"]["voxels"]["unlabelled"] == 2 * 34


def empty_mask(study):
    study.write("mask2.nii.gz", np.zeros((6, 5, 4)))


def no_seeds(study):
    study.write("scribble0.nii.gz", np.full((6, 5, 4), 4))


def contradicted(study):
    study.write("mask0.nii.gz", np.ones((6, 5, 4)) - nib.load(study.folder / "mask0.nii.gz").get_fdata())


def never_seeded(study):
    study.content["num_classes"] = 3


def same_voxels(study):
    study.content["training"][1]["image"] = "image0.nii.gz"


def guessed_patient(study):
    for section in ("training", "validation"):
        for item in study.content[section]:
            del item["patient"]
    study.content["training"][0]["image"] = "image2_early.nii.gz"
    study.write("image2_early.nii.gz", np.arange(120).reshape(6, 5, 4))


WARNINGS = {
    empty_mask: "expected a mask with objects, got an empty one",
    no_seeds: "expected seeds, got none: ",
    contradicted: "expected seeds that agree with the mask, got 8 of 8 of another class in ",
    never_seeded: "expected seeds of every class, got none in the whole list of classes [2]",
    same_voxels: "expected different images, got the same voxels in ",
    guessed_patient: "got image2 in training and in validation (by the file's name; the key 'patient' would tell)",
}


@pytest.mark.parametrize("spoil", WARNINGS, ids=lambda spoil: spoil.__name__)
def test_warnings_leave_the_exit_code_alone(study, spoil):
    spoil(study)
    code, report = study.command()
    assert code == 0 and report["errors"] == []
    assert any(WARNINGS[spoil] in text for text in report["warnings"])


def test_each_file_is_read_once_whoever_names_it(study, monkeypatch):
    first, second = study.content["training"]
    first["mask"] = first["label"]
    second["label"] = second["scribble"]
    names = []
    read = NibabelReader.read
    monkeypatch.setattr(NibabelReader, "read", lambda self, data: names.extend(data) or read(self, data))
    assert study.command("--html", str(study.folder / "page.html"))[0] == 0
    again = [name for name in set(names) if names.count(name) > 1]
    assert len(set(names)) == 7 and len(names) == 7 + len(again)
    assert sorted(name.name for name in map(Path, again)) == [
        "image0.nii.gz",
        "image1.nii.gz",
        "scribble0.nii.gz",
        "scribble1.nii.gz",
    ]  # cases whose labels are solved for the plan


def peak(study, copies):
    items = study.content["training"][:1] * copies
    study.content["training"] = items
    tracemalloc.start()
    study.command()
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return most


def test_memory_does_not_grow_with_the_number_of_files(tmp_path):
    study = three_patients(tmp_path, (64, 64, 32))  # 0.5 MB an image, as float32
    peak(study, 1)  # imports
    assert peak(study, 24) < peak(study, 3) + 2**20


def test_workers_change_nothing_and_errors_come_in_the_order_of_the_list(study):
    no_seeds(study)
    nan(study)
    study.write("image0.nii.gz", np.full((6, 5, 4), np.inf))
    code, report = study.command("--workers", "2")
    assert (code, report) == study.command()
    assert [name in text for text, name in zip(report["errors"], ("image0.nii.gz", "image1.nii.gz"))] == [True] * 2


def test_a_picture_says_nothing_about_space(study):
    rasterio = pytest.importorskip("rasterio")
    study.flat()
    transform = rasterio.transform.Affine(30, 0, 500, 0, -30, 900)
    with rasterio.open(study.folder / "a.tif", "w", "GTiff", 6, 6, 1, dtype="uint8", transform=transform) as raster:
        raster.write(np.arange(36, dtype=np.uint8).reshape(1, 6, 6))
    study.content["training"][0]["image"] = "a.tif"
    code, report = study.command()
    assert code == 0 and report["sections"]["training"]["spacing"] == [[1, 1], [30, 30]]


def test_the_page_needs_nothing_else(study):
    study.content["name"] = "<b>name</b>"
    study.content["training"][0]["image"] = "image0.nii.gz<script>"
    study.command("--html", str(study.folder / "page.html"), "--pictures", "2")
    page = (study.folder / "page.html").read_text()
    assert page.count('src="data:image/png;base64,iVBOR') == 2  # of the two cases left
    assert "http" not in page.replace("http-equiv", "") and "<script" not in page and "<b>" not in page
    assert "training[0]" in page and "expected an existing file" in page


def test_what_training_would_do(study):
    plan = study.command()[1]["plan"]
    assert plan["bundle"] == "scribble" and plan["settings"]["spatial_dims"] == 2
    assert plan["reasons"]["spatial_dims"].startswith("4 slices")
    assert plan["settings"]["patch_size"] == [8, 8]


def test_the_plan_is_a_file_that_nobody_loses(study, capsys):
    path = study.folder / "recipe.json"
    assert study.command()[0] == 0 and f"recipe: written to {path}" in capsys.readouterr().out
    planned = read_recipe(path)
    assert study.command("--spatial-dims", "3")[0] == 0
    assert read_recipe(path).settings["spatial_dims"] == 3  # one that nobody has touched is written anew
    edited = json.loads(path.read_text())
    edited["settings"]["batch_size"] = 5
    path.write_text(json.dumps(edited))
    capsys.readouterr()
    study.command()
    assert f"{path} stays as it is, it was edited (batch_size); --replan replaces it" in capsys.readouterr().out
    assert read_recipe(path).settings["batch_size"] == 5
    study.command("--replan")
    assert read_recipe(path) == planned
    path.write_text("{")
    capsys.readouterr()
    study.command()
    told = capsys.readouterr().out
    assert "stays as it is, expected a recipe in JSON" in told and told.count("--replan") == 1
    assert path.read_text() == "{"
    path.write_text('{"version": 0}')
    study.command()
    assert capsys.readouterr().out.count("--replan") == 1


def test_a_folder_that_is_read_only_stays_so(study, capsys):
    folder, other = study.folder, study.folder.parent / "recipe_elsewhere.json"
    study.listed()
    folder.chmod(0o555)
    try:
        assert main(["check", str(folder / "list.json")]) == 0
        assert "a folder that is read only. --recipe FILE puts it elsewhere" in capsys.readouterr().out
        assert main(["check", str(folder / "list.json"), "--recipe", str(other)]) == 0
    finally:
        folder.chmod(0o755)
    assert read_recipe(other).bundle == "scribble" and not (folder / "recipe.json").exists()


def test_a_study_with_errors_gets_no_recipe(study):
    nan(study)
    assert study.command()[0] == 1 and not (study.folder / "recipe.json").exists()
