# SPDX-License-Identifier: Apache-2.0
"""The thick axis is found by spacing, whatever axis of the file it is, and only where one clearly is."""

from __future__ import annotations

import numpy as np
import pytest

from medwsss.study.axes import anatomical_order, axis_order, differing_orders


@pytest.mark.parametrize(
    "shape, spacing, order",
    [
        ((24, 24, 12), (1, 1, 5), (0, 1, 2)),
        ((12, 24, 24), (5, 1, 1), (1, 2, 0)),
        ((24, 12, 24), (1, 5, 1), (0, 2, 1)),
        ((24, 24, 24), (1, 1, 1), (0, 1, 2)),
        ((24, 24, 24), (1.4, 1, 1), (0, 1, 2)),  # not clearly
        ((24, 24, 24), (1.5, 1, 1), (1, 2, 0)),
        ((24, 24, 24), (5, 5, 1), (0, 1, 2)),  # two are
        ((1, 24, 24), (1, 1, 1), (1, 2, 0)),  # one slice
        ((24, 24, 1), (3, 1, 1), (0, 1, 2)),
        ((24, 1, 1), (1, 1, 1), (0, 1, 2)),
        ((24, 24), (5, 1), (0, 1)),
        ((24,), (5,), (0,)),
    ],
)
def test_the_thick_axis_comes_last(shape, spacing, order):
    assert axis_order(shape, spacing) == order


def test_axes_of_the_patient():
    assert anatomical_order(np.diag([1, 1, 5, 1])) == (0, 1, 2)
    assert anatomical_order(np.diag([-1, -1, 5, 1])) == (0, 1, 2)
    assert anatomical_order(np.diag([1, 2, 3, 1])[:, [2, 0, 1, 3]]) == (2, 0, 1)
    c, s = np.cos(0.7), np.sin(0.7)  # 40 degrees
    assert anatomical_order([[c, -s, 0, 0], [s, c, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]) is None


def test_orders_that_differ_are_told_of():
    assert differing_orders({}) == differing_orders({(0, 1, 2): "a"}) == []
    (text,) = differing_orders({(0, 1, 2): "a.nii", (1, 2, 0): "b.nii"})
    assert "left-right x front-back x head-foot in a.nii and front-back x head-foot x left-right in b.nii" in text
