# SPDX-License-Identifier: Apache-2.0
"""The compiled loops of :class:`FusedStep`.

Space is flat: a neighbour is a constant shift away, and a pair that leaves the grid has weight 0, so that 1, 2 and 3
axes are one code. Voxels are innermost, in blocks that stay in cache with all their classes; each inner loop runs over
a block's voxels and becomes vector instructions. A block reads its neighbours and writes itself only, so that threads
need no order and the result doesn't depend on their number.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from medwsss.solvers.arithmetic import exp, f32, inlined, log, safe_log
from medwsss.solvers.mirror_step import FLOOR, LARGEST, LEAST, SMALL
from medwsss.terms.simplex import EPSILON

__all__ = ["BLOCK", "CCE", "CE", "COSINE", "DOT", "QUADRATIC", "RCE", "SQUARED", "sweep"]

BLOCK = 1024  # voxels: a row of floats of 4 KiB, so that K = 21 with its neighbours fits the second-level cache
DOT, COSINE, SQUARED = range(3)
CE, RCE, CCE, QUADRATIC = range(4)
# As in the reference:
EPS, SQUARED_EPS, TINY = f32(EPSILON), f32(16 * np.finfo(f32).eps), np.finfo(f32).tiny
LEAST_LABEL, LEAST_CHANGE, LEAST_LOGIT = f32(FLOOR), f32(LEAST), f32(-80)  # e^-80 is still a normal number
SMALL_LABEL, LARGEST_CHANGE = f32(SMALL), f32(LARGEST)
# Fast-math may reorder sums and assumes that nothing is NaN or inf: input is checked, and nothing here makes any.
compiled = njit(nogil=True, cache=True, fastmath=True, error_model="numpy")


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


@inlined
def reach(shift, low, high, size):
    """The voxels of ``low … high`` that have a neighbour at ``shift``."""
    return max(low, -shift), min(high, size - shift)


@compiled
def couple(y, weights, shifts, low, high, similarity, logarithmic, norm, dots, norms, cost, curvature, radial):
    """The pairs of a block: slopes in ``p·q`` (into ``dots``) and ``‖p‖²``, curvature, energy at the first voxel."""
    classes, size = y.shape
    norm[:], dots[:], norms[:], cost[:], curvature[:], radial[:] = 0, 0, 0, 0, 0, 0
    for k in range(classes):
        p = y[k, low:high]
        for i in range(high - low):
            norm[i] += p[i] * p[i]
        for n in range(len(shifts)):
            a, b = reach(shifts[n], low, high, size)
            p, q = y[k, a:b], y[k, a + shifts[n] : b + shifts[n]]
            dot, other = dots[n, a - low : b - low], norms[n, a - low : b - low]
            for i in range(b - a):
                dot[i] += p[i] * q[i]
            if similarity != DOT:
                for i in range(b - a):
                    other[i] += q[i] * q[i]
    for n in range(len(shifts)):
        a, b = reach(shifts[n], low, high, size)
        start = a + min(shifts[n], 0)  # the weight lies at a pair's first voxel
        w = weights[n // 2, start : start + b - a]
        a, b = a - low, b - low
        pq, pp, qq = dots[n, a:b], norm[a:b], norms[n, a:b]
        e, c, r = cost[a:b], curvature[a:b], radial[a:b]
        if shifts[n] > 0:  # each pair's energy once
            for i in range(b - a):
                e[i] += w[i] * potential(similarity, logarithmic, pq[i], pp[i], qq[i])
        for i in range(b - a):
            s_pq, s_pp = slopes(similarity, logarithmic, pq[i], pp[i], qq[i])
            pq[i] = w[i] * s_pq
            c[i] -= w[i] * s_pq
            r[i] += f32(2) * w[i] * s_pp


@compiled
def predict(logits, low, high, kind, top, total, unary):
    """A block's ``σ``, the softmax of its logits, into ``unary``; for ``CE`` its ``−ln σ``."""
    top[: high - low], total[:] = logits[0, low:high], 0
    for k in range(1, len(logits)):
        x = logits[k, low:high]
        for i in range(high - low):
            top[i] = max(top[i], x[i])
    for k in range(len(logits)):
        x, u = logits[k, low:high], unary[k]
        for i in range(high - low):
            u[i] = exp(max(x[i] - top[i], LEAST_LOGIT))
            total[i] += u[i]
    for i in range(high - low):
        total[i] = f32(1) / total[i]
    for k in range(len(logits)):
        u = unary[k]
        for i in range(high - low):
            u[i] *= total[i]
        if kind == CE:
            for i in range(high - low):
                u[i] = -safe_log(u[i], EPS)


