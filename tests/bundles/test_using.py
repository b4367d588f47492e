# SPDX-License-Identifier: Apache-2.0
"""A trained bundle evaluates, predicts, and passes through MONAI's tools, all of it offline."""

from __future__ import annotations

import csv
import itertools
import json
import os
import shutil
import signal

import monai.bundle
import nibabel as nib
import numpy as np
import pytest
import torch
from monai.networks.nets import UNet
from PIL import Image
from scipy.ndimage import label

from medwsss.bundle.command_line import cause_of
from tests.bundles.bundle import BUNDLE, TINY, config, execute, train, workflow
from tests.bundles.test_configs import SCHEMA
from tests.bundles.test_training import write_study
from tests.toy_training import processes


def dice(prediction, truth, k):
    a, b = prediction == k, truth == k
    return 2 * (a & b).sum() / (a.sum() + b.sum())


def test_evaluation_is_of_the_saved_predictions(study, trained, tmp_path):
    """Figures of ``evaluate`` against NumPy on the files that ``inference`` wrote: two routes, one model."""
    output = {"dataset_dir": str(study), "output_dir": str(tmp_path), "model_file": str(trained / "model.pt")}
    execute(workflow("train", "evaluate", **{**TINY, **output}))
    report = json.loads((tmp_path / "evaluation" / "report.json").read_text())["validation"]["Dice"]
    with open(tmp_path / "evaluation" / "cases.csv") as file:
        assert len(list(csv.DictReader(file))) == 2 * 4  # cases and classes
    assert (tmp_path / "evaluation" / "report.html").stat().st_size > 10_000

    infer(study / "images", trained, tmp_path / "predictions")
    cases = sorted((study / "labels").glob("validation_*"))
    figures = []
    for case in cases:
        truth = nib.load(case).get_fdata()
        prediction = nib.load(tmp_path / "predictions" / case.name.replace(".nii", "_pred.nii")).get_fdata()
        figures.append([dice(prediction, truth, k) for k in range(1, 5)])
    assert list(report.values())[:-1] == pytest.approx(np.mean(figures, axis=0), abs=1e-6)


def infer(images, trained, output, **changes):
    settings = {"channels": TINY["channels"], "patch_size": TINY["patch_size"], "device": "cpu", **changes}
    places = {"dataset_dir": str(images), "model_file": str(trained / "model.pt"), "output_dir": str(output)}
    return execute(workflow("inference", kind="infer", **places, **settings))


@pytest.mark.parametrize("dims", [2, 3])
def test_predictions_lie_where_their_images_lie(study, trained, trained_slices, tmp_path, dims):
    turned = np.array([[0, -2, 0, 5], [1, 0, 0, -7], [0, 0, 3, 2], [0, 0, 0, 1.0]])
    image = nib.load(next((study / "images").glob("validation_*")))
    nib.save(nib.Nifti1Image(image.get_fdata()[:19, :, :7].astype(np.float32), turned), tmp_path / "case.nii.gz")
    model = {2: trained_slices, 3: trained}[dims]
    infer(tmp_path, model, tmp_path / "out", spatial_dims=dims, patch_size=[16, 16, 8][:dims])
    prediction = nib.load(tmp_path / "out" / "case_pred.nii.gz")
    assert prediction.shape == (19, 24, 7)
    np.testing.assert_allclose(prediction.affine, turned, atol=1e-5)
    assert prediction.get_data_dtype() == np.uint8 and set(np.unique(prediction.dataobj)) <= set(range(5))


@pytest.mark.parametrize("suffix, spacing", [(".nii.gz", 0.5), (".png", 1)])
def test_prediction_of_a_flat_image(trained_slices, tmp_path, suffix, spacing):
    write_study(tmp_path, suffix, (24, 20), spacing)
    changes = {"spatial_dims": 2, "patch_size": [16, 16], "pattern": f"image_3{suffix}"}
    infer(tmp_path, trained_slices, tmp_path / "out", **changes)
    if suffix == ".png":
        prediction = Image.open(tmp_path / "out" / "image_3_pred.png")
        assert prediction.size == Image.open(tmp_path / "image_3.png").size and prediction.mode == "L"
    else:
        prediction = nib.load(tmp_path / "out" / "image_3_pred.nii.gz")
        assert prediction.shape == (24, 20)
        assert np.abs(prediction.affine[:2, :2]).max() == spacing


# ---- from the folder of a run


