# SPDX-License-Identifier: Apache-2.0
"""A bundle takes images of its channels and its range; of others it says what would fit, before work starts."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch

from medwsss.study import StudySummary, check_images
from medwsss.study.intensities import fits_eight_bits, rounded, usual_range


def study(*ranges, channels=3):
    named = {f"image{i}.tif": value for i, value in enumerate(ranges)}
    return StudySummary(2, channels=channels, shape=((9, 9), (9, 9)), ranges=named)


@pytest.mark.parametrize(
    ("ranges", "expected"),
    [
        ([(3, 250), (0, 255)], [0, 255]),
        ([(0, 20)], [0, 255]),  # night
        ([(0, 250), (7, 7)], [0, 255]),  # a picture of one colour
        ([(0.03, 0.97)], [0, 1]),
        ([(120, 9600)], [0, 10000]),
        ([(-30, 1)], [-30, 0]),
        ([(40, 12000)], [0, 10000]),  # clouds
        ([], [0, 255]),
    ],
)
def test_accepted(ranges, expected):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert check_images(study(*ranges), 3, [2], expected).channels == 3


@pytest.mark.parametrize(
    ("ranges", "expected", "told"),
    [
        ([(0.03, 0.97)], [0, 255], r"about 0 to 255 .*got 0.03 in image0.tif.*--intensity_range '\[0.03,0.97\]' would"),
        ([(0, 1)], [0, 255], r"\[0,1\]"),  # 0 and 1 are whole numbers
        ([(0, 250), (120, 9600)], [0, 255], r"9600 in image1.tif; --intensity_range '\[0,9600\]'"),
        ([(0, 4000)], [0, 255], "4000"),  # 12 bits
        ([(0, 1020)], [0, 255], "1020"),  # 10 bits
        ([(-1000, 200)], [0, 255], r"-1000 in image0.tif.*\[-1000,200\]"),
        ([(3, 250)], [0, 10000], "250"),  # photographs with a range of reflectances
        ([(3, 250)], [0, 1], "250"),
        ([(0, 9)], [9, 0], "two numbers, the smaller one first"),
        ([(0, 9)], [0, 1, 2], "two numbers"),
        ([(0, 9)], 255, "two numbers"),
    ],
)
def test_refused(ranges, expected, told):
    with pytest.raises(ValueError, match=told):
        check_images(study(*ranges), 3, [2], expected)


def test_an_image_of_another_range_than_the_others_is_named():
    with pytest.warns(UserWarning, match="got 0 to 1 in image1.tif and as little in 1 more"):
        check_images(study((0, 255), (0, 1), (0, 2)), 3, [2], [0, 255])


def test_channels():
    with pytest.raises(ValueError, match=r"images of 3 channels, got 1: --in_channels 1"):
        check_images(study((0, 255), channels=1), 3, [2])
    assert check_images(study((0, 9999)), 3, [2])  # by percentiles: any range


def test_usual_range():
    """Percentiles of what exists; of a large image, of every so manieth voxel."""
    values = np.arange(1001.0)
    assert usual_range(values) == (5.0, 995.0)
    assert usual_range(np.append(values, [np.nan] * 500)) == (5.0, 995.0)
    assert usual_range(np.full(3, np.nan)) is None
    assert usual_range(torch.linspace(0, 1, 3_000_001)) == pytest.approx((0.005, 0.995), abs=1e-5)


@pytest.mark.parametrize(
    ("values", "fits"),
    [([0, 255], True), ([0, 7, torch.nan], True), ([0, 0.5], False), ([-1, 3], False), ([0, 256], False)],
)
def test_eight_bits(values, fits):
    assert fits_eight_bits(torch.tensor(values, dtype=torch.float32)) == fits


@pytest.mark.parametrize(
    ("ranges", "expected"),
    [([(37, 8911), (112, 9421.5)], [0, 9500]), ([(0.031, 0.97)], [0.03, 0.97]), ([(-30.2, 0.3)], [-31, 1]),
     ([(5, 5)], [5, 6]), ([(0, 65535)], [0, 66000]), ([(1e-9, 3e-9)], [1e-9, 3e-9])],
)  # fmt: skip
def test_rounded(ranges, expected):
    assert rounded(ranges) == expected
