# SPDX-License-Identifier: Apache-2.0
"""Parts cover a grid once, whatever its number of axes."""

from __future__ import annotations

import numpy as np
import pytest

from medwsss.study.windows import windows


@pytest.mark.parametrize(
    "shape, core, halo",
    [((10,), (4,), (3,)), ((100, 70), (32, 32), (5, 5)), ((9, 8, 5), (4, 8, 2), (2, 0, 1))],
)
def test_windows_cover_a_grid_once(shape, core, halo):
    count = np.zeros(shape, int)
    for window in windows(shape, core, halo):
        count[tuple(slice(*ends) for ends in window.core)] += 1
        places = np.indices(shape)[(slice(None), *(slice(*ends) for ends in window.seen))]
        for axis, ((low, high), (first, last)) in enumerate(zip(window.core, window.seen)):
            assert (first, last) == (max(low - halo[axis], 0), min(high + halo[axis], shape[axis]))
            inner = places[axis][window.inner]
            assert (inner.min(), inner.max() + 1) == (low, high)
    assert (count == 1).all()
