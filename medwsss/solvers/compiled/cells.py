# SPDX-License-Identifier: Apache-2.0
"""The compiled loops of :mod:`medwsss.solvers.coarse`: from voxels to cells and back.

Grids have three axes, of which leading ones may be 1 long, so that 1, 2 and 3 axes are one code. ``size`` is a cell's
voxels along each, 1 or 2; at the far border a cell may have fewer.
"""

from __future__ import annotations

import numpy as np

from medwsss.keys import UNLABELED, VOID
from medwsss.solvers.compiled.arithmetic import f32, inlined
from medwsss.solvers.compiled.kernel import compiled

__all__ = ["fix", "interpolate", "merge"]


@compiled
def merge(logits, scribble, size, means, classes):
    """A sample's mean logits of each cell into ``means``, and a scribble of cells into ``classes``.

    ``logits`` is ``K Z Y X``, ``scribble`` ``Z Y X``. A cell has the class that most of its seeds have (where they are
    equally many, the one with the greater mean); without seeds it is unlabelled, or void if all of it is.
    """
    sums = np.empty(logits.shape[3], np.float32)
    seeded, unlabeled = np.empty(len(sums), np.bool_), np.empty(len(sums), np.bool_)
    votes = np.zeros(len(logits), np.int64)
    for z in range(classes.shape[0]):
        z0, z1 = z * size[0], min((z + 1) * size[0], logits.shape[1])
        for y in range(classes.shape[1]):
            y0, y1 = y * size[1], min((y + 1) * size[1], logits.shape[2])
            for k in range(len(logits)):
                sums[:] = 0
                for zz in range(z0, z1):
                    for yy in range(y0, y1):
                        row = logits[k, zz, yy]
                        for x in range(len(row)):
                            sums[x] += row[x]
                average(sums, size[2], f32((z1 - z0) * (y1 - y0)), means[k, z, y])
            seeded[:], unlabeled[:] = False, False
            for zz in range(z0, z1):
                for yy in range(y0, y1):
                    entries = scribble[zz, yy]
                    for x in range(len(entries)):
                        unlabeled[x] |= entries[x] == UNLABELED
                        seeded[x] |= (entries[x] != UNLABELED) & (entries[x] != VOID)
            for x in range(classes.shape[2]):
                x0, x1 = x * size[2], min((x + 1) * size[2], len(sums))
                classes[z, y, x] = UNLABELED if unlabeled[x0] | unlabeled[x1 - 1] else VOID
                if seeded[x0] | seeded[x1 - 1]:
                    votes[:] = 0
                    for zz in range(z0, z1):
                        for yy in range(y0, y1):
                            for entry in scribble[zz, yy, x0:x1]:
                                if entry != UNLABELED and entry != VOID:
                                    votes[entry] += 1
                    classes[z, y, x] = elected(votes, means[:, z, y, x])


@inlined
def average(sums, size, count, out):
    """Means over ``count`` rows and over ``size`` neighbours of what was summed up over the rows."""
    share = f32(1) / (f32(size) * count)
    if size == 1:
        for x in range(len(out)):
            out[x] = sums[x] * share
    else:
        for x in range(len(sums) // 2):
            out[x] = (sums[2 * x] + sums[2 * x + 1]) * share
        if len(sums) % 2:
            out[-1] = sums[-1] / count


@inlined
def elected(votes, means):
    """The class with most votes, and with the greatest mean among those."""
    best = 0
    for k in range(1, len(votes)):
        if votes[k] > votes[best] or (votes[k] == votes[best] and means[k] > means[best]):
            best = k
    return best


@compiled
def fix(y, scribble, share):
    """Mixes a ``share`` of the uniform distribution into a sample's ``y``, ``K N``, and sets seeds and void voxels."""
    uniform = f32(1) / f32(len(y))
    for k in range(len(y)):
        row = y[k]
        for i in range(len(row)):
            given = uniform if scribble[i] == VOID else f32(scribble[i] == k)
            row[i] = row[i] + share * (uniform - row[i]) if scribble[i] == UNLABELED else given


@compiled
def interpolate(cells, size, voxels):
    """A sample's values of cells, ``K Z Y X``, interpolated linearly between their centres into those of voxels."""
    count = cells.shape[3]
    row = np.empty(count + 2, np.float32)  # the outermost cells once more
    inner = row[1:-1]
    for k in range(len(voxels)):
        for z in range(voxels.shape[1]):
            z0, z1, z_share = between(z, size[0], cells.shape[1])
            for y in range(voxels.shape[2]):
                y0, y1, y_share = between(y, size[1], cells.shape[2])
                a, b, c, d = cells[k, z0, y0], cells[k, z0, y1], cells[k, z1, y0], cells[k, z1, y1]
                out = voxels[k, z, y]
                for x in range(count):
                    near, far = a[x] + y_share * (b[x] - a[x]), c[x] + y_share * (d[x] - c[x])
                    inner[x] = near + z_share * (far - near)
                row[0], row[-1] = row[1], row[-2]
                if size[2] == 1:
                    out[:] = inner
                else:
                    for x in range(len(out) // 2):
                        out[2 * x] = f32(0.25) * row[x] + f32(0.75) * row[x + 1]
                        out[2 * x + 1] = f32(0.75) * row[x + 1] + f32(0.25) * row[x + 2]
                    if len(out) % 2:
                        out[-1] = f32(0.25) * row[-3] + f32(0.75) * row[-2]


@inlined
def between(voxel, size, cells):
    """The cells on both sides of a voxel along an axis, and the second one's share; the outermost go on beyond."""
    at = (f32(voxel) + f32(0.5)) / f32(size) - f32(0.5)
    low = int(np.floor(at))
    return max(low, 0), min(low + 1, cells - 1), at - f32(low)