@pytest.fixture
def run(trained, tmp_path):
    """What one would send to somebody else of a run's folder."""
    (tmp_path / "run").mkdir()
    for name in ("model.pt", "settings.json"):
        shutil.copy(trained / name, tmp_path / "run")
    return tmp_path / "run"


def infer_from(run, source, **options):
    return execute(workflow("inference", kind="infer", run_dir=str(run), source=str(source), device="cpu", **options))


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_a_copied_run_is_enough(study, trained, run, tmp_path):
    infer(study / "images", trained, tmp_path / "told")
    infer_from(run, study / "images")
    assert len(contents(run / "predictions")) == 5
    assert contents(run / "predictions") == contents(tmp_path / "told")
    infer_from(run, study / "dataset.json", section="validation", output_dir=str(tmp_path / "list"))
    assert [path.name for path in (tmp_path / "list" / "images").iterdir()]


def test_a_run_is_evaluated_by_its_folder(study, run):
    """What it scores is what the run predicts, mean over mirror images and all."""
    execute(workflow("train", "evaluate", run_dir=str(run), dataset_dir=str(study), device="cpu", amp=False))
    infer_from(run, study / "dataset.json", section="validation")
    scores = []
    for item in json.loads((study / "dataset.json").read_text())["validation"]:
        path = run / "predictions" / item["image"].replace(".nii.gz", "_pred.nii.gz")
        ours, mask = (np.asarray(nib.load(file).dataobj) for file in (path, study / item["label"]))
        overlap = [((ours == k) & (mask == k)).sum() / ((ours == k).sum() + (mask == k).sum()) for k in range(1, 5)]
        scores.append(2 * np.mean(overlap))
    report = json.loads((run / "evaluation" / "report.json").read_text())
    assert report["validation"]["Dice"]["mean"] == pytest.approx(np.mean(scores), abs=1e-5)
    assert "means over mirror images" in (run / "evaluation" / "report.html").read_text()


def test_a_network_that_saw_no_mirror_image_is_shown_none(study, run, tmp_path):
    content = json.loads((run / "settings.json").read_text())
    assert content["settings"]["test_flip"] is True
    flow = workflow("train", dataset_dir=str(study), flip_prob=0.0)
    assert flow.parser.get_parsed_content("test_flip") is False
    content["settings"]["test_flip"] = False
    (run / "settings.json").write_text(json.dumps(content))
    for names, place in ((("train", "evaluate"), "validate#inferer"), (("inference",), "views")):
        kind = {"kind": "infer", "source": str(study / "images")} if names == ("inference",) else {}
        flow = workflow(*names, run_dir=str(run), dataset_dir=str(study), device="cpu", **kind)
        flow.initialize()
        assert flow.parser.get_parsed_content(place).mirrors == [[]]


def test_a_run_is_not_evaluated_on_other_classes(study, run):
    """Such as on the default data, when one forgets to say on which."""
    content = json.loads((run / "settings.json").read_text())
    content["settings"]["class_names"] = ["background", "right", "wall", "left", "atrium"]
    (run / "settings.json").write_text(json.dumps(content))
    with pytest.raises(RuntimeError) as error:
        execute(workflow("train", "evaluate", run_dir=str(run), dataset_dir=str(study), device="cpu", amp=False))
    told = str(cause_of(error.value))
    assert "'right', 'wall', 'left', 'atrium']" in told and str(study / "dataset.json") in told
    assert "--dataset_dir says" in told and not (run / "evaluation").exists()


def test_masks_beside_the_scribbles_measure_pseudo_labels_and_nothing_else(study, trained, tmp_path):
    train(study, tmp_path, mask_key="label", val_interval=1)
    with_masks, without = (torch.load(folder / "model.pt", weights_only=True) for folder in (tmp_path, trained))
    assert all(torch.equal(with_masks[name], value) for name, value in without.items())
    record = json.loads((tmp_path / "label_quality" / "label_quality.json").read_text())
    assert [each["epoch"] for each in record["epochs"]] == [1, 2] and len(record["cases"]) == 3
    assert record["ranges"][0] == "0 to 1 mm"
    seeds, voxels = 0, 0
    for path in (study / "scribbles").glob("training_*"):
        scribble = np.asarray(nib.load(path).dataobj)
        seeds, voxels = seeds + int((scribble < 5).sum()), voxels + scribble.size
    assert sum(record["epochs"][-1]["after"]["voxels"]) == voxels - seeds
    execute(workflow("train", "evaluate", run_dir=str(tmp_path), dataset_dir=str(study), device="cpu", amp=False))
    page = (tmp_path / "evaluation" / "report.html").read_text()
    assert page.count("Training case: ") > 3 and 'id="show-pseudo-label"' in page and "accuracy: network from" in page


