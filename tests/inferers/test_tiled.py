# SPDX-License-Identifier: Apache-2.0
"""Tiles say of each pixel what the whole image would, where the network sees no further than a tile."""

from __future__ import annotations

import pytest
import torch

from medwsss.inferers import MultiScaleInferer, TiledInferer


@pytest.mark.parametrize("shape", [(40,), (33, 47), (13, 11, 17)])
def test_tiles_make_the_whole(shape):
    seen = []

    def network(x):
        seen.append(tuple(x.shape[2:]))
        return torch.cat([x, 1 - x], 1)

    image = torch.rand(1, 1, *shape, generator=torch.Generator().manual_seed(0))
    tile = (8,) * len(shape)
    whole = MultiScaleInferer()(image, network)
    tiled = TiledInferer(MultiScaleInferer(), tile, largest=8 ** len(shape))(image, network)
    torch.testing.assert_close(tiled, whole)
    assert set(seen[1:]) == {tile}


def test_up_to_a_size_the_image_is_not_cut():
    sizes = []
    tiled = TiledInferer(MultiScaleInferer(), [4, 4], largest=64)
    for size in ((8, 8), (8, 9)):
        tiled(torch.zeros(1, 1, *size), lambda x: sizes.append(tuple(x.shape[2:])) or x)
    assert sizes[0] == (8, 8) and set(sizes[1:]) == {(4, 4)}


@pytest.mark.parametrize("tile", [[0, 8], [9, 8]])
def test_refused(tile):
    with pytest.raises(ValueError, match="expected tiles of at most 64 voxels"):
        TiledInferer(MultiScaleInferer(), tile, largest=64)
