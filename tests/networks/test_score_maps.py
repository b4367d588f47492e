# SPDX-License-Identifier: Apache-2.0
"""Networks of tags: a score map is a weighted sum of features, and the second view comes back in place."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from medwsss.networks import MobileNetV2, ResidualEncoder, ScoreMaps, Siamese


@pytest.mark.parametrize("spatial_dims, shape", [(1, (16,)), (2, (16, 24)), (3, (8, 16, 8))])
def test_maps_are_weighted_sums_of_features(spatial_dims, shape):
    backbone = ResidualEncoder(spatial_dims, 2, [4, 6], [2, 4])
    network = ScoreMaps(backbone, 6, 3, spatial_dims).eval()
    x = torch.randn(2, 2, *shape, generator=torch.Generator().manual_seed(0))
    features = backbone(x)
    assert features.shape == (2, 6, *(n // 8 for n in shape))
    expected = torch.einsum("ck,bk...->bc...", network.head.weight.flatten(1), features)
    torch.testing.assert_close(network(x), expected)


def test_the_last_of_several_features_counts():
    network = ScoreMaps(MobileNetV2(2, 3), 320, 2).eval()
    assert network(torch.zeros(1, 3, 64, 64)).shape == (1, 2, 2, 2)


def test_each_channel_has_its_stride():
    with pytest.raises(ValueError, match="a stride for each"):
        ResidualEncoder(2, 1, [4, 8], [2])


@pytest.mark.parametrize("flip", [None, 0, 1])
def test_views_of_an_equivariant_network_agree(flip):
    """Of one that averages cells of 4² pixels, and an image of which half as large a view shows the same means."""
    network = nn.AvgPool2d(4)
    x = torch.randn(2, 1, 4, 6, generator=torch.Generator().manual_seed(0))
    x = x.repeat_interleave(8, 2).repeat_interleave(8, 3)
    siamese = Siamese(network, zoom=0.5, flip=flip).train()
    maps, second = siamese(x).chunk(2)
    torch.testing.assert_close(maps, network(x))
    # what is back is that of the small view, at its cells' centres between two of the large one
    middle = second[:, :, 1:-1, 1:-1].unfold(2, 2, 2).unfold(3, 2, 2).mean((4, 5))
    large = maps[:, :, 1:-1, 1:-1].unfold(2, 2, 2).unfold(3, 2, 2).mean((4, 5))
    torch.testing.assert_close(middle, large)
    siamese.eval()
    assert torch.equal(siamese(x), maps)


def test_a_view_has_a_size():
    with pytest.raises(ValueError, match="zoom"):
        Siamese(nn.Identity(), zoom=0)