@compiled
def differentiate(y, unary, shifts, low, high, eta, kind, dots, radial, match, own, curvature, pulls, mean, total):
    """A block's gradient into ``pulls``, its mean over classes into ``mean``; adds the unary energy and curvature."""
    classes, size = y.shape
    match[:], own[:], mean[:], total[:] = 0, 0, 0, 0
    if kind == CCE:
        for k in range(classes):
            p, u = y[k, low:high], unary[k]
            for i in range(high - low):
                match[i] += p[i] * u[i]
        for i in range(high - low):
            own[i] = -log(max(match[i], EPS))
            match[i] = f32(1) / max(match[i], EPS)
    for k in range(classes):
        p, u, g = y[k, low:high], unary[k], pulls[k]
        if kind == CE:
            for i in range(high - low):
                g[i] = eta * u[i]
                own[i] += p[i] * u[i]
        elif kind == RCE:
            for i in range(high - low):
                ratio = u[i] / max(p[i], LEAST_LABEL)
                g[i] = -eta * ratio
                own[i] -= u[i] * log(max(p[i], LEAST_LABEL))
                match[i] = max(match[i], ratio)
        elif kind == CCE:
            for i in range(high - low):
                g[i] = -eta * u[i] * match[i]
        else:
            for i in range(high - low):
                g[i] = f32(2) * eta * (p[i] - u[i])
                own[i] += (p[i] - u[i]) * (p[i] - u[i])
        for n in range(len(shifts)):
            a, b = reach(shifts[n], low, high, size)
            q, slope, part = y[k, a + shifts[n] : b + shifts[n]], dots[n, a - low : b - low], g[a - low : b - low]
            for i in range(b - a):
                part[i] += slope[i] * q[i]
        for i in range(high - low):
            g[i] += radial[i] * p[i]
            share = p[i] / max(p[i], SMALL_LABEL)
            mean[i] += share * g[i]
            total[i] += share
    for i in range(high - low):
        mean[i] /= total[i]
        curvature[i] += eta * (f32(1) if kind == CE else f32(2) if kind == QUADRATIC else match[i])


@compiled
def move(y, previous, free, low, high, stride, momentum, pulls, mean, curvature, top, total, out):
    """The next ``y`` of a block into ``out``; see :class:`~medwsss.solvers.mirror_step.PlainStep`."""
    length = high - low
    top[:], total[:] = -1e30, 0
    for i in range(length):
        curvature[i] = stride / max(curvature[i], TINY)
    for k in range(len(y)):
        p, past, z = y[k, low:high], previous[k, low:high], pulls[k]
        for i in range(length):
            kept = log(max(p[i], LEAST_LABEL) / max(past[i], LEAST_LABEL))
            change = curvature[i] * (mean[i] - z[i]) / max(p[i], SMALL_LABEL)
            z[i] = min(max(change, -LARGEST_CHANGE), LARGEST_CHANGE) + momentum * kept
            top[i] = max(top[i], z[i])
    for k in range(len(y)):
        p, z = y[k, low:high], pulls[k]
        for i in range(length):
            z[i] = max(p[i], LEAST_LABEL) * exp(max(z[i] - top[i], LEAST_CHANGE))
            total[i] += z[i]
    for i in range(length):
        total[i] = f32(1) / total[i]
    for k in range(len(y)):
        p, z, may, new = y[k, low:high], pulls[k], free[low:high], out[k, low:high]
        for i in range(length):
            new[i] = max(z[i] * total[i], LEAST_LABEL) if may[i] else p[i]


@compiled
def sweep(first, last, y, previous, logits, free, weights, shifts, eta, terms, momentum, stride, out, energy):
    """The step from ``y`` into ``out`` and ``E(y)`` into ``energy`` (``B × blocks``), for blocks ``first … last``.

    ``y``, ``previous``, ``logits`` and ``out`` are ``B K N``; ``free`` is ``B N``; ``weights`` is ``B n N``, ``λ w`` of
    the pair ``(i, i + shifts[2n])`` at ``i``; ``stride`` is ``B``, 0 for a sample that is done.
    """
    classes, size = y.shape[1:]
    kind, similarity, logarithmic = terms
    # Made one by one, because rows unpacked from one array would lose their known contiguity, and loops their vectors.
    dots, norms = np.empty((len(shifts), BLOCK), np.float32), np.empty((len(shifts), BLOCK), np.float32)
    pulls, unary = np.empty((classes, BLOCK), np.float32), np.empty((classes, BLOCK), np.float32)
    norm = np.empty(BLOCK, np.float32)
    cost, curvature, radial = np.empty(BLOCK, np.float32), np.empty(BLOCK, np.float32), np.empty(BLOCK, np.float32)
    match, own = np.empty(BLOCK, np.float32), np.empty(BLOCK, np.float32)
    mean, top = np.empty(BLOCK, np.float32), np.empty(BLOCK, np.float32)
    blocks = energy.shape[1]
    for item in range(first, last):
        sample, block = item // blocks, item % blocks
        if stride[sample] == 0:
            continue
        now, past, new = y[sample], previous[sample], out[sample]
        w, may = weights[sample], free[sample]
        low, high = block * BLOCK, min(size, (block + 1) * BLOCK)
        couple(now, w, shifts, low, high, similarity, logarithmic, norm, dots, norms, cost, curvature, radial)
        predict(logits[sample], low, high, kind, top, norm, unary)
        differentiate(now, unary, shifts, low, high, eta, kind, dots, radial, match, own, curvature, pulls, mean, top)
        total = 0.0
        for i in range(high - low):
            total += cost[i] + (eta * own[i] if may[low + i] else f32(0))
        energy[sample, block] = total
        move(now, past, may, low, high, stride[sample], momentum, pulls, mean, curvature, top, norm, new)
