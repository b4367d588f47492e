# SPDX-License-Identifier: Apache-2.0
"""The relaxations of :mod:`medwsss.terms.relaxations` for rows of pairs in single precision.

Inlined in the kernel, as :mod:`~medwsss.solvers.compiled.arithmetic` is: touch that file after a change here.
"""

from __future__ import annotations

import numpy as np

from medwsss.solvers.compiled.arithmetic import f32, inlined, safe_log
from medwsss.solvers.compiled.fused import COSINE, SQUARED
from medwsss.terms.simplex import EPSILON

__all__ = ["EPS", "relax"]

EPS, SQUARED_EPS = f32(EPSILON), f32(16 * np.finfo(f32).eps)  # as in the reference


@inlined
def relax(similarity, logarithmic, w, pp, qq, dots, slopes, cost):
    """Adds ``w P`` of a row of pairs to ``cost``.

    ``slopes`` becomes ``−w ∂P/∂(p·q)``, which is positive, and ``dots``, which has ``p·q``, ``−w P'(r) r``.
    """
    if similarity == COSINE:
        for i in range(len(dots)):
            slopes[i] = f32(1) / np.sqrt(pp[i] * qq[i])
            dots[i] *= slopes[i]
    else:
        slopes[:] = 1
    if similarity == SQUARED:
        for i in range(len(dots)):
            dots[i] += f32(1) - f32(0.5) * (pp[i] + qq[i])
    eps = SQUARED_EPS if similarity == SQUARED else EPS
    if logarithmic:
        for i in range(len(dots)):
            r = dots[i]
            cost[i] -= w[i] * safe_log(r, eps)
            slope = w[i] / max(r, eps)
            dots[i] = slope * r
            slopes[i] *= slope
    else:
        for i in range(len(dots)):
            cost[i] += w[i] * (f32(1) - dots[i])
            dots[i] *= w[i]
            slopes[i] *= w[i]
