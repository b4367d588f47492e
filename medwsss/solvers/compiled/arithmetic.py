# SPDX-License-Identifier: Apache-2.0
"""Single-precision functions for the kernel, written so that loops over them become vectors.

The C library's are not vectorised here. They are inlined in :mod:`~medwsss.solvers.compiled.kernel` and
:mod:`~medwsss.solvers.compiled.cells`, and in Numba's cache on disk each file is watched by itself alone: after a
change here delete ``__pycache__``, or the machine code of before goes on, with other last bits.
"""

from __future__ import annotations

import numpy as np
from numba import njit, types
from numba.extending import intrinsic

__all__ = ["FASTMATH", "exp2", "f32", "fma", "inlined", "log", "log2_ratio", "safe_log"]

f32 = np.float32
#: Nothing is NaN or inf: input is checked, and nothing here makes any. Fast-math's other licences, to reorder sums and
#: to join a product and a sum where it likes, round differently in the versions that the compiler makes of a loop: for
#: the bulk of a row and for its rest, and for arrays that its checks find far apart in memory and others. Without them
#: a value's last bit depends neither on its own place nor on an array's; :func:`fma` says where they are joined.
FASTMATH = frozenset({"nnan", "ninf", "nsz"})
inlined = njit(inline="always", fastmath=set(FASTMATH), error_model="numpy")


@intrinsic
def fma(context, a, b, c):
    """``a b + c``, rounded once."""
    return types.float32(*[types.float32] * 3), lambda context, builder, signature, values: builder.fma(*values)


@inlined
def exp2(x):
    """``2^x`` for ``-126 <= x <= 126``, with a relative error below 2e-7, half of it the polynomial's.

    ``n + r`` with ``|r| <= ½``, and the polynomial with the least relative error for ``2^r`` that is 1 at 0.
    """
    n = np.floor(x + f32(0.5))
    r = x - n
    p = fma(f32(1.3264727e-3), r, f32(9.6715130e-3))
    p = fma(p, r, f32(5.5507336e-2))
    p = fma(p, r, f32(2.4022242e-1))
    p = fma(p, r, f32(6.9314700e-1))
    return fma(p, r, f32(1)) * np.int32((np.int32(n) + np.int32(127)) << np.int32(23)).view(np.float32)


@inlined
def log2_ratio(p, q):
    """``log₂(p / q)`` of normal numbers below 1e38, with a relative error below 6e-7, half of it the polynomial's.

    ``q' = 2^e q`` is within a factor of 1.51 of ``p``, so that ``s = (p − q') / (p + q')`` is at most 0.2004, and
    ``log₂(p / q') = 2/ln 2 · artanh s``; the polynomial is one in ``s²``.
    """
    bits, other = f32(p).view(np.int32), f32(q).view(np.int32)
    e = np.int32(np.int32(bits - other + np.int32(0x400000)) >> np.int32(23))  # Numba's sums of int32 are int64
    q = np.int32(other + (e << np.int32(23))).view(np.float32)
    s = (p - q) / (p + q)
    z = s * s
    return fma(s, fma(z, fma(z, f32(6.0285193e-1), f32(9.6140361e-1)), f32(2.8853910)), f32(e))


@inlined
def log(x):
    """``ln x`` for normal ``x > 0``, as above."""
    return f32(0.693147181) * log2_ratio(x, f32(1))


@inlined
def safe_log(x, eps):
    """``ln x``, continued by its tangent below ``eps``."""
    return log(max(x, eps)) + (x / eps - f32(1) if x < eps else f32(0))
