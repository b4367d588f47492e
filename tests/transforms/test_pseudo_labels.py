# SPDX-License-Identifier: Apache-2.0
"""The solver as a transform, up to a file on disk."""

from __future__ import annotations

import nibabel as nib
import numpy as np
import pytest
import torch
from monai.bundle import ConfigParser
from monai.data import MetaTensor
from monai.transforms import SaveImaged

from medwsss.keys import GUIDE, PSEUDO_LABEL, SCRIBBLE, UNLABELED, VOID
from medwsss.solvers import NaturalGradient
from medwsss.terms import SelfLabelingEnergy
from medwsss.transforms import SoftPseudoLabel, SoftPseudoLabeld

K = 3
SOLVER = NaturalGradient(SelfLabelingEnergy(lam=1.0))


def case(shape):
    kinds = torch.tensor([0, 1, 2, UNLABELED, UNLABELED, UNLABELED, VOID])
    scribble = kinds[torch.randint(0, 7, (1, *shape))]
    return {"pred": torch.randn(K, *shape), GUIDE: torch.rand(1, *shape), SCRIBBLE: scribble}


def test_is_the_solvers_result(shape):
    d = case(shape)
    y = SoftPseudoLabel(SOLVER)(d["pred"], d[GUIDE], d[SCRIBBLE])
    assert torch.equal(y, SOLVER(d["pred"][None], d[GUIDE][None], d[SCRIBBLE][None]).labels[0])


def test_probabilities_and_logits_agree(shape):
    d = case(shape)
    logits = SoftPseudoLabel(SOLVER)(d["pred"], d[GUIDE], d[SCRIBBLE])
    probabilities = SoftPseudoLabel(SOLVER, probabilities=True)(d["pred"].softmax(0), d[GUIDE], d[SCRIBBLE])
    torch.testing.assert_close(probabilities, logits, rtol=1e-3, atol=1e-3)


def test_certain_probabilities(shape):
    """0 and 1 have infinite logits."""
    d = case(shape)
    sure = torch.nn.functional.one_hot(d["pred"].argmax(0), K).movedim(-1, 0).float()
    y = SoftPseudoLabel(SOLVER, probabilities=True)(sure, d[GUIDE], d[SCRIBBLE])
    assert y.isfinite().all()
    torch.testing.assert_close(y.sum(0), torch.ones(shape))


@pytest.mark.parametrize("kind", [np.asarray, torch.as_tensor, MetaTensor])
@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
def test_kinds_of_arrays(kind, dtype):
    """As LoadImage makes them: floating labels, NumPy or MetaTensor."""
    d = case((4, 5))
    y = SoftPseudoLabel(SOLVER)(*(kind(x) for x in (d["pred"], d[GUIDE], d[SCRIBBLE].to(dtype))))
    assert torch.equal(torch.as_tensor(y), SoftPseudoLabel(SOLVER)(d["pred"], d[GUIDE], d[SCRIBBLE]))


def test_logits_in_place_of_probabilities_are_refused():
    d = case((4, 5))
    with pytest.raises(ValueError, match="expected probabilities in .* are they logits"):
        SoftPseudoLabel(SOLVER, probabilities=True)(d["pred"], d[GUIDE], d[SCRIBBLE])


def test_as_a_file(tmp_path):
    """From a config, saved by MONAI where the image lies."""
    affine = torch.tensor([[0, -2.0, 0, 5], [1, 0, 0, -7], [0, 0, 3, 2], [0, 0, 0, 1]], dtype=torch.float64)
    d = case((6, 5, 4))
    d[GUIDE] = MetaTensor(d[GUIDE], affine=affine, meta={"filename_or_obj": "case_7.nii.gz"})
    solver = {"_target_": "medwsss.solvers.NaturalGradient", "energy": {"_target_": "medwsss.terms.SelfLabelingEnergy"}}
    parser = ConfigParser({"t": {"_target_": "medwsss.transforms.SoftPseudoLabeld", "keys": "pred", "solver": solver}})
    result = parser.get_parsed_content("t")(d)
    save = SaveImaged(PSEUDO_LABEL, output_dir=tmp_path, output_postfix="y", separate_folder=False, resample=False)
    save(result)
    file = nib.load(tmp_path / "case_7_y.nii.gz")
    np.testing.assert_allclose(file.affine, affine)
    np.testing.assert_allclose(np.moveaxis(file.get_fdata().squeeze(), -1, 0), result[PSEUDO_LABEL], atol=1e-6)


def test_several_predictions():
    d = case((4, 5))
    d["other"] = -d["pred"]
    result = SoftPseudoLabeld(["pred", "other"], SOLVER, output_key=["a", "b"])(d)
    alone = SoftPseudoLabel(SOLVER)
    assert torch.equal(result["a"], alone(d["pred"], d[GUIDE], d[SCRIBBLE]))
    assert torch.equal(result["b"], alone(-d["pred"], d[GUIDE], d[SCRIBBLE]))
    with pytest.raises(ValueError, match="expected an output key for each of"):
        SoftPseudoLabeld(["pred", "other"], SOLVER)
