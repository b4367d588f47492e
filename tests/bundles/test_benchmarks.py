# SPDX-License-Identifier: Apache-2.0
"""What benchmarks read back from the trainings of an experiment."""

from __future__ import annotations

import json
import random

import nibabel as nib
import numpy as np
import pytest
import torch

from data_prep.phantom import make_phantom_study
from medwsss.experiments import runs
from medwsss.keys import UNLABELED
from tests.benchmarks import label_settings, next_strokes
from tests.bundles.bundle import REPOSITORY


def write_run(folder, files, options):
    """What ``runs.run`` leaves of its command."""
    folder.mkdir()
    words = runs.command([f"bundles/{name}.json" for name in files], folder, options)
    (folder / "result.json").write_text(json.dumps({"command": [*words, "--eta", "1.0"]}))
    return folder


def test_a_runs_command_is_read_back(tmp_path):
    options = {"eta": 0.3, "warmup_loss": None, "val_interval": "@epochs", "strides": [[2, 2, 1]], "seed": 0}
    files, found = label_settings.read_command(
        write_run(tmp_path / "run", ["scribble/train", "scribble/acdc"], options)
    )
    assert files == ["bundles/scribble/train.json", "bundles/scribble/acdc.json"]
    assert found == {**options, "eta": 1.0, "output_dir": str(tmp_path / "run")}  # the last one counts
    with pytest.raises(ValueError, match="bundles/scribble in .*other, got one of bundles/scribble_2d/train.json"):
        label_settings.cases(write_run(tmp_path / "other", ["scribble_2d/train"], {}), 1)


@pytest.mark.parametrize("axes", [2, 3])
def test_a_runs_training_cases(axes, tmp_path, monkeypatch):
    monkeypatch.chdir(REPOSITORY)
    folder = make_phantom_study(tmp_path / "study", training=4, validation=1, shape=(24, 20, 8)).parent
    options = {"dataset_dir": str(folder), "spatial_dims": axes, "channels": [4, 8], "patch_size": [16, 16, 8][:axes]}
    run = write_run(tmp_path / "run", ["scribble/train"], {**options, "held_out_share": 0.5})
    network = runs.parsed(["bundles/scribble/train.json"], options).get_parsed_content("network_def")
    torch.save(network.state_dict(), run / "model.pt")
    cases, title = label_settings.cases(run, 2)
    assert title == f"no network, study, {axes}-D"
    for case, index in zip(cases, (0, 2), strict=True):
        assert case.spacing == pytest.approx([1, 1, 2.5][:axes])
        assert case.logits.shape == ((8, 5, 24, 20) if axes == 2 else (1, 5, 24, 20, 8))
        for key, x in {"scribble": case.scribble, "label": case.truth}.items():
            volume = nib.load(folder / f"{key}s/training_{index:03d}.nii.gz").get_fdata()
            np.testing.assert_array_equal(x.movedim(0, -1).squeeze(0) if axes == 2 else x[0, 0], volume)
    monkeypatch.setattr(label_settings, "SETTINGS", {"centre": label_settings.CENTRE | {"lam": 0.0}})
    sure = [torch.nn.functional.one_hot(case.truth.squeeze(1).long(), 5).movedim(-1, 1) * 100.0 for case in cases]
    column = label_settings.column([case._replace(logits=logits) for case, logits in zip(cases, sure, strict=True)])
    assert column == {"network": 1, "centre": 1, "centre, volume": 1}


def test_strokes_of_a_number_of_voxels(tmp_path):
    mask = np.zeros((24, 20, 3), np.uint8)
    mask[6:18, 5:15] = 1
    nib.save(nib.Nifti1Image(mask, np.eye(4)), tmp_path / "a.nii.gz")
    study = next_strokes.STUDIES["hippocampus"]
    case = next_strokes.Case(tmp_path, {"image": "a.nii.gz", "label": "a.nii.gz"}, study)
    where = np.zeros(mask.shape, bool)
    where[4:12, 3:12, 1] = True
    assert next_strokes.add_strokes([case], iter([(0, where)]), 7, seed=0) == 7
    drawn = case.scribble != UNLABELED
    assert drawn.sum() == 7 and where[drawn].all() and (case.scribble[drawn] == mask[drawn]).all()
    before = case.scribble.copy()
    slices = list(next_strokes.slices_of([case], [0], random.Random(0)))
    assert sorted(np.flatnonzero(w.any((0, 1))).tolist() for _, w in slices) == [[0], [1], [2]]
    drawn = next_strokes.add_strokes([case], iter(slices), 10**6, seed=0)  # there are fewer
    assert drawn == ((case.scribble != UNLABELED) & (before == UNLABELED)).sum() < 10**6
    assert (case.scribble[before != UNLABELED] == before[before != UNLABELED]).all()
