# SPDX-License-Identifier: Apache-2.0
"""Strokes as a hand draws them: geometry of one connected region, for any number of axes.

A stroke is an ordered ``N x axes`` array of voxels; a shorter one is a prefix, which is why shorter ones nest.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy import ndimage
from scipy.interpolate import BSpline
from scipy.sparse import csr_array
from scipy.sparse.csgraph import connected_components, dijkstra, minimum_spanning_tree
from scipy.spatial import cKDTree
from skimage.morphology import skeletonize

_TOUCHING = 1.9  # between √3, the far corner of a voxel's neighbours in 3-D, and 2
_FINEST = 8  # a region is thinned on a grid that leaves it this many voxels deep: a hand does not see more
_LOOSE_TURNS = 10  # a hand doodles as many turns in a region without length, such as a disc
_ENDS = 0.12  # share of the line that a hand leaves out at either end
_TURN = 3.0  # one more turn every so many depths of the region
_MIDDLE = 0.5  # nobody clicks nearer to the border than this share of the depth


def depths(regions: np.ndarray) -> np.ndarray:
    """Distance of each voxel to the border of its region, 1 at the border itself.

    The edge of the image is no border, unless there is no other: an organ goes on where the picture ends.
    """
    border = np.zeros(regions.shape, bool)
    for axis in range(regions.ndim):
        change = np.diff(regions, axis=axis) != 0
        for side in (slice(1, None), slice(None, -1)):
            border[(slice(None),) * axis + (side,)] |= change
    if not border.any():
        return np.asarray(ndimage.distance_transform_edt(np.pad(~border, 1))[(slice(1, -1),) * border.ndim])
    return np.asarray(ndimage.distance_transform_edt(~border)) + 1


def centerline(
    region: np.ndarray, depth: np.ndarray, jitter: float, margin: float, rng: np.random.Generator
) -> np.ndarray:
    """Along the longest path of the skeleton: through the middle of what is long, all the way round in a ring."""
    return _drawn(_middle_line(region, depth, rng), region, depth, jitter, rng)


def border(region: np.ndarray, depth: np.ndarray, jitter: float, margin: float, rng: np.random.Generator) -> np.ndarray:
    """Along the longest line at ``margin`` from the border, or half-way to the middle where that is nearer."""
    level = min(margin, (1 + depth[region].max()) / 2)
    band = region & (depth >= level) & (depth < level + 1)
    return _drawn(_middle_line(band, np.ones_like(depth), rng), region, depth, jitter, rng)


def click(region: np.ndarray, depth: np.ndarray, jitter: float, margin: float, rng: np.random.Generator) -> np.ndarray:
    """One voxel, anywhere near the middle."""
    return rng.choice(np.argwhere(region & (depth >= _MIDDLE * depth[region].max())), 1)


def block(region: np.ndarray, depth: np.ndarray, jitter: float, margin: float, rng: np.random.Generator) -> np.ndarray:
    """All voxels, the deepest first: the mask eroded until the wanted area is left."""
    return np.argwhere(region)[np.argsort(-depth[region], kind="stable")]


STROKES: dict[str, Callable[..., np.ndarray]] = {s.__name__: s for s in (centerline, border, click, block)}


def shorten(region: np.ndarray) -> np.ndarray:
    """All voxels of an existing stroke, by the length of the way to them from the middle of its longest path."""
    points = np.argwhere(region)
    line = _middle_line(region, np.ones(region.shape))
    start = np.flatnonzero((points == line[len(line) // 2]).all(1))[0]
    distance = dijkstra(_graph(points), directed=False, indices=start)
    return np.asarray(points[np.argsort(distance, kind="stable")])


def brush(points: np.ndarray, width: int) -> np.ndarray:
    """The voxels a round brush of ``width`` voxels covers on its way along ``points``, some more than once."""
    reach = np.arange(width) - (width - 1) // 2
    grid = np.stack(np.meshgrid(*[reach] * points.shape[1], indexing="ij"), -1).reshape(-1, points.shape[1])
    distance = np.linalg.norm(grid - (width - 1) % 2 / 2, axis=1)
    return np.asarray(points[:, None] + grid[distance <= width / 2]).reshape(-1, points.shape[1])


def _middle_line(region: np.ndarray, depth: np.ndarray, rng: np.random.Generator | None = None) -> np.ndarray:
    """Voxels of the skeleton's longest path, in order; of a spanning tree's path where the skeleton has cycles."""
    deepest = np.unravel_index(np.where(region, depth, 0).argmax(), region.shape)
    step = max(1, int(depth[deepest] / _FINEST))
    grid = tuple(slice(i % step, None, step) for i in deepest)  # meets the deepest voxel
    points = np.argwhere(skeletonize(region[grid]))
    if not len(points):  # thinning wipes out blobs of two by two
        return np.array([deepest])
    points = points[_longest_path(points, rng)]
    return np.asarray(points * step + [i % step for i in deepest])


def _longest_path(points: np.ndarray, rng: np.random.Generator | None) -> np.ndarray:
    """Indices into ``points`` along the longest path of the largest part's spanning tree; ``rng`` cuts the cycles."""
    graph = _graph(points)
    if rng is not None:
        graph.data *= 1 + rng.random(graph.nnz)
    tree = minimum_spanning_tree(graph)
    _, part = connected_components(tree, directed=False)

    def farthest(start: int) -> tuple[int, np.ndarray]:
        distance, before = dijkstra(tree, directed=False, indices=start, return_predecessors=True)
        return int(np.where(np.isfinite(distance), distance, -1).argmax()), before

    start, _ = farthest(int((part == np.bincount(part).argmax()).argmax()))
    node, before = farthest(start)
    path = [node]
    while path[-1] != start:
        path.append(before[path[-1]])
    return np.array(path)


def _graph(points: np.ndarray) -> csr_array:
    """Touching voxels and their distances."""
    i, j = cKDTree(points).query_pairs(_TOUCHING, output_type="ndarray").T
    distance = np.linalg.norm(points[i] - points[j], axis=1)
    return csr_array((distance, (i, j)), shape=(len(points),) * 2)


def _drawn(
    line: np.ndarray, region: np.ndarray, depth: np.ndarray, jitter: float, rng: np.random.Generator
) -> np.ndarray:
    """Voxels, from the middle outwards, of a smooth curve with turns up to ``jitter`` times the depth off ``line``."""
    deep = depth[tuple(line.T)]
    turns = 2 + _LOOSE_TURNS + int(_length(line) / (_TURN * deep.mean()))
    chosen = (np.linspace(_ENDS, 1 - _ENDS, turns) * (len(line) - 1)).round().astype(int)
    stray = rng.standard_normal((turns, line.shape[1]))
    stray /= np.linalg.norm(stray, axis=1, keepdims=True)
    control = line[chosen] + jitter * deep[chosen, None] * stray
    knots = np.concatenate([[0] * 3, np.linspace(0, 1, turns - 2), [1] * 3])
    t = np.linspace(0, 1, 3 + 2 * int(2 * _length(control)))  # steps of less than a voxel
    t = t[np.argsort(abs(t - 0.5), kind="stable")]
    curve = BSpline(knots, control, 3)(t).round().astype(int).clip(0, np.array(region.shape) - 1)
    curve = curve[region[tuple(curve.T)]]
    _, first = np.unique(np.ravel_multi_index(tuple(curve.T), region.shape), return_index=True)
    return np.asarray(curve[np.sort(first)] if len(curve) else line[len(line) // 2][None])


def _length(points: np.ndarray) -> float:
    return float(np.linalg.norm(np.diff(points, axis=0), axis=1).sum())
