# SPDX-License-Identifier: Apache-2.0
"""The blur of the vertices in use against one of the whole grid."""

from __future__ import annotations

import math

import pytest
import torch

from medwsss.terms.grid_blur import ROWS, GridBlur


@pytest.mark.parametrize("others", [(), (4,), (3, 5)])
@pytest.mark.parametrize("rows", [1, ROWS, 2 * ROWS + 3])
def test_blur_of_what_is_in_use_is_that_of_the_whole_grid(rows, others):
    generator = torch.Generator().manual_seed(0)
    sizes = (rows, 9, *others)
    apart = (torch.arange(rows)[:, None] - torch.arange(rows)).abs()
    blurs = [torch.rand(n, n, dtype=torch.float64, generator=generator) for n in sizes]
    blurs[0] *= apart <= 4  # of a kernel that ends
    used = torch.rand(sizes[:2], generator=generator) < 0.3
    used[0, 3] = True
    blur = GridBlur(blurs, [places[None] for places in used.nonzero().T])  # one corner each
    values = torch.rand(*sizes, 2, dtype=torch.float64, generator=generator)
    values[~used] = 0
    whole = values
    for axis, matrix in enumerate(blurs):
        whole = torch.tensordot(matrix, whole, dims=([1], [axis])).movedim(0, axis)
    grid = values.new_zeros(blur.vertices, 2)
    count = int(used.sum()) * math.prod(others)  # behind them is one pair more, of nobody
    grid[:count] = values[used].flatten(0, -2)
    torch.testing.assert_close(blur(grid)[:count], whole[used].flatten(0, -2))


def test_pairs_of_corners_are_in_use_together():
    """Voxels at (0, 1) and (2, 0), with a share in the next vertex of either axis: two squares of four pairs."""
    vertices = [torch.tensor([[0, 2], [1, 3]]), torch.tensor([[1, 0], [2, 1]])]
    blur = GridBlur([torch.eye(4), torch.eye(3)], vertices)
    assert blur.pairs.tolist() == [[8, 0, 1], [8, 2, 3], [4, 5, 8], [6, 7, 8]]
    assert blur.vertices == 9
