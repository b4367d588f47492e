# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from pathlib import Path

import pytest
import torch

SHAPES = {1: (7,), 2: (5, 4), 3: (4, 3, 5)}


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(0)


@pytest.fixture(params=[1, 2, 3], ids=["1-D", "2-D", "3-D"])
def shape(request: pytest.FixtureRequest) -> tuple[int, ...]:
    """A small grid of each dimensionality."""
    return SHAPES[request.param]


@pytest.fixture
def shared_data() -> Path:
    """The folder of real data beside the project."""
    folder = Path(__file__).parents[2] / "shared" / "data"
    if not folder.is_dir():
        pytest.skip(f"needs the real data sets in {folder}")
    return folder
