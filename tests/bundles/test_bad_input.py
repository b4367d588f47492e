# SPDX-License-Identifier: Apache-2.0
"""Whatever is wrong with the data or the command is told before training starts, in words that name it."""

from __future__ import annotations

import json
import shutil
import warnings

import nibabel as nib
import numpy as np
import pytest

from medwsss.bundle.overrides import check_override_names
from medwsss.keys import UNLABELED
from tests.bundles.bundle import TINY, config, execute, train, words_of, workflow
from tests.bundles.test_training import of
from tests.toy_training import Typed

COMMAND = ["/somewhere/monai/bundle/__main__.py", "run", "training", "--config_file", *config("train")]


@pytest.fixture
def damaged(study, tmp_path):
    """A copy of the study to damage, and how to change its list and its volumes."""
    return Damaged(shutil.copytree(study, tmp_path / "study"))


class Damaged:
    """``of(image)`` is the file of a training case."""

    def __init__(self, folder):
        self.folder = folder
        self.changes = {}

    def file(self, key, index=1):
        return self.folder / f"{key}s" / f"training_{index:03d}.nii.gz"

    def rewrite(self, key, change, affine=None, indices=(1,)):
        for index in indices:
            image = nib.load(self.file(key, index))
            array = change(np.asarray(image.dataobj).copy())
            nib.save(nib.Nifti1Image(array, image.affine if affine is None else affine), self.file(key, index))

    def relist(self, change):
        path = self.folder / "dataset.json"
        content = json.loads(path.read_text())
        change(content)
        path.write_text(json.dumps(content))


def put(value, where=(3, 3, 3)):
    def change(array):
        array[where] = value
        return array

    return change


def nan(array):
    array = array.astype(np.float32)
    array[3, 3, 3] = np.nan
    return array


def missing_file(d):
    d.file("image").unlink()


def no_scribble_key(d):
    d.relist(lambda content: content["training"][1].pop("scribble"))


def undeclared_value(d):
    d.rewrite("scribble", put(77))


def other_shape(d):
    d.rewrite("scribble", lambda array: array[:, :-1])


def other_affine(d):
    d.rewrite("scribble", lambda array: array, affine=np.diag([1.0, 1.0, 3.0, 1.0]))


def empty_list(d):
    d.relist(lambda content: content.update(training=[]))


def nan_in_image(d):
    d.rewrite("image", nan)


def too_few_classes(d):
    d.changes["num_classes"] = 3


def corrupt_file(d):
    d.file("image").write_bytes(d.file("image").read_bytes()[:400])


def bad_validation(d):
    (d.folder / "labels" / "validation_000.nii.gz").unlink()


def copied_image(d):
    """A training image under another name in validation."""
    shutil.copyfile(d.file("image"), d.folder / "images" / "validation_000.nii.gz")


def declared_channels(d):
    d.relist(lambda content: content.update(channel_names={"0": "T1", "1": "T2"}))


def no_seeds(d):
    d.rewrite("scribble", lambda array: np.full_like(array, UNLABELED))


def unseeded_class(d):
    d.rewrite("scribble", lambda array: np.where(array == 4, UNLABELED, array).astype(np.uint8), indices=(0, 1, 2))


def started_training(flow):
    return "train#trainer" in flow.parser.ref_resolver.resolved_content


