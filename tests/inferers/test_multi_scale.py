# SPDX-License-Identifier: Apache-2.0
"""Scales and mirrors are averaged as probabilities, and nothing is shifted on the way."""

from __future__ import annotations

import pytest
import torch

from medwsss.inferers import MultiScaleInferer


def image(*shape):
    return torch.rand(2, 3, *shape, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("shape", [(9,), (9, 7), (5, 9, 7)])
def test_plain_is_the_softmax(shape):
    x = image(*shape)
    torch.testing.assert_close(MultiScaleInferer()(x, lambda x: 4 * x), (4 * x).softmax(1))


def test_scales_and_sizes():
    seen = []

    def network(x):
        seen.append(tuple(x.shape[2:]))
        return x

    out = MultiScaleInferer([0.5, 1.0, 1.5], flip=True, multiple_of=4)(image(20, 14), network)
    assert seen == [(8, 8)] * 2 + [(20, 16)] * 2 + [(32, 20)] * 2  # 10, 7 · 20, 14 · 30, 21 to multiples; ties to even
    assert out.shape == (2, 3, 20, 14)
    torch.testing.assert_close(out.sum(1), torch.ones(2, 20, 14))


def test_flip_is_undone_and_averaged():
    """A network that knows left from right: the mean of its answer and its mirrored answer."""
    x = image(6, 5)
    ramp = torch.linspace(-1, 1, 6).view(1, 1, 6, 1)

    def network(x):
        return torch.cat([x[:, :1] + ramp, x[:, 1:2]], 1)

    a = network(x).softmax(1)
    b = torch.cat([x[:, :1] - ramp, x[:, 1:2]], 1).softmax(1)  # the ramp alone is mirrored, the image is not
    torch.testing.assert_close(MultiScaleInferer(flip=True)(x, network), (a + b) / 2)


def test_half_scale_is_not_shifted():
    """Pixels repeated twice: half the scale sees each once, and interpolation is symmetric about their centres."""
    small = image(6, 5)
    large = small.repeat_interleave(2, 2).repeat_interleave(2, 3)
    out = MultiScaleInferer([0.5])(large, lambda x: torch.testing.assert_close(x, small) or x)
    turned = MultiScaleInferer([0.5])(large.flip(2, 3), lambda x: x).flip(2, 3)
    torch.testing.assert_close(out, turned)


@pytest.mark.parametrize("size", [(1, 1), (1, 9)])
def test_least_images(size):
    network = torch.nn.Conv2d(3, 2, 8, stride=8)

    def whole(x):
        return torch.nn.functional.interpolate(network(x), x.shape[2:])

    assert MultiScaleInferer([0.25], multiple_of=8)(image(*size), whole).shape == (2, 2, *size)


@pytest.mark.parametrize("options", [{"scales": []}, {"scales": [0.5, 0]}, {"multiple_of": 0}])
def test_refused(options):
    with pytest.raises(ValueError, match="expected"):
        MultiScaleInferer(**options)
