# SPDX-License-Identifier: Apache-2.0
"""From score maps to labels, seeds and priors, by hand; and what is written is what is read."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
import torch
from monai.transforms import Compose, LoadImaged
from PIL import Image

from medwsss.keys import UNLABELED, VOID
from medwsss.study.readers import StudyReader
from medwsss.study.seeds import seed_files
from medwsss.terms.activation_maps import label_map, prior_map, seed_map
from medwsss.terms.neighborhoods import GridNeighborhood
from medwsss.terms.prior import with_prior
from medwsss.transforms import AffinityWalkd, BlankLabeld, CamToLabeld, CamToSeedsd, SaveSeedsd, ScoresToCamd

#: r is (0, ¼, ½, 1) of the first tag, (1, ½, 0, 0) of the second, whose image's score is negative
SCORES = torch.tensor([[-1.0, 1.0, 2.0, 4.0], [1.0, 0.5, -4.0, -4.0]])


def cam(**options):
    case = {"pred": SCORES, "tags": torch.tensor([1.0, 1.0])} | options.pop("case", {})
    return ScoresToCamd(**options)(case)


def test_classes_of_a_negative_score_are_not_there():
    out = cam()
    assert out["cam"].tolist() == [[0, 0.25, 0.5, 1], [0] * 4] and out["present"].tolist() == [True, False]
    assert out["tag_scores"].tolist() == [1.5, -1.625]


def test_tags_are_looked_at_if_asked_for_where_they_are_known():
    assert cam(use_tags=True)["cam"][1].tolist() == [1, 0.5, 0, 0]
    assert cam(use_tags=True, case={"tags": torch.tensor([0.0, math.nan])})["present"].tolist() == [False, False]


def test_what_is_void_has_no_say():
    scribble = torch.tensor([[UNLABELED, UNLABELED, UNLABELED, VOID]])
    assert cam(case={"scribble": scribble})["cam"][0].tolist() == [0, 0.5, 1, 0]


def test_a_channel_of_the_background_is_left_out():
    assert cam(background_channel=True, case={"pred": torch.cat((9 * SCORES[:1], SCORES))})["cam"].shape == (2, 4)


def test_labels_at_a_background_score():
    maps = cam(use_tags=True)
    assert CamToLabeld(alpha=0.3)(maps)["pred"].tolist() == [[2, 2, 1, 1]]
    assert CamToLabeld(alpha=0.6)(maps)["pred"].tolist() == [[2, 0, 0, 1]]
    assert CamToLabeld(background=False)(maps)["pred"].tolist() == [[1, 1, 0, 0]]
    assert label_map(torch.tensor([[[0.4, 0.6]]]), "power", 1.0).flatten().tolist() == [0, 1]


def test_seeds_are_where_one_map_is_sure():
    maps = torch.tensor([[[0.0, 0.3, 0.7, 0.7], [0.01, 0.0, 0.65, 0.1]]])
    there = torch.tensor([[True, True]])
    assert seed_map(maps, there).flatten().tolist() == [UNLABELED, UNLABELED, UNLABELED, 1]
    assert seed_map(maps, there, low=0.01).flatten().tolist() == [0, UNLABELED, UNLABELED, 1]
    assert seed_map(maps, there, 0.66, 0.3).flatten().tolist() == [0, 0, 1, 1]
    assert seed_map(maps, there, background=False).flatten().tolist() == [UNLABELED, UNLABELED, UNLABELED, 0]


@pytest.mark.parametrize(
    "present, low, seed", [((0, 0), None, 0), ((0, 0), 0.1, 0), ((1, 0), None, UNLABELED), ((1, 0), 0.1, UNLABELED)]
)
def test_an_empty_map_is_background_where_nothing_is_there(present, low, seed):
    """And an object that a map has missed may be anywhere."""
    assert set(seed_map(torch.zeros(1, 2, 3), torch.tensor([present]).bool(), 0.4, low).flatten().tolist()) == {seed}


def test_priors_are_distributions_without_what_is_not_there():
    """((1 − ½)^α, ½, ·) at α = 1, each with 0.01 more: 0.51, 0.51 and nothing for the tag that is not there."""
    maps = torch.tensor([[[0.5, 0.0], [0.0, 0.0]]])
    prior = prior_map(maps, torch.tensor([[True, False]]), alpha=1.0)
    assert prior[0, :, 0].tolist() == pytest.approx([0.5, 0.5, 0])
    assert prior[0, :, 1].tolist() == pytest.approx([1.01 / 1.02, 0.01 / 1.02, 0])
    alone = prior_map(maps, torch.tensor([[False, False]]), background=False)
    assert (alone == 0.5).all()  # nobody knows


def test_priors_beside_logits():
    """σ π^κ / Σ: (¾, ¼) and (0.2, 0.8) give 0.15 to 0.2; at κ = 2, 0.03 to 0.16; of 0 a class is out."""
    logits = torch.tensor([[[0.75], [0.25]]]).log()
    prior = torch.tensor([[[1.0], [4.0]]])
    assert with_prior(logits, prior).softmax(1).flatten().tolist() == pytest.approx([3 / 7, 4 / 7])
    assert with_prior(logits, prior, 2.0).softmax(1).flatten().tolist() == pytest.approx([3 / 19, 16 / 19])
    out = with_prior(logits.half(), torch.tensor([[[0.0], [1.0]]]))
    assert out.isfinite().all() and out.softmax(1)[0, 0].item() < 1e-8
    assert torch.equal(with_prior(logits, None), logits) and torch.equal(with_prior(logits, prior, 0.0), logits)
    for wrong in (torch.ones(1, 3, 1), -prior, prior * math.nan):
        with pytest.raises(ValueError, match="expected a prior"):
            with_prior(logits, wrong)


def test_a_walk_carries_maps_to_the_edge():
    """From (1, 0, 0 | 0) over a body of three, whose row sums are 2, 3 and 2, to (1, 1, 1 | 0); void is left out."""
    case = {"cam": torch.tensor([[1.0, 0, 0, 0]]), "guide": torch.tensor([[0.0, 0, 0, 9]])}
    walk = AffinityWalkd(GridNeighborhood(bandwidth=1.0), steps=200)
    torch.testing.assert_close(walk(case)["cam"], torch.tensor([[1.0, 1, 1, 0]]))
    case["scribble"] = torch.tensor([[UNLABELED, UNLABELED, VOID, UNLABELED]])
    torch.testing.assert_close(walk(case)["cam"], torch.tensor([[1.0, 1, 0, 0]]))
    assert AffinityWalkd(GridNeighborhood(), steps=0)(case)["cam"] is case["cam"]
    volume = {"cam": torch.tensor([[[1.0, 0], [0, 0], [0, 0]]]), "guide": torch.zeros(1, 3, 2)}
    slices = AffinityWalkd(GridNeighborhood(bandwidth=1.0), steps=200, slice_axis=1)(volume)["cam"]
    torch.testing.assert_close(slices, torch.tensor([[[1.0, 0], [1, 0], [1, 0]]]))
    whole = AffinityWalkd(GridNeighborhood(bandwidth=1.0), steps=200)(volume)["cam"]
    assert (whole > 0.5).all()
    with pytest.raises(ValueError, match="expected steps >= 0, got -1"):
        AffinityWalkd(GridNeighborhood(), steps=-1)


@pytest.mark.parametrize("low, foreground", [(0.6, 0.6), (0.1, 1.1), (-0.1, 0.5)])
def test_thresholds_have_an_order(low, foreground):
    with pytest.raises(ValueError, match="expected 0 <= low"):
        CamToSeedsd(foreground=foreground, low=low)


def test_seeds_are_read_as_they_were_written(tmp_path):
    """In the values of the list, on the grid of the image, with void."""
    Image.fromarray(np.arange(24, dtype=np.uint8).reshape(4, 6)).save(tmp_path / "a.png")
    labels = {"labels": {"7": "background", "8": "cat"}, "training": [{"image": "a.png", "tags": ["cat"]}]}
    (tmp_path / "dataset.json").write_text(json.dumps(labels))
    load = Compose([LoadImaged("image", reader=StudyReader, ensure_channel_first=True), BlankLabeld()])
    case = load({"image": str(tmp_path / "a.png"), "case": "a"})
    assert case["scribble"].unique().tolist() == [UNLABELED]
    case["scribble"][0, 0, 0] = VOID
    case |= {"cam": case["image"].as_tensor() / 23, "present": torch.tensor([True])}
    case = CamToSeedsd(foreground=0.9, low=0.1)(case)
    SaveSeedsd(folder=tmp_path / "out", datalist=tmp_path / "dataset.json")(case)
    scribble, priors = seed_files(tmp_path / "out", {"image": "a.png", "case": "a"}, 2)
    read = LoadImaged(["scribble", "prior"], reader=StudyReader, ensure_channel_first=True)(
        {"scribble": str(scribble), "prior": [str(file) for file in priors]}
    )
    values = {0: 7, 1: 8, UNLABELED: 255, VOID: 254}
    assert read["scribble"].flatten().tolist() == [values[int(k)] for k in case["scribble"].flatten()]
    assert set(values.values()) == set(read["scribble"].unique().tolist())
    torch.testing.assert_close(read["prior"].as_tensor(), case["prior"].float())
