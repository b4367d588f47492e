# SPDX-License-Identifier: Apache-2.0
"""The solvers' inner loops in float32, by Numba on the CPU, and their step by Triton on CUDA."""

from __future__ import annotations