def infer_struck(run, source, at, options):
    """Predict, and be killed as the ``at``-th file is about to get its name."""
    replace, number = os.replace, itertools.count(1)

    def struck(*names):
        if next(number) == at:
            os.kill(os.getpid(), signal.SIGKILL)
        replace(*names)

    os.replace = struck
    torch.set_num_threads(1)
    infer_from(run, source, **options)


def test_killed_and_started_again_gives_identical_files(study, run, tmp_path):
    options = {"uncertainty": True, "pattern": "training*"}
    infer_from(run, study / "images", output_dir=str(tmp_path / "whole"), **options)
    options |= {"output_dir": str(tmp_path / "killed"), "skip_existing": True}
    # in between the map and the prediction of the second image
    process = processes.Process(target=infer_struck, args=(run, study / "images", 4, options))
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    left = contents(tmp_path / "killed")
    assert len([name for name in left if not name.endswith(".tmp")]) == 3 and len(left) == 4
    infer_from(run, study / "images", **options)
    assert contents(tmp_path / "killed") == contents(tmp_path / "whole") and len(contents(tmp_path / "whole")) == 6


def test_maps_mirrors_and_largest_components(study, run, tmp_path, monkeypatch):
    """By NumPy and SciPy, from the files alone, for a volume whose slices lie across the file's first axis, too."""
    image = nib.load(next((study / "images").glob("validation_*")))
    (tmp_path / "images").mkdir()
    voxels, turn = np.asarray(image.dataobj)[:, :21], np.eye(4)[[2, 0, 1, 3]]
    affine = np.diag([1, 1, 3, 1.0])
    nib.save(nib.Nifti1Image(voxels, affine), tmp_path / "images" / "last.nii.gz")
    nib.save(nib.Nifti1Image(voxels.transpose(2, 0, 1), affine @ turn.T), tmp_path / "images" / "first.nii.gz")
    options = {"uncertainty": True, "probabilities": True, "largest_block": 2000}
    with monkeypatch.context() as patch:
        patch.setattr("sys.argv", ["monai/bundle/__main__.py", "run", "--test_flip", "False"])
        infer_from(run, tmp_path / "images", output_dir=str(tmp_path / "plain"), test_flip=False, **options)
    largest = {"largest_component": True}
    infer_from(run, tmp_path / "images", output_dir=str(tmp_path / "more"), **largest, **options)

    def load(folder, name):
        return np.asarray(nib.load(tmp_path / folder / f"{name}.nii.gz").dataobj)

    for folder in ("plain", "more"):
        sigma, labels = load(folder, "last_probabilities"), load(folder, "last_pred")
        assert sigma.shape == (24, 21, 8, 5)
        np.testing.assert_allclose(sigma.sum(-1), 1, atol=1e-5)
        entropy = -np.where(sigma > 0, sigma * np.log(np.maximum(sigma, 1e-30)), 0).sum(-1) / np.log(5)
        np.testing.assert_allclose(load(folder, "last_uncertainty"), entropy, atol=1e-5)
        decided = sigma.argmax(-1)
        if folder == "more":
            for k in range(1, 5):
                parts, count = label(decided == k, np.ones((3, 3, 3)))
                sizes = np.bincount(parts.ravel())[1:]
                kept = parts[(labels == k) & (parts > 0)]
                assert count == 0 or len(kept) == sizes.max() and len(set(kept)) == 1
        else:
            np.testing.assert_array_equal(labels, decided)
        assert nib.load(tmp_path / folder / "first_pred.nii.gz").shape == (8, 24, 21)
        np.testing.assert_array_equal(load(folder, "first_pred").transpose(1, 2, 0), labels)
        np.testing.assert_allclose(load(folder, "first_probabilities").transpose(1, 2, 0, 3), sigma, atol=1e-6)
    assert np.abs(load("more", "last_probabilities") - load("plain", "last_probabilities")).max() > 1e-3
    assert (load("more", "last_pred") == load("plain", "last_pred")).mean() < 1


# ---- MONAI's tools


