# SPDX-License-Identifier: Apache-2.0
"""Where the next strokes help most, by what a finished run is unsure of."""

from __future__ import annotations

from medwsss.advice.regions import find_regions
from medwsss.advice.scores import disagreement, doubt, spread

__all__ = ["disagreement", "doubt", "find_regions", "spread"]
