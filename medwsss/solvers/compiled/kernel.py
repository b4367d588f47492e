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

from medwsss.solvers import limits
from medwsss.solvers.compiled.arithmetic import exp, f32, inlined, log, safe_log
from medwsss.solvers.compiled.similarities import DOT, EPS, potential, slopes

__all__ = ["BLOCK", "CCE", "CE", "QUADRATIC", "RCE", "sweep"]

BLOCK = 1024  # voxels: a row of floats of 4 KiB, so that K = 21 with its neighbours fits the second-level cache
CE, RCE, CCE, QUADRATIC = range(4)
# As in the reference:
TINY = np.finfo(f32).tiny
LEAST_LABEL, LEAST_CHANGE, LEAST_LOGIT = f32(limits.LABEL_FLOOR), f32(limits.LARGEST_LOSS), f32(-80)  # e^-80 is normal
SMALL_LABEL, LARGEST_CHANGE = f32(limits.SMALL_LABEL), f32(limits.LARGEST_CHANGE)
# What is called from a compiled function is inlined in it: with machine code of its own it would round differently in
# the process that compiles than in those that load the result from the cache.
# Fast-math may reorder sums and assumes that nothing is NaN or inf: input is checked, and nothing here makes any.
compiled = njit(nogil=True, cache=True, fastmath=True, error_model="numpy")


@inlined
def reach(shift, low, high, size):
    """The voxels of ``low … high`` that have a neighbour at ``shift``."""
    return max(low, -shift), min(high, size - shift)


@inlined
def multiply(y, shifts, low, high, similarity, norm, dots, norms):
    """``‖y_i‖²`` of a block into ``norm``; ``y_i·y_j`` and ``‖y_j‖²`` of its neighbours into ``dots`` and ``norms``."""
    norm[:], dots[:], norms[:] = 0, 0, 0
    for k in range(len(y)):
        p = y[k, low:high]
        for i in range(high - low):
            norm[i] += p[i] * p[i]
        for n in range(len(shifts)):
            a, b = reach(shifts[n], low, high, y.shape[1])
            p, q = y[k, a:b], y[k, a + shifts[n] : b + shifts[n]]
            dot, other = dots[n, a - low : b - low], norms[n, a - low : b - low]
            for i in range(b - a):
                dot[i] += p[i] * q[i]
            if similarity != DOT:
                for i in range(b - a):
                    other[i] += q[i] * q[i]


@inlined
def charge(weights, shifts, low, high, similarity, logarithmic, norm, dots, norms, cost):
    """The energy of a block's pairs, at the first voxel of each, into ``cost``."""
    cost[:] = 0
    for n in range(len(weights)):
        a, b = reach(shifts[n], low, high, weights.shape[1])
        w = weights[n, a:b]
        a, b = a - low, b - low
        pq, pp, qq, e = dots[n, a:b], norm[a:b], norms[n, a:b], cost[a:b]
        for i in range(b - a):
            e[i] += w[i] * potential(similarity, logarithmic, pq[i], pp[i], qq[i])


@inlined
def couple(weights, shifts, low, high, similarity, logarithmic, norm, dots, norms, curvature, radial):
    """The slopes of a block's pairs in ``p·q`` (into ``dots``) and ``‖p‖²``, and their curvature."""
    curvature[:], radial[:] = 0, 0
    for n in range(len(shifts)):
        a, b = reach(shifts[n], low, high, weights.shape[1])
        start = a + min(shifts[n], 0)  # the weight lies at a pair's first voxel
        w = weights[n % len(weights), start : start + b - a]
        a, b = a - low, b - low
        pq, pp, qq, c, r = dots[n, a:b], norm[a:b], norms[n, a:b], curvature[a:b], radial[a:b]
        for i in range(b - a):
            s_pq, s_pp = slopes(similarity, logarithmic, pq[i], pp[i], qq[i])
            pq[i] = w[i] * s_pq
            c[i] -= w[i] * s_pq
            r[i] += f32(2) * w[i] * s_pp


@inlined
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