def test_verify_metadata(tmp_path):
    schema = tmp_path / "schema.json"
    schema.write_text(json.dumps(SCHEMA))
    monai.bundle.verify_metadata(meta_file=str(BUNDLE / "metadata.json"), filepath=str(schema))
    schema.write_text(json.dumps({**SCHEMA, "required": ["nothing"]}))
    with pytest.raises(ValueError, match="nothing"):
        monai.bundle.verify_metadata(meta_file=str(BUNDLE / "metadata.json"), filepath=str(schema))


@pytest.mark.parametrize("name", ["inference", "train"])
def test_verify_net_in_out(name):
    (file,) = config(name)
    files = {"meta_file": str(BUNDLE / "metadata.json"), "config_file": file, "device": "cpu"}
    monai.bundle.verify_net_in_out("network_def", **files)
    with pytest.raises(ValueError, match="channel"):  # it does look
        monai.bundle.verify_net_in_out("network_def", **files, num_classes=3)


@pytest.fixture
def packed(trained, tmp_path):
    """The bundle as one would send it: links become files, and the weights lie in models/."""
    folder = tmp_path / "scribble"
    shutil.copytree(BUNDLE, folder, ignore=shutil.ignore_patterns("models"))
    inference = json.loads((folder / "configs" / "inference.json").read_text())
    (folder / "configs" / "inference.json").write_text(json.dumps({**inference, "channels": TINY["channels"]}))
    (folder / "models").mkdir()
    shutil.copy(trained / "model.pt", folder / "models")
    return folder


def test_load(packed, trained):
    network = monai.bundle.load("scribble", bundle_dir=str(packed.parent), workflow_type="inference", device="cpu")
    assert isinstance(network, UNet)
    expected = torch.load(trained / "model.pt", weights_only=True)
    assert all(torch.equal(value, expected[name]) for name, value in network.state_dict().items())


def test_ckpt_export(packed):
    target = packed / "models" / "model.ts"
    monai.bundle.ckpt_export(
        "network_def",
        filepath=str(target),
        ckpt_file=str(packed / "models" / "model.pt"),
        meta_file=str(packed / "configs" / "metadata.json"),
        config_file=str(packed / "configs" / "inference.json"),
    )
    network, metadata, _ = monai.data.load_net_with_metadata(str(target))
    original = monai.bundle.load("scribble", bundle_dir=str(packed.parent), workflow_type="inference", device="cpu")
    image = torch.rand(1, 1, 16, 16, 8)
    torch.testing.assert_close(network.eval()(image), original.eval()(image))
    assert metadata["version"] == json.loads((BUNDLE / "metadata.json").read_text())["version"]


def test_missing_model_is_an_error_not_a_random_network(study, tmp_path):
    with pytest.raises(RuntimeError) as error:
        infer(study / "images", tmp_path, tmp_path / "out")
    cause = cause_of(error.value)
    assert isinstance(cause, ValueError) and "got no file" in str(cause) and "model.pt" in str(cause)
    assert not (tmp_path / "out").exists()


# ---- predictions of a folder: what is in it is not all good


@pytest.fixture
def weights(tmp_path):
    """Of the network for two channels, untrained."""
    flow = workflow("inference", kind="infer", channels=TINY["channels"], in_channels=2)
    torch.save(flow.parser.get_parsed_content("network_def").state_dict(), tmp_path / "model.pt")
    return tmp_path


def test_images_of_two_files_with_a_bad_one_among_them(weights, tmp_path):
    folder, rng = tmp_path / "images [v1]", np.random.default_rng(0)
    folder.mkdir()
    for case, k in itertools.product("abc", range(2)):
        voxels = rng.random((20, 18, 1 if case == "b" else 9), np.float32)
        nib.save(nib.Nifti1Image(voxels, np.diag([1, 1, 2, 1.0])), folder / f"{case}_{k:04d}.nii.gz")
    damaged = folder / "a_0001.nii.gz"
    damaged.write_bytes(damaged.read_bytes()[:-50])
    (folder / "notes.json").write_text("{}")
    with pytest.raises(RuntimeError) as error:
        infer(folder, weights, tmp_path / "out", in_channels=2)
    told = str(cause_of(error.value))
    assert told.startswith("2 predicted, 1 failed: ") and str(damaged) in told and "b_0000" not in told
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["b_pred.nii.gz", "c_pred.nii.gz"]
    assert nib.load(tmp_path / "out" / "b_pred.nii.gz").shape == (20, 18, 1)
