# SPDX-License-Identifier: Apache-2.0
"""The compiled loops of :class:`NumbaStep`.

Voxels are innermost, in blocks that stay in cache with all their classes; each inner loop runs over a block's voxels
and becomes vector instructions. What a pair of voxels tells is found once, where its first voxel is, and kept for the
second one in a window as long as the largest shift. Work is shared out in slabs of many blocks, which read their
neighbours and write themselves only, so that threads need no order and the result doesn't depend on their number; a
slab finds anew what the pairs that end in it tell.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from medwsss.solvers import limits
from medwsss.solvers.compiled.arithmetic import FASTMATH, exp2, f32, fma, inlined, log, log2_ratio
from medwsss.solvers.compiled.fused import CCE, CE, COSINE, QUADRATIC, RCE, SQUARED
from medwsss.solvers.compiled.similarities import EPS, relax

__all__ = ["BLOCK", "sweep"]

BLOCK = 1024  # voxels: a row of floats of 4 KiB, so that K = 21 with its neighbours fits the second-level cache
# As in the reference, but changes of ln y in units of ln 2:
LEAST_LABEL, LEAST_CURVATURE = f32(limits.LABEL_FLOOR), f32(limits.LEAST_CURVATURE)
SMALL_LABEL, LOG2_E = f32(limits.SMALL_LABEL), f32(1 / np.log(2))
LARGEST_CHANGE = f32(limits.LARGEST_CHANGE / np.log(2))
# What is called from a compiled function is inlined in it: with machine code of its own it would round differently in
# the process that compiles than in those that load the result from the cache.
# A loop becomes vectors only if it touches few arrays: LLVM makes at most 8 checks that two don't overlap.
compiled = njit(nogil=True, cache=True, fastmath=set(FASTMATH), error_model="numpy")


@inlined
def begin(shift, low, high, size):
    """The end of those voxels of ``low … high`` that have a neighbour ahead."""
    return max(low, min(high, size - shift))


@inlined
def end(shift, low, high):
    """The beginning of those voxels of ``low … high`` that have a neighbour behind."""
    return min(high, max(low, shift))


@inlined
def square(y, low, high, norms):
    """``‖y_i‖²`` of the voxels ``low … high`` into ``norms``."""
    norms[:] = 0
    for k in range(len(y)):
        p = y[k, low:high]
        for i in range(high - low):
            norms[i] = fma(p[i], p[i], norms[i])


@inlined
def couple(y, weights, shifts, low, high, origin, similarity, logarithmic, norms, dots, slopes, cost):
    """The energy of the pairs that begin in a block into ``cost``, and what :func:`relax` tells of them.

    ``norms``, ``dots`` and ``slopes`` are windows on the sample from the voxel ``origin`` on.
    """
    a, size = low - origin, y.shape[1]
    cost[:] = 0
    dots[:, a : high - origin] = 0
    for k in range(len(y)):
        for n in range(len(shifts)):
            until = begin(shifts[n], low, high, size)
            p, q, dot = y[k, low:until], y[k, low + shifts[n] : until + shifts[n]], dots[n, a : until - origin]
            for i in range(until - low):
                dot[i] = fma(p[i], q[i], dot[i])
    for n in range(len(shifts)):
        until = begin(shifts[n], low, high, size)
        b = until - origin
        pp, qq, w = norms[a:b], norms[a + shifts[n] : b + shifts[n]], weights[n, low:until]
        relax(similarity, logarithmic, w, pp, qq, dots[n, a:b], slopes[n, a:b], cost[: b - a])


@inlined
def compare(y, unary, low, high, kind, match, own):
    """A block's unary energy into ``own``; what curves it, ``1 / y·σ`` or the greatest ``σ/y``, into ``match``."""
    match[:], own[:] = 0, 0
    for k in range(len(y)):
        p, u = y[k, low:high], unary[k, low:high]
        if kind == CE:
            for i in range(high - low):
                own[i] = fma(p[i], u[i], own[i])
        elif kind == RCE:
            for i in range(high - low):
                own[i] -= u[i] * log(max(p[i], LEAST_LABEL))
                match[i] = max(match[i], u[i] / max(p[i], LEAST_LABEL))
        elif kind == CCE:
            for i in range(high - low):
                match[i] = fma(p[i], u[i], match[i])
        else:
            for i in range(high - low):
                own[i] += (p[i] - u[i]) * (p[i] - u[i])
    if kind == CCE:
        for i in range(high - low):
            own[i] = -log(max(match[i], EPS))
            match[i] = f32(1) / max(match[i], EPS)


@inlined
def gather(shifts, low, high, origin, size, values, sums):
    """A block's ``sums`` of what the pairs of each voxel have in the window ``values``."""
    sums[:] = 0
    for n in range(len(shifts)):
        until, since = begin(shifts[n], low, high, size), end(shifts[n], low, high)
        ahead, behind = values[n, low - origin : until - origin], values[n, since - shifts[n] - origin :]
        for i in range(until - low):
            sums[i] += ahead[i]
        rest = sums[since - low :]
        for i in range(high - since):
            rest[i] += behind[i]


