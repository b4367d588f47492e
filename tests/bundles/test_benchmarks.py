# SPDX-License-Identifier: Apache-2.0
"""What benchmarks read back from the trainings of an experiment."""

from __future__ import annotations

import random

import nibabel as nib
import numpy as np
import pytest
import torch

from medwsss.keys import UNLABELED
from tests.benchmarks import label_settings, next_strokes
from tests.benchmarks.deep_supervision import DeepSupervisionLoss, DeepUNet


def test_a_run_of_another_bundle(trained_on_photographs):
    with pytest.raises(ValueError, match="expected a run of bundles/scribble in .*, got one of bundles/scribble_2d"):
        label_settings.cases(trained_on_photographs, 1)


@pytest.mark.parametrize("name, axes", [("trained_slices", 2), ("trained", 3)])
def test_a_runs_training_cases(name, axes, study, monkeypatch, request):
    run = request.getfixturevalue(name)
    cases, title = label_settings.cases(run, 2)
    assert title == f"no network, study, {axes}-D"
    for case, index in zip(cases, (0, 1), strict=True):
        assert case.spacing == pytest.approx([1, 1, 2.5][:axes])
        assert case.logits.shape == ((8, 5, 24, 24) if axes == 2 else (1, 5, 24, 24, 8))
        for key, x in {"scribble": case.scribble, "label": case.truth}.items():
            volume = nib.load(study / f"{key}s/training_{index:03d}.nii.gz").get_fdata()
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
    assert next_strokes.add_strokes([case], lambda: iter([(0, where)]), 7, seed=0) == 7
    drawn = case.scribble != UNLABELED
    assert drawn.sum() == 7 and where[drawn].all() and (case.scribble[drawn] == mask[drawn]).all()
    before, lot = case.scribble.copy(), random.Random(0)
    slices = list(next_strokes.slices_of([case], [0], lot))
    assert sorted(np.flatnonzero(w.any((0, 1))).tolist() for _, w in slices) == [[0], [1], [2]]
    # more than one stroke a slice and class has
    assert next_strokes.add_strokes([case], lambda: next_strokes.slices_of([case], [0], lot), 400, seed=0) == 400
    assert ((case.scribble != UNLABELED) & (before == UNLABELED)).sum() == 400
    assert (case.scribble[before != UNLABELED] == before[before != UNLABELED]).all()
    full = [(0, np.zeros(mask.shape, bool))]
    with pytest.raises(ValueError, match="expected room for 3 voxels of strokes, got 0"):
        next_strokes.add_strokes([case], lambda: iter(full), 3, seed=0)


def test_deep_supervision_weighs_the_heads_by_halves():
    torch.manual_seed(0)
    options = {"kernel_size": [3] * 4, "strides": [1, 2, 2, 2], "upsample_kernel_size": [2] * 3, "deep_supr_num": 2}
    network = DeepUNet(2, 1, 3, filters=[4, 8, 16, 32], deep_supervision=True, **options)
    full = network(torch.randn(2, 1, 16, 16))
    halves, quarters = network.heads_of_batch
    assert full.shape == halves.shape == quarters.shape == (2, 3, 16, 16)
    loss = DeepSupervisionLoss(lambda logits, target: (logits * target).mean(), network)(full, 3.0)
    torch.testing.assert_close(loss, 3 * (full.mean() + halves.mean() / 2 + quarters.mean() / 4) / 1.75)
    loss.backward()
    assert all(head.conv.conv.weight.grad.any() for head in network.deep_supervision_heads)
    assert network.eval()(torch.zeros(1, 1, 16, 16)).shape == (1, 3, 16, 16)
    alone = DeepUNet(2, 1, 3, filters=[4, 8, 16, 32], **options)
    assert alone(torch.zeros(2, 1, 16, 16)).shape == (2, 3, 16, 16) and not alone.heads_of_batch
