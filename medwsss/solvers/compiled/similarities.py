# SPDX-License-Identifier: Apache-2.0
"""The relaxations of :mod:`medwsss.terms.relaxations` for one pair in single precision.

Inlined in the kernel, as :mod:`~medwsss.solvers.compiled.arithmetic` is: touch that file after a change here.
"""

from __future__ import annotations

import numpy as np

from medwsss.solvers.compiled.arithmetic import f32, inlined, safe_log
from medwsss.terms.simplex import EPSILON

__all__ = ["COSINE", "DOT", "EPS", "SQUARED", "potential", "slopes"]

DOT, COSINE, SQUARED = range(3)
EPS, SQUARED_EPS = f32(EPSILON), f32(16 * np.finfo(f32).eps)  # as in the reference


@inlined
def similar(similarity, pq, pp, qq):
    """``r``, its derivatives in ``p·q`` and ``‖p‖²``, and where its logarithm's tangent begins."""
    if similarity == DOT:
        return pq, f32(1), f32(0), EPS
    if similarity == COSINE:
        inverse_norms = f32(1) / np.sqrt(pp * qq)
        return pq * inverse_norms, inverse_norms, f32(-0.5) * pq * inverse_norms / pp, EPS
    return f32(1) - f32(0.5) * (pp + qq) + pq, f32(1), f32(-0.5), SQUARED_EPS


@inlined
def potential(similarity, logarithmic, pq, pp, qq):
    """``P``."""
    r, _, _, eps = similar(similarity, pq, pp, qq)
    return -safe_log(r, eps) if logarithmic else f32(1) - r


@inlined
def slopes(similarity, logarithmic, pq, pp, qq):
    """The derivatives of ``P`` in ``p·q`` and ``‖p‖²``."""
    r, r_pq, r_pp, eps = similar(similarity, pq, pp, qq)
    s = f32(-1) / max(r, eps) if logarithmic else f32(-1)
    return s * r_pq, s * r_pp