@inlined
def differentiate(y, unary, shifts, low, high, origin, eta, kind, slopes, radial, match, pulls, mean, total):
    """A block's gradient into ``pulls``, its mean over classes into ``mean``."""
    classes, size = y.shape
    mean[:], total[:] = 0, 0
    for i in range(high - low):
        match[i] *= -eta
    for k in range(classes):
        p, u, g = y[k, low:high], unary[k, low:high], pulls[k]
        if kind == CE:
            for i in range(high - low):
                g[i] = fma(radial[i], p[i], eta * u[i])
        elif kind == RCE:
            for i in range(high - low):
                g[i] = fma(radial[i], p[i], -eta * u[i] / max(p[i], LEAST_LABEL))
        elif kind == CCE:
            for i in range(high - low):
                g[i] = fma(radial[i], p[i], match[i] * u[i])
        else:
            for i in range(high - low):
                g[i] = fma(radial[i], p[i], f32(2) * eta * (p[i] - u[i]))
        for n in range(len(shifts)):
            until, since = begin(shifts[n], low, high, size), end(shifts[n], low, high)
            q, slope = y[k, low + shifts[n] : until + shifts[n]], slopes[n, low - origin : until - origin]
            for i in range(until - low):
                g[i] = fma(-slope[i], q[i], g[i])
            a, b = since - shifts[n], high - shifts[n]
            q, slope, part = y[k, a:b], slopes[n, a - origin : b - origin], g[since - low :]
            for i in range(high - since):
                part[i] = fma(-slope[i], q[i], part[i])
        for i in range(high - low):
            share = min(p[i] * (f32(1) / SMALL_LABEL), f32(1))
            mean[i] = fma(share, g[i], mean[i])
            total[i] += share
    for i in range(high - low):
        mean[i] /= total[i]


@inlined
def move(y, previous, free, low, high, momentum, pulls, mean, scale, total, out):
    """The next ``y`` of a block into ``out``; see :class:`~medwsss.solvers.mirror_step.PlainStep`."""
    total[:] = 0
    for k in range(len(y)):
        p, past, g = y[k, low:high], previous[k, low:high], pulls[k]
        for i in range(high - low):
            label = max(p[i], LEAST_LABEL)
            change = scale[i] * (mean[i] - g[i]) / max(label, SMALL_LABEL)
            change = min(max(change, -LARGEST_CHANGE), LARGEST_CHANGE)
            g[i] = label * exp2(fma(momentum, log2_ratio(label, max(past[i], LEAST_LABEL)), change))
            total[i] += g[i]
    for i in range(high - low):
        total[i] = f32(1) / total[i] if free[low + i] else f32(0)
    for k in range(len(y)):
        p, grown, new = y[k, low:high], pulls[k], out[k, low:high]
        for i in range(high - low):
            new[i] = max(grown[i] * total[i], LEAST_LABEL) if total[i] > 0 else p[i]


@compiled
def sweep(first, last, y, previous, unary, free, weights, shifts, eta, terms, course, slab, out, energy):
    """``E(y)`` into ``energy`` (``B × slabs``) and, to ``look_on``, the step from ``y`` into ``out``.

    For slabs ``first … last``, of ``slab`` voxels each. ``y``, ``previous``, ``unary`` (``σ``, or ``−ln σ`` for ``CE``)
    and ``out`` are ``B K N``; ``free`` is ``B N``; ``weights`` is ``B n N``, ``λ w`` of the pair ``(i, i + shifts[n])``
    at ``i``, and ``shifts`` are positive. ``course`` is the momentum, the stride (``B``, 0 for a sample that is done),
    and ``look_on``.
    """
    classes, size = y.shape[1:]
    kind, similarity, logarithmic = terms
    momentum, stride, look_on = course
    farthest = 0
    for shift in shifts:
        farthest = max(farthest, shift)
    window = min(slab + 2 * farthest, size)
    norms = np.empty(window, np.float32)
    dots, slopes = np.empty((len(shifts), window), np.float32), np.empty((len(shifts), window), np.float32)
    # Made one by one, because rows unpacked from one array would lose their known contiguity, and loops their vectors.
    pulls = np.empty((classes, BLOCK), np.float32)
    cost, curvature, radial = np.empty(BLOCK, np.float32), np.empty(BLOCK, np.float32), np.empty(BLOCK, np.float32)
    match, own = np.empty(BLOCK, np.float32), np.empty(BLOCK, np.float32)
    mean, total = np.empty(BLOCK, np.float32), np.empty(BLOCK, np.float32)
    sums = np.empty(BLOCK)
    slabs = energy.shape[1]
    for item in range(first, last):
        sample, start = item // slabs, item % slabs * slab
        if stride[sample] == 0:
            continue
        now, w, u, may = y[sample], weights[sample], unary[sample], free[sample]
        stop = min(size, start + slab)
        low = origin = max(0, start - farthest) if look_on else start
        known = origin  # how far there are norms
        sums[:] = 0
        while low < stop:
            high = min(low + BLOCK, start if low < start else stop)
            square(now, known, min(high + farthest, size), norms[known - origin : min(high + farthest, size) - origin])
            known = min(high + farthest, size)
            couple(now, w, shifts, low, high, origin, similarity, logarithmic, norms, dots, slopes, cost)
            if low >= start:
                compare(now, u, low, high, kind, match, own)
                for i in range(high - low):
                    sums[i] += cost[i] + (eta * own[i] if may[low + i] else f32(0))
                if look_on:
                    length = high - low
                    gather(shifts, low, high, origin, size, slopes, curvature[:length])
                    if similarity == COSINE:
                        gather(shifts, low, high, origin, size, dots, radial[:length])
                        for i in range(length):
                            radial[i] /= norms[low - origin + i]
                    elif similarity == SQUARED:
                        radial[:] = curvature
                    else:
                        radial[:] = 0
                    for i in range(length):
                        more = f32(1) if kind == CE else f32(2) if kind == QUADRATIC else match[i]
                        curvature[i] = LOG2_E * stride[sample] / max(curvature[i] + eta * more, LEAST_CURVATURE)
                    differentiate(
                        now, u, shifts, low, high, origin, eta, kind, slopes, radial, match, pulls, mean, total
                    )
                    move(now, previous[sample], may, low, high, momentum, pulls, mean, curvature, total, out[sample])
            low = high
        energy[sample, item % slabs] = sums.sum()
