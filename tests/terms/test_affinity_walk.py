# SPDX-License-Identifier: Apache-2.0
"""The walk against a dense matrix power, and where it ends."""

from __future__ import annotations

import itertools

import pytest
import torch

from medwsss.terms.affinity_walk import affinity_walk
from medwsss.terms.neighborhoods import GridNeighborhood, WindowNeighborhood


@pytest.mark.parametrize("size, radius", [((7,), 2), ((4, 5), 2), ((2, 3, 3), 1)])
def test_steps_are_a_matrix_power(size, radius):
    """Of T written out over all pairs of voxels."""
    torch.manual_seed(0)
    maps, guide = torch.rand(2, 3, *size).double(), torch.rand(2, 2, *size).double()
    found = affinity_walk(maps, guide, WindowNeighborhood(radius, bandwidth=0.4), steps=5)
    places = list(itertools.product(*map(range, size)))
    for b in range(2):
        w = torch.eye(len(places)).double()
        for (i, p), (j, q) in itertools.permutations(enumerate(places), 2):
            distance = sum((a - c) ** 2 for a, c in zip(p, q)) ** 0.5
            contrast = (guide[(b, slice(None), *p)] - guide[(b, slice(None), *q)]).square().sum()
            w[i, j] = torch.exp(-contrast / (2 * 0.4**2)) / distance if distance <= radius else 0
        walked = torch.linalg.matrix_power(w / w.sum(1, keepdim=True), 5) @ maps[b].flatten(1).T
        torch.testing.assert_close(found[b].flatten(1), walked.T, rtol=0, atol=1e-12)


def test_many_steps_end_in_the_mean_of_what_is_joined():
    """Weighted by row sums, 2, 3, 2 of a line of three; an edge and void let nothing pass."""
    maps = torch.tensor([[[1.0, 0, 0, 0, 1, 1]]])
    guide = torch.tensor([[[0.0, 0, 0, 99, 99, 99]]])
    exists = torch.tensor([[[True, True, True, True, True, False]]])
    found = affinity_walk(maps, guide, GridNeighborhood(bandwidth=1.0), 200, exists)
    torch.testing.assert_close(found, torch.tensor([[[2 / 7, 2 / 7, 2 / 7, 0.5, 0.5, 1]]]))
    assert torch.equal(affinity_walk(maps, guide, GridNeighborhood(bandwidth=1.0), 0), maps)
