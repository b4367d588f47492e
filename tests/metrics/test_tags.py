# SPDX-License-Identifier: Apache-2.0
"""Figures of tags and of activation maps, by hand and against scikit-learn."""

from __future__ import annotations

import math

import pytest
import torch

from medwsss.keys import UNLABELED
from medwsss.metrics import ActivatedMetric, BackgroundSweepMetric, MeanIoUMetric, TagAUCMetric
from medwsss.terms.activation_maps import label_map


def test_areas_against_scikit_learn():
    sklearn = pytest.importorskip("sklearn.metrics")
    generator = torch.Generator().manual_seed(0)
    scores = torch.randn(40, 3, generator=generator).round(decimals=1)  # with ties
    tags = (torch.rand(40, 3, generator=generator) < 0.4).float()
    tags[torch.rand(40, 3, generator=generator) < 0.2] = math.nan
    tags[:, 2] = 1  # of which nothing tells
    metric = TagAUCMetric()
    for some in torch.arange(40).split(7):
        metric(scores[some], tags[some])
    areas = metric.get_buffer()[0]
    known = [~tags[:, c].isnan() for c in range(2)]
    expected = [sklearn.roc_auc_score(tags[k, c], scores[k, c]) for c, k in enumerate(known)]
    assert areas[:2].tolist() == pytest.approx(expected, abs=1e-6) and areas[2].isnan()
    assert metric.aggregate().item() == pytest.approx(sum(expected) / 2, abs=1e-6)


def test_empty_maps_of_tags_that_are_there_are_counted():
    metric = ActivatedMetric()
    metric(torch.tensor([[[0.0, 0.2], [0.0, 0.0]]]), torch.tensor([[1.0, 1.0]]))
    metric(torch.tensor([[[0.0, 0.0], [1.0, 0.0]]]), torch.tensor([[0.0, math.nan]]))
    assert metric.get_buffer()[0].tolist() == [1, 0] and metric.get_buffer()[1].isnan().all()
    assert metric.aggregate().item() == 0.5


def test_the_best_background_score_is_an_oracle():
    """Against trying each: the metric is the largest mIoU, over all images at once."""
    generator = torch.Generator().manual_seed(0)
    maps = torch.rand(6, 2, 5, 4, generator=generator) ** 2
    truth = torch.randint(0, 3, (6, 1, 5, 4), generator=generator)
    truth[0, 0, 0] = UNLABELED
    sweep, best = BackgroundSweepMetric(3), []
    for some in torch.arange(6).split(2):
        sweep(list(maps[some]), list(truth[some]))
    for score in sweep.scores:
        metric = MeanIoUMetric(3)
        metric(label_map(maps, "constant", score), truth)
        best.append(metric.aggregate().item())
    assert sweep.aggregate().item() == pytest.approx(max(best))
    assert sweep.best_score == sweep.scores[best.index(max(best))] and 0 < best.index(max(best))
