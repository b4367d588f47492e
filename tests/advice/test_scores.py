# SPDX-License-Identifier: Apache-2.0
"""Scores worked out by hand and by brute force."""

from __future__ import annotations

import math
from itertools import product

import numpy as np
import pytest
import torch

from medwsss.advice import disagreement, doubt, spread
from medwsss.advice.scores import far_from
from medwsss.terms.simplex import uncertainty


def test_uncertainty_in_numbers():
    """(½, ½, 0) has ln 2 of ln 3; a vertex has none."""
    p = torch.tensor([[1 / 3, 1 / 3, 1 / 3], [0.5, 0.5, 0], [0, 1, 0]], dtype=torch.float64).T[None]
    torch.testing.assert_close(
        uncertainty(p), torch.tensor([[1, math.log(2) / math.log(3), 0]], dtype=torch.float64), rtol=0, atol=1e-12
    )


def test_doubt_in_numbers():
    """Two sure and different opinions disagree by 1 and are not uncertain; (0.8, 0.2) and (0.5, 0.5) by 0.3."""
    y = torch.tensor([[1.0, 0.0], [0.8, 0.2], [0, 1]]).T[None]
    sigma = torch.tensor([[0.0, 1.0], [0.5, 0.5], [0, 1]]).T[None]
    torch.testing.assert_close(disagreement(y, sigma), torch.tensor([[1, 0.3, 0]]))
    entropy = -(0.8 * math.log2(0.8) + 0.2 * math.log2(0.2))
    torch.testing.assert_close(doubt(y, sigma), torch.tensor([[1 / 3, (1 + entropy + 0.3) / 3, 0]]))


def test_distance_counts_in_smallest_spacings():
    spacing, reach = (0.5, 1.0, 2.0), 3.0
    marked = np.zeros((7, 5, 4), bool)
    marked[1, 2, 0] = marked[6, 4, 3] = True
    seeds = np.argwhere(marked)
    far = far_from(marked, spacing, reach)
    for voxel in product(*map(range, marked.shape)):
        distance = min(math.dist(np.multiply(voxel, spacing), np.multiply(seed, spacing)) for seed in seeds)
        assert far[voxel] == (distance / 0.5 > reach)
    assert far_from(np.zeros((2, 2), bool), (1, 1), 4).all()  # no stroke is near


@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (1.0, 1.0, 5.0)])
def test_means_take_nothing_from_where_no_stroke_may_go(spacing):
    rng = np.random.default_rng(0)
    values, open_to = np.full((12, 10, 6), 0.25), rng.random((12, 10, 6)) < 0.6
    values[~open_to] = 9
    np.testing.assert_allclose(spread(values, open_to, spacing, 4), np.where(open_to, 0.25, 0), rtol=1e-5)


def test_a_line_counts_less_than_a_spot_and_slices_far_apart_are_apart():
    line, spot = np.zeros((21, 21, 3)), np.zeros((21, 21, 3))
    line[10, :, 1], spot[8:13, 8:13, 1] = 1, 1
    everywhere = np.ones(line.shape, bool)
    lines, spots = (spread(x, everywhere, (1, 1, 10), 4) for x in (line, spot))
    assert 0 < lines.max() < 0.5 * spots.max() and spots.argmax() == np.ravel_multi_index((10, 10, 1), spot.shape)
    assert spots[..., [0, 2]].max() < 1e-5  # ten units are five standard deviations