@inlined
def compare(y, unary, low, high, kind, match, own):
    """A block's unary energy into ``own``; what curves it, ``1 / y·σ`` or the greatest ``σ/y``, into ``match``."""
    match[:], own[:] = 0, 0
    for k in range(len(y)):
        p, u = y[k, low:high], unary[k]
        if kind == CE:
            for i in range(high - low):
                own[i] += p[i] * u[i]
        elif kind == RCE:
            for i in range(high - low):
                own[i] -= u[i] * log(max(p[i], LEAST_LABEL))
                match[i] = max(match[i], u[i] / max(p[i], LEAST_LABEL))
        elif kind == CCE:
            for i in range(high - low):
                match[i] += p[i] * u[i]
        else:
            for i in range(high - low):
                own[i] += (p[i] - u[i]) * (p[i] - u[i])
    if kind == CCE:
        for i in range(high - low):
            own[i] = -log(max(match[i], EPS))
            match[i] = f32(1) / max(match[i], EPS)


@inlined
def differentiate(y, unary, shifts, low, high, eta, kind, dots, radial, match, curvature, pulls, mean, total):
    """A block's gradient into ``pulls``, its mean over classes into ``mean``; adds the unary curvature."""
    classes, size = y.shape
    mean[:], total[:] = 0, 0
    for k in range(classes):
        p, u, g = y[k, low:high], unary[k], pulls[k]
        if kind == CE:
            for i in range(high - low):
                g[i] = eta * u[i]
        elif kind == RCE:
            for i in range(high - low):
                g[i] = -eta * u[i] / max(p[i], LEAST_LABEL)
        elif kind == CCE:
            for i in range(high - low):
                g[i] = -eta * u[i] * match[i]
        else:
            for i in range(high - low):
                g[i] = f32(2) * eta * (p[i] - u[i])
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


@inlined
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
def sweep(first, last, y, previous, logits, free, weights, shifts, eta, terms, course, out, energy):
    """``E(y)`` into ``energy`` (``B × blocks``) and, to ``look_on``, the step from ``y`` into ``out``.

    For blocks ``first … last``. ``y``, ``previous``, ``logits`` and ``out`` are ``B K N``; ``free`` is ``B N``;
    ``weights`` is ``B n N``, ``λ w`` of the pair ``(i, i + shifts[n])`` at ``i``; the second half of ``shifts`` is
    minus the first. ``course`` is the momentum, the stride (``B``, 0 for a sample that is done), and ``look_on``.
    """
    classes, size = y.shape[1:]
    kind, similarity, logarithmic = terms
    momentum, stride, look_on = course
    # Made one by one, because rows unpacked from one array would lose their known contiguity, and loops their vectors.
    dots, norms = np.empty((len(shifts), BLOCK), np.float32), np.empty((len(shifts), BLOCK), np.float32)
    pulls, unary = np.empty((classes, BLOCK), np.float32), np.empty((classes, BLOCK), np.float32)
    norm = np.empty(BLOCK, np.float32)
    cost, curvature, radial = np.empty(BLOCK, np.float32), np.empty(BLOCK, np.float32), np.empty(BLOCK, np.float32)
    match, own = np.empty(BLOCK, np.float32), np.empty(BLOCK, np.float32)
    mean, top = np.empty(BLOCK, np.float32), np.empty(BLOCK, np.float32)
    blocks = energy.shape[1]
    seen = shifts if look_on else shifts[: len(shifts) // 2]  # for the energy each pair once
    for item in range(first, last):
        sample, block = item // blocks, item % blocks
        if stride[sample] == 0:
            continue
        now, w, may = y[sample], weights[sample], free[sample]
        low, high = block * BLOCK, min(size, (block + 1) * BLOCK)
        predict(logits[sample], low, high, kind, top, norm, unary)
        compare(now, unary, low, high, kind, match, own)
        multiply(now, seen, low, high, similarity, norm, dots, norms)
        charge(w, seen, low, high, similarity, logarithmic, norm, dots, norms, cost)
        total = 0.0
        for i in range(high - low):
            total += cost[i] + (eta * own[i] if may[low + i] else f32(0))
        energy[sample, block] = total
        if look_on:
            couple(w, seen, low, high, similarity, logarithmic, norm, dots, norms, curvature, radial)
            differentiate(now, unary, seen, low, high, eta, kind, dots, radial, match, curvature, pulls, mean, top)
            past, new = previous[sample], out[sample]
            move(now, past, may, low, high, stride[sample], momentum, pulls, mean, curvature, top, norm, new)
