# SPDX-License-Identifier: Apache-2.0
"""Strokes from the files of the tools that people draw them with."""

from __future__ import annotations

from medwsss.annotations.geometry import Absent
from medwsss.annotations.strokes import ENDINGS, Stroked, read_strokes

__all__ = ["ENDINGS", "Absent", "Stroked", "read_strokes"]
