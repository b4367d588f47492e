# SPDX-License-Identifier: Apache-2.0
"""What seeds say of an image, by numbers that one can add up."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from medwsss.study.strokes import seed_statistics

FREE = 255


def test_noise_is_that_between_neighbours_of_one_class():
    """0 … 10 wide, so 0 and 2 differ by 0.2, and 10 and 9 by 0.1; the step from one class to the other is not noise."""
    image = torch.tensor([[0.0, 2, 10, 9, 9, 5]])
    found = seed_statistics(image, torch.tensor([[0, 0, 1, 1, FREE, FREE]]), 2, [1.0])
    low, high = np.percentile(image.numpy(), (0.5, 99.5))
    assert found.noise == pytest.approx(np.median([(2 - low) / (high - low), (high - 9) / (high - low)]), abs=1e-6)
    assert found.foreground == pytest.approx(np.percentile([10, 9], (0.5, 99.5)))


def test_channels_count_together_and_each_in_its_own_range():
    """Two channels of one pattern at another scale: √2 of one."""
    one = torch.rand(1, 9, 8, generator=torch.Generator().manual_seed(0))
    seeds = torch.zeros(1, 9, 8)
    alone, both = (seed_statistics(image, seeds, 2, [1, 1]).noise for image in (one, torch.cat([one, 500 * one])))
    assert both == pytest.approx(2**0.5 * alone, rel=1e-4)


def test_a_void_band_leaves_the_others():
    image, seeds = torch.rand(1, 9, 8), torch.zeros(1, 9, 8)
    with_void = torch.cat([image, torch.full_like(image, torch.nan)])
    assert seed_statistics(with_void, seeds, 2, [1, 1]).noise == seed_statistics(image, seeds, 2, [1, 1]).noise


def test_distance_is_that_of_space():
    """One seed at the end of five voxels of 3 mm: 3, 6, 9 and 12 mm."""
    seeds = torch.tensor([[0, FREE, FREE, FREE, FREE]])
    assert seed_statistics(torch.rand(1, 5), seeds, 2, [3.0]).distance == 7.5


def test_where_there_is_nothing_nothing_is_said():
    void = torch.full((1, 4), torch.nan)
    found = seed_statistics(void, torch.full((1, 4), FREE), 2, [1.0])
    assert (found.noise, found.foreground, found.distance) == (None, None, None)
    assert seed_statistics(torch.rand(1, 4), torch.zeros(1, 4), 2, [1.0]).distance is None  # a dense mask
