# SPDX-License-Identifier: Apache-2.0
"""Studies in numbers, as their headers would give them."""

from __future__ import annotations

import math
from typing import Any

from medwsss.study import Facts


def facts(shape: list[float], spacing: list[float] | None = None, **changes: Any) -> Facts:
    """Twenty images of three classes on a CPU with 16 GiB."""
    found: dict[str, Any] = {
        "images": "20 images (0123456789ab)",
        "items": 20,
        "channels": 1,
        "num_classes": 3,
        "shape": shape,
        "smallest": shape,
        "largest": shape,
        "spacing": spacing or [1.0] * len(shape),
        "turned": 0,
        "seeds": [100, 50, 50],
        "labeled": 200 / math.prod(shape),
        "distance": 9.0,
        "noise": 0.03,
        "range": [0.0, 900.0],
        "foreground": [100.0, 400.0],
        "mean": [200.0],
        "std": [80.0],
        "photographs": False,
        "hounsfield": False,
        "device": "cpu",
        "memory": 16384.0,
    }
    return Facts(**{**found, **changes})


VOLUMES = facts([36.0, 50.0, 36.0])
PHOTOGRAPHS = facts([480.0, 360.0], channels=3, photographs=True, range=[0.0, 255.0], mean=[99.0] * 3, std=[60.0] * 3)
