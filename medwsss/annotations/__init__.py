# SPDX-License-Identifier: Apache-2.0
"""Strokes from the files of the tools that people draw them with."""

from __future__ import annotations

from medwsss.annotations.strokes import Stroked, read_strokes

__all__ = ["Stroked", "read_strokes"]
