# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.bundles.bundle import REPOSITORY
from tests.bundles.photographs import write_study


@pytest.fixture
def photographs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The data list of a study of a few pixels, seen from the root of the repository."""
    monkeypatch.chdir(REPOSITORY)
    path = write_study(tmp_path / "study") / "dataset.json"
    values = {"num_classes": 2, "ignore_value": 255, "void_value": 254}
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))
    return path
