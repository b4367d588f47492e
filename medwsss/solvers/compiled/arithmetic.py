# SPDX-License-Identifier: Apache-2.0
"""Single-precision functions for the kernel, written so that loops over them become vectors.

They are inlined in :mod:`~medwsss.solvers.compiled.kernel`, and Numba's cache on disk watches that file alone: touch
it after a change here.
"""

from __future__ import annotations

import numpy as np
from numba import njit

__all__ = ["exp", "f32", "inlined", "log", "safe_log"]

f32 = np.float32
inlined = njit(inline="always", fastmath=True, error_model="numpy")


@inlined
def exp(x):
    """``e^x`` for ``-87 < x <= 0``: Cephes' polynomial; the C library's is not vectorised here."""
    n = np.floor(x * f32(1.44269504) + f32(0.5))
    r = x - n * f32(0.693359375) + n * f32(2.12194440e-4)
    p = f32(1.9875691500e-4)
    p = p * r + f32(1.3981999507e-3)
    p = p * r + f32(8.3334519073e-3)
    p = p * r + f32(4.1665795894e-2)
    p = p * r + f32(1.6666665459e-1)
    p = p * r + f32(5.0000001201e-1)
    p = p * r * r + r + f32(1)
    return p * np.int32((np.int32(n) + np.int32(127)) << np.int32(23)).view(np.float32)


@inlined
def log(x):
    """``ln x`` for normal ``x > 0``, as above."""
    bits = f32(x).view(np.int32)
    # Split at √½, so that the mantissa is in [√½, √2).
    e = (bits - np.int32(0x3F3504F3)) >> np.int32(23)
    m = np.int32(bits - (e << np.int32(23))).view(np.float32) - f32(1)
    p = f32(7.0376836292e-2)
    p = p * m - f32(1.1514610310e-1)
    p = p * m + f32(1.1676998740e-1)
    p = p * m - f32(1.2420140846e-1)
    p = p * m + f32(1.4249322787e-1)
    p = p * m - f32(1.6668057665e-1)
    p = p * m + f32(2.0000714765e-1)
    p = p * m - f32(2.4999993993e-1)
    p = p * m + f32(3.3333331174e-1)
    z = m * m
    n = f32(e)
    return m + (p * m * z - f32(0.5) * z - n * f32(2.12194440e-4)) + n * f32(0.693359375)


@inlined
def safe_log(x, eps):
    """``ln x``, continued by its tangent below ``eps``."""
    return log(max(x, eps)) + (x / eps - f32(1) if x < eps else f32(0))
