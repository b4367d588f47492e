# SPDX-License-Identifier: Apache-2.0
"""nnU-Net itself, on two volumes of a few voxels: planned, preprocessed, trained, killed and resumed."""

from __future__ import annotations

import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch

import medwsss.nnunet

pytest.importorskip("nnunetv2", reason='needs nnU-Net: pip install "medwsss[nnunet]"')

SETTINGS = {"epochs": 2, "iterations": 2, "val_iterations": 1, "warmup_loss": 9}
DATASET = "Dataset501_Cubes"


def write_raw(folder):
    """A cube in noise with strokes of 6 and 12 voxels; 72 voxels of the image are 0 and labelled background.

    The second is smaller than the others, and so than a patch.
    """
    rng = np.random.default_rng(0)
    for k in range(3):
        image = rng.normal(100, 5, (10 if k == 1 else 16, 16, 16)).astype(np.float32)
        image[4:8, 4:12, 4:12] += 50
        labels = np.full(image.shape, 2, np.uint8)
        labels[6, 8, 5:11], labels[2, 2, 2:14] = 1, 0
        image[:6, :6, :2], labels[:6, :6, :2] = 0, 0
        for name, array in (("imagesTr/c{}_0000.nii.gz", image), ("labelsTr/c{}.nii.gz", labels)):
            path = folder / name.format(k)
            path.parent.mkdir(parents=True, exist_ok=True)
            nib.save(nib.Nifti1Image(array, np.eye(4)), path)
    content = {"channel_names": {"0": "MRI"}, "labels": {"background": 0, "cube": 1, "ignore": 2}}
    (folder / "dataset.json").write_text(json.dumps({**content, "numTraining": 3, "file_ending": ".nii.gz"}))
    (folder / "splits_final.json").write_text(json.dumps([{"train": ["c0", "c1"], "val": ["c2"]}]))


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    """Where nnU-Net has planned and preprocessed it, with a network of 4 channels."""
    from nnunetv2.experiment_planning.plan_and_preprocess_api import extract_fingerprints, plan_experiments, preprocess

    root = tmp_path_factory.mktemp("nnunet")
    with pytest.MonkeyPatch.context() as patch:
        for name in ("raw", "preprocessed", "results"):
            patch.setenv(f"nnUNet_{name}", str(root / name))
        patch.setenv("nnUNet_n_proc_DA", "1")  # planning divides by it
        write_raw(root / "raw" / DATASET)
        extract_fingerprints([501], num_processes=1)
        plan_experiments([501])
        plans = root / "preprocessed" / DATASET / "nnUNetPlans.json"
        content = json.loads(plans.read_text())
        configuration = content["configurations"]["3d_fullres"]
        configuration["batch_size"] = 1
        network = configuration["architecture"]["arch_kwargs"]
        network["features_per_stage"] = [4] * network["n_stages"]
        plans.write_text(json.dumps({**content, "self_labeling": SETTINGS}))
        preprocess([501], configurations=["3d_fullres"], num_processes=[1])
        yield root


@pytest.fixture
def trainer(prepared, monkeypatch):
    """Of the data set, found as nnU-Net finds trainers elsewhere."""
    from nnunetv2.run.run_training import get_trainer_from_args

    for name in ("raw", "preprocessed", "results"):
        monkeypatch.setenv(f"nnUNet_{name}", str(prepared / name))
    monkeypatch.setenv("nnUNet_n_proc_DA", "0")
    monkeypatch.setenv("nnUNet_extTrainer", str(Path(medwsss.nnunet.__file__).parent / "external"))
    np.random.seed(0)  # of nnU-Net's patches; PyTorch's is everybody's

    def make(resumed=False):
        return get_trainer_from_args(
            "501", "3d_fullres", 0, "nnUNetTrainerSelfLabeling", continue_training=resumed, device=torch.device("cpu")
        )

    return make


def test_padding_is_void_and_background_outside_of_the_body_stays(trainer):
    """nnU-Net would call 6 × 16 × 16 voxels of padding background, beside 84 that are labelled so."""
    made = trainer()
    made.initialize()
    train, val = made.get_dataloaders()
    train.data_loader.indices = ["c1"]
    *labels, guide = next(train)["target"]
    assert guide.shape[1:] == labels[0].shape[1:] and guide.is_floating_point()
    assert set(labels[0].unique().tolist()) == {-1, 0, 1, 2} and (labels[0] == -1).sum() > 500
    assert 40 < (labels[0] == 0).sum() < 84 / 0.7**3  # patches are scaled by 0.7 at most
    validated = next(val)["target"]
    assert torch.bincount(validated[0].flatten()).tolist() == [84, 6, 16**3 - 90] and len(validated) == len(labels)


def test_train_and_resume(trainer):
    first = trainer()
    first.num_epochs = 1
    first.run_training()
    assert first.loss.active
    second = trainer(resumed=True)
    second.load_checkpoint(str(Path(first.output_folder) / "checkpoint_final.pth"))
    assert second.loss.active and second.current_epoch == 1
    for ours, theirs in zip(second.network.parameters(), first.network.parameters()):
        assert torch.equal(ours, theirs)
    second.run_training()
    log = "".join(path.read_text() for path in Path(first.output_folder).glob("training_log*"))
    assert second.current_epoch == 2 and log.count("Seeds, mean -ln sigma") == 2 and "Pseudo-labels begin." in log


def test_where_all_is_labelled_nnunet_s_own_trainer_is_named(trainer, prepared):
    path = prepared / "preprocessed" / DATASET / "dataset.json"
    content = path.read_text()
    path.write_text(content.replace(', "ignore": 2', "").replace(',\n        "ignore": 2', ""))
    try:
        with pytest.raises(ValueError, match="nnU-Net's own trainer"):
            trainer()
    finally:
        path.write_text(content)
