# SPDX-License-Identifier: Apache-2.0
# mypy: disallow-incomplete-defs=False
"""The loops of :class:`TritonStep`.

A program has a block of voxels of one sample, a thread a voxel with all of its neighbours. Three loops over classes,
whose second and third reads come from caches: what each pair tells, the gradient, and the next ``y``.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl

from medwsss.solvers import limits
from medwsss.solvers.compiled import fused
from medwsss.terms.simplex import EPSILON

__all__ = ["sweep"]

# What a kernel may read of a module are constants of this type; what it is given are pointers and numbers, untyped.
COSINE, SQUARED = tl.constexpr(fused.COSINE), tl.constexpr(fused.SQUARED)
CE, RCE, CCE = tl.constexpr(fused.CE), tl.constexpr(fused.RCE), tl.constexpr(fused.CCE)
EPS, SQUARED_EPS = tl.constexpr(EPSILON), tl.constexpr(16 * torch.finfo(torch.float32).eps)  # as in the reference
LEAST_LABEL, LEAST_CURVATURE = tl.constexpr(limits.LABEL_FLOOR), tl.constexpr(limits.LEAST_CURVATURE)
SMALL_LABEL, LARGEST_CHANGE = tl.constexpr(limits.SMALL_LABEL), tl.constexpr(limits.LARGEST_CHANGE)


@triton.jit
def safe_log(x, eps: tl.constexpr):
    """``ln x``, continued by its tangent below ``eps``."""
    return tl.log(tl.maximum(x, eps)) + tl.where(x < eps, x / eps - 1, 0.0)


@triton.jit
def relax(dots, pp, qq, w, similarity: tl.constexpr, logarithmic: tl.constexpr):
    """``w P`` of pairs, ``−w ∂P/∂(p·q)``, and ``w r ∂P/∂r``, of which the radial part of the gradient is made."""
    inverse, r, eps = 1.0, dots, EPS
    if similarity == COSINE:
        inverse = 1 / tl.sqrt(pp * qq)
        r = dots * inverse
    elif similarity == SQUARED:
        r = 1 + dots - 0.5 * (pp + qq)
        eps = SQUARED_EPS
    if logarithmic:
        slope = w / tl.maximum(r, eps)
        return -w * safe_log(r, eps), slope * inverse, slope * r
    else:
        return w * (1 - r), w * inverse, w * r


@triton.jit
def sweep(
    y,
    previous,
    unary,
    free,
    weights,
    shifts,
    stride,
    out,
    energy,
    size,
    eta,
    momentum,
    classes: tl.constexpr,
    offsets: tl.constexpr,
    partners: tl.constexpr,
    kind: tl.constexpr,
    similarity: tl.constexpr,
    logarithmic: tl.constexpr,
    move: tl.constexpr,
    block: tl.constexpr,
):
    """A block's ``E(y)`` into ``energy``, and to ``move`` the step from ``y`` into ``out``; see :class:`FusedStep`.

    Of the ``partners`` of a voxel the first ``offsets`` lie ahead, as many more behind, and the rest are none.
    """
    number, sample = tl.program_id(0), tl.program_id(1).to(tl.int64)
    long = tl.load(stride + sample)
    slot = energy + sample * tl.num_programs(0) + number
    if long == 0:  # nothing is asked of a sample that is done
        tl.store(slot, 0.0)
        return
    y += sample * classes * size
    previous += sample * classes * size
    unary += sample * classes * size
    out += sample * classes * size
    weights += sample * offsets * size

    at = number * block + tl.arange(0, block)
    inside = at < size
    may = tl.load(free + sample * size + at, mask=inside, other=0) != 0
    partner = tl.arange(0, partners)
    ahead, any_one = partner < offsets, partner < (2 * offsets if move else offsets)
    offset = partner % (offsets if offsets > 0 else 1)
    shift = tl.load(shifts + offset, mask=any_one, other=0)
    far = tl.where(ahead, shift, -shift)
    other = at[None, :] + far[:, None]
    there = inside[None, :] & any_one[:, None] & (other >= 0) & (other < size)
    first = tl.minimum(at[None, :], other)  # of the two, where their weight lies
    w = tl.load(weights + offset.to(tl.int64)[:, None] * size + first, mask=there, other=0.0)  # no partner, no weight

    dots, qq = tl.zeros([partners, block], tl.float32), tl.zeros([partners, block], tl.float32)
    pp, own, match = tl.zeros([block], tl.float32), tl.zeros([block], tl.float32), tl.zeros([block], tl.float32)
    row = tl.zeros([], tl.int64)
    for _ in range(classes):
        p = tl.load(y + row + at, mask=inside, other=1.0)
        u = tl.load(unary + row + at, mask=inside, other=0.0)
        q = tl.load(y + row + other, mask=there, other=1.0)
        dots += p[None, :] * q
        qq += q * q
        pp += p * p
        if kind == CE:
            own += p * u
        elif kind == RCE:
            own -= u * tl.log(tl.maximum(p, LEAST_LABEL))
            match = tl.maximum(match, u / tl.maximum(p, LEAST_LABEL))
        elif kind == CCE:
            match += p * u
        else:
            own += (p - u) * (p - u)
        row += size
    if kind == CCE:
        own = -safe_log(match, EPS)
        match = 1 / tl.maximum(match, EPS)

    cost, slopes, turns = relax(dots, pp[None, :], qq, w, similarity, logarithmic)
    pairs = tl.sum(tl.where(ahead[:, None], cost, 0.0), 0)
    tl.store(slot, tl.sum(pairs + tl.where(may, eta * own, 0.0), 0))

    if move:
        curvature = tl.sum(slopes, 0)
        radial = tl.zeros([block], tl.float32)
        if similarity == COSINE:
            radial = tl.sum(turns, 0) / pp
        elif similarity == SQUARED:
            radial = curvature
        more = match
        if kind == CE:
            more = tl.full([block], 1.0, tl.float32)
        elif kind != RCE and kind != CCE:
            more = tl.full([block], 2.0, tl.float32)
        scale = long / tl.maximum(curvature + eta * more, LEAST_CURVATURE)

        mean, total = tl.zeros([block], tl.float32), tl.zeros([block], tl.float32)
        row = tl.zeros([], tl.int64)
        for _ in range(classes):
            p = tl.load(y + row + at, mask=inside, other=1.0)
            u = tl.load(unary + row + at, mask=inside, other=0.0)
            q = tl.load(y + row + other, mask=there, other=1.0)
            g = radial * p - tl.sum(slopes * q, 0)
            if kind == CE:
                g += eta * u
            elif kind == RCE:
                g -= eta * u / tl.maximum(p, LEAST_LABEL)
            elif kind == CCE:
                g -= eta * match * u
            else:
                g += 2 * eta * (p - u)
            share = p / tl.maximum(p, SMALL_LABEL)
            mean += share * g
            total += share
            tl.store(out + row + at, g, mask=inside)
            row += size
        mean /= total

        tl.debug_barrier()  # which thread has which voxel may change between a store and a load
        total = tl.zeros([block], tl.float32)
        row = tl.zeros([], tl.int64)
        for _ in range(classes):
            p = tl.load(y + row + at, mask=inside, other=1.0)
            past = tl.load(previous + row + at, mask=inside, other=1.0)
            g = tl.load(out + row + at, mask=inside, other=0.0)
            label = tl.maximum(p, LEAST_LABEL)
            change = scale * (mean - g) / tl.maximum(label, SMALL_LABEL)
            change = tl.minimum(tl.maximum(change, -LARGEST_CHANGE), LARGEST_CHANGE)
            grown = label * tl.exp(change + momentum * tl.log(label / tl.maximum(past, LEAST_LABEL)))
            total += grown
            tl.store(out + row + at, grown, mask=inside)
            row += size

        tl.debug_barrier()
        row = tl.zeros([], tl.int64)
        for _ in range(classes):
            p = tl.load(y + row + at, mask=inside, other=1.0)
            grown = tl.load(out + row + at, mask=inside, other=1.0)
            tl.store(out + row + at, tl.where(may, tl.maximum(grown / total, LEAST_LABEL), p), mask=inside)
            row += size
