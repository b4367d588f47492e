# SPDX-License-Identifier: Apache-2.0
"""Tree energy: predictions are drawn to their mean along the image's minimum spanning tree."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from scipy.sparse import csr_array
from scipy.sparse.csgraph import breadth_first_order, minimum_spanning_tree
from torch import Tensor

from medwsss.losses.penalized import PenalizedLoss
from medwsss.losses.reduction import masked_mean
from medwsss.terms.neighborhoods import GridNeighborhood, pairs
from medwsss.terms.self_adjoint import self_adjoint
from medwsss.terms.simplex import unlabeled_mask, void_mask

__all__ = ["Tree", "TreeEnergyLoss", "spanning_tree"]


class Tree(NamedTuple):
    """The minimum spanning forest of one image, voxels in the order in which a breadth-first search meets them."""

    order: Tensor  # flat index of each voxel, N
    parent: Tensor  # place in that order of the voxel it was reached from; its own at a root
    affinity: Tensor  # exp(−w / scale) to the parent, 0 at a root
    levels: list[slice]  # of places at the same depth, from the roots down

    def filter(self, values: Tensor) -> Tensor:
        """``Σ_j A_ij v_j`` with ``A_ij = exp(−D_ij / scale)``, of values ``K × N``, in time linear in ``N``.

        ``D_ij`` is the sum of the weights along the path from ``i`` to ``j``, and ``A_ii = 1``; voxels of two trees
        have nothing of each other. Up from the leaves every voxel adds what its children have; down from the roots each
        gets what its parent has, without what came from itself.
        """
        return self_adjoint(self.apply, values)

    def apply(self, values: Tensor) -> Tensor:
        """:meth:`filter`, without autograd."""
        up = values[:, self.order].clone()
        for level in reversed(self.levels[1:]):
            up.index_add_(1, self.parent[level], up[:, level] * self.affinity[level])
        total = up.clone()
        for level in self.levels[1:]:
            a = self.affinity[level]
            total[:, level] = a * total[:, self.parent[level]] + (1 - a * a) * up[:, level]
        return torch.empty_like(values).index_copy_(1, self.order, total)


def spanning_tree(guide: Tensor, exists: Tensor, scale: float) -> Tree:
    """Of the grid of nearest neighbours, weighed by ``‖I_i − I_j‖²``; a tree for each connected part of the image.

    Args:
        guide: ``C *S``.
        exists: ``*S`` bool; what does not exist is a tree of its own.
        scale: of the affinity.
    """
    index, there = torch.arange(exists.numel()).reshape(1, 1, *exists.shape), exists[None, None].cpu()
    edges = []
    for offset in GridNeighborhood().offsets(exists.ndim):
        (i, j), (a, b), (p, q) = (pairs(x, offset) for x in (index, there, guide[None].double().cpu()))
        edges.append(
            torch.stack([i.double(), j.double(), (q - p).square().sum(1, keepdim=True)]).flatten(1)[
                :, (a & b).flatten()
            ]
        )
    first, second, weight = torch.cat(edges, 1).numpy()
    count = root = exists.numel()  # the root is no voxel; it is tied to all of them, and dearer than any other way
    ends = np.concatenate([first, np.full(count, root)]), np.concatenate([second, np.arange(count)])
    # 1 is added, as SciPy takes 0 for no edge; it changes no tree
    costs = np.concatenate([weight + 1, np.full(count, weight.max(initial=0) + 2)])
    tree = minimum_spanning_tree(csr_array((costs, ends), shape=(count + 1, count + 1)))
    order, reached_from = breadth_first_order(tree, root, directed=False)
    order = order[1:]
    reached_from = reached_from[order]
    cost = (tree + tree.T).tocsr()[order, reached_from]
    place = np.full(count + 1, -1)
    place[order] = np.arange(count)
    parent = place[reached_from]  # never falls, and is −1 below the root
    affinity = np.where(parent < 0, 0.0, np.exp(-(np.asarray(cost).ravel() - 1) / scale))
    levels, start, end = [], 0, int((parent < 0).sum())
    while start < end:
        levels.append(slice(start, end))
        start, end = end, int(np.searchsorted(parent, end))
    order, parent = (torch.from_numpy(x.astype(np.int64)).to(guide.device) for x in (order, parent.clip(0)))
    return Tree(order, parent, torch.from_numpy(affinity).to(guide), levels)


class TreeEnergyLoss(PenalizedLoss):
    """``R = (1/|U|) Σ_{i∈U} ‖σ_i − ŷ_i‖₁`` with ``ŷ_i = Σ_j A_ij σ_j / Σ_j A_ij`` over the unlabelled voxels ``U``.

    ``A_ij = exp(−D_ij / scale)``, and ``D_ij`` is the sum of ``‖I_k − I_l‖²`` along the path from ``i`` to ``j`` in the
    minimum spanning tree of the image. It is the published loss with the tree of the image alone: a second tree, of the
    network's features, needs a network that gives them.

    Trees are made on the CPU, sample by sample.

    Args:
        weight: of ``R``.
        scale: of the affinity, in squared units of the guide.
        dice_weight: as in :class:`PenalizedLoss`.

    Raises:
        ValueError: for a scale that is not positive.

    Source: Liang et al., Tree Energy Loss: Towards Sparsely Annotated Semantic Segmentation, CVPR 2022, Eq. (2) to (6).
    """

    def __init__(self, weight: float = 0.4, scale: float = 0.02, dice_weight: float = 0.0) -> None:
        super().__init__(weight, dice_weight)
        if scale <= 0:
            raise ValueError(f"expected a positive scale, got {scale}")
        self.scale = scale

    def penalty(self, sigma: Tensor, guide: Tensor, scribble: Tensor) -> Tensor:
        """``R``."""
        means = []
        for of, image, exists in zip(sigma, guide, ~void_mask(scribble)):
            tree = spanning_tree(image, exists[0], self.scale)
            sums = tree.filter(torch.cat([of, torch.ones_like(of[:1])]).flatten(1))
            means.append((sums[:-1] / sums[-1:]).reshape(of.shape))
        return masked_mean((sigma - torch.stack(means)).abs().sum(1), unlabeled_mask(scribble).squeeze(1))
