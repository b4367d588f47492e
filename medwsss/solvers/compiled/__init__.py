# SPDX-License-Identifier: Apache-2.0
"""Numba's version of the solvers' inner loops: float32 on the CPU."""

from __future__ import annotations