@pytest.mark.parametrize(
    "damage, told",
    [
        (missing_file, ["expected an existing file", "images/training_001.nii.gz"]),
        (no_scribble_key, ["training[1]['scribble']: expected a file name, got None"]),
        (undeclared_value, ["77", "scribbles/training_001.nii.gz"]),
        (other_shape, ["expected the shape (24, 24, 8)", "(24, 23, 8)", "scribbles/training_001.nii.gz"]),
        (other_affine, ["expected the affine of the image", "3.5 voxels", "scribbles/training_001.nii.gz"]),
        (empty_list, ["'training'", "at least one item", "dataset.json"]),
        (nan_in_image, ["expected finite intensities, got 1 NaN", "images/training_001.nii.gz"]),
        (too_few_classes, ["2 (class 2), 255 (unlabelled), got 3 (", "training_000.nii.gz"]),
        (corrupt_file, ["expected a readable image", "images/training_001.nii.gz"]),
        (bad_validation, ["expected an existing file", "labels/validation_000.nii.gz"]),
        (copied_image, ["the same voxels in training", "images/training_001.nii.gz", "images/validation_000.nii.gz"]),
        (declared_channels, ["expected 2 channels as declared, got 1 in training"]),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_refused_before_training(damaged, tmp_path, damage, told):
    damage(damaged)
    changes = {**TINY, "dataset_dir": str(damaged.folder), "output_dir": str(tmp_path / "out"), **damaged.changes}
    flow = workflow("train", **changes)
    with pytest.raises(RuntimeError) as error:
        flow.initialize()
    message = str(error.value.__cause__)
    assert isinstance(error.value.__cause__, ValueError)
    assert all(words in message for words in told), message
    assert not (tmp_path / "out").exists()


def test_a_study_that_was_checked_before_need_not_be_again(damaged, tmp_path):
    """``None`` for both summaries opens nothing; the default's distances between voxels are then to be given."""
    other_affine(damaged)  # the check alone would notice
    where = {"dataset_dir": str(damaged.folder), "output_dir": str(tmp_path / "out")}
    flow = workflow("train", **TINY, **where, study="$None", val_study="$None", spacing=None)
    flow.initialize()
    assert "checked" not in flow.parser.ref_resolver.resolved_content
    of(flow, "train#trainer")
    assert "checked" not in flow.parser.ref_resolver.resolved_content


def test_evaluation_opens_what_it_measures(damaged, trained, tmp_path):
    nan_in_image(damaged)
    where = {"dataset_dir": str(damaged.folder), "output_dir": str(tmp_path), "model_file": str(trained / "model.pt")}
    workflow("train", "evaluate", **TINY, **where).initialize()
    (damaged.folder / "labels" / "validation_001.nii.gz").write_bytes(b"")
    with pytest.raises(RuntimeError) as error:
        workflow("train", "evaluate", **TINY, **where).initialize()
    assert "labels/validation_001.nii.gz" in str(error.value.__cause__)


def test_refused_override_name():
    with pytest.raises(ValueError, match="unknown override --epoch, did you mean --epochs"):
        check_override_names([*COMMAND, "--epoch", "3"])


@pytest.mark.parametrize(
    "damage, told",
    [(no_seeds, "expected seeds, got none: .*training_001"), (unseeded_class, r"in the whole list of classes \[4\]")],
    ids=["no seeds", "unseeded class"],
)
def test_warned_of_before_training(damaged, tmp_path, damage, told):
    damage(damaged)
    flow = workflow("train", **TINY, dataset_dir=str(damaged.folder), output_dir=str(tmp_path / "out"))
    with pytest.warns(UserWarning, match=told):
        flow.initialize()
    assert not started_training(flow)
    execute(flow)  # and it trains


def test_volume_smaller_than_the_patch_works(study, tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        warnings.filterwarnings("ignore", message="NvImgCodec")  # MONAI, wherever pydicom is installed
        flow = train(study, tmp_path, patch_size=[32, 32, 16], warmup_epochs=2)
    assert of(flow, "train#trainer").state.skipped_batches == 0


@pytest.mark.slow
@pytest.mark.parametrize(
    "damage, options, told",
    [
        (nan_in_image, {}, "expected finite intensities, got 1 NaN"),
        (None, {"epoch": 3}, "unknown override --epoch, did you mean --epochs?"),
    ],
    ids=["data", "command"],
)
def test_the_cause_is_the_last_thing_one_sees(damaged, tmp_path, damage, options, told):
    if damage:
        damage(damaged)
    process = Typed(words_of(damaged.folder, tmp_path / "out", **options))
    _, errors = process.communicate()
    assert process.returncode == 1
    assert "Traceback" in errors
    last = errors.rstrip().rsplit("\n\n", 1)[-1]
    assert last.startswith("ValueError: expected ") and told in last
    assert len(last.splitlines()) <= 2
