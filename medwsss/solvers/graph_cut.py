# SPDX-License-Identifier: Apache-2.0
"""Hard pseudo-labels: the discrete Potts model, minimised by α-expansion over maximum flow."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.sparse import csr_array
from scipy.sparse.csgraph import breadth_first_order, maximum_flow
from torch import Tensor
from torch.nn import functional as F

from medwsss.solvers.base import IterativeSolver, Status, check_offsets, offset_pairs
from medwsss.terms import cross_entropies
from medwsss.terms.energy import BoundEnergy, SelfLabelingEnergy
from medwsss.terms.neighborhoods import pairs
from medwsss.terms.neighborhoods.offsets import Offset

__all__ = ["GraphCut"]

#: SciPy's flows are int32, and what is left of an arc can be twice its capacity.
LARGEST_CAPACITY = 2**30 - 1


class Potts(NamedTuple):
    """``Σ_i cost[y_i, i] + Σ_ij weight [y_i ≠ y_j]`` over labels ``y`` of ``N`` voxels in a row."""

    cost: NDArray[np.float64]  # K × N
    movable: NDArray[np.bool_]  # N
    first: NDArray[np.int64]  # i of each pair, and
    second: NDArray[np.int64]  # j,
    weight: NDArray[np.float64]  # λ w_ij

    def energy(self, labels: NDArray[np.int64]) -> float:
        """The sum."""
        return float(self._own(labels).sum() + self.weight[labels[self.first] != labels[self.second]].sum())

    def expand(self, labels: NDArray[np.int64], alpha: int) -> NDArray[np.int64]:
        """The best labels among those where any set of movable voxels turns ``alpha``; ``x_i = 1`` where one does.

        Of a pair, with ``E00, E01, E10`` its cost at ``x_i x_j`` and ``E11 = 0``, each end pays a share at ``x = 1``
        and the pair ``(E01 + E10 − E00) / 2 >= 0`` where ``x_i ≠ x_j``: a cut between 0 (the source) and 1 (the sink).
        """
        count, w = len(labels), self.weight
        i, j = labels[self.first], labels[self.second]
        both_stay, second_moves, first_moves = w * (i != j), w * (i != alpha), w * (j != alpha)
        cut = (second_moves + first_moves - both_stay) / 2
        move = self.cost[alpha] - self._own(labels)
        move += np.bincount(self.first, (first_moves - second_moves - both_stay) / 2, count)
        move += np.bincount(self.second, (second_moves - first_moves - both_stay) / 2, count)
        move[~self.movable] = np.inf
        leave, enter = np.maximum(move, 0), np.maximum(-move, 0)
        bound = min(leave.sum(), enter.sum()) or 1.0  # of the flow
        voxels, source, sink = np.arange(count), np.full(count, count), np.full(count, count + 1)
        start = np.concatenate([source, voxels, self.first, self.second])
        end = np.concatenate([voxels, sink, self.second, self.first])
        capacity = np.minimum(np.concatenate([leave, enter, cut, cut]) / bound, 1) * LARGEST_CAPACITY
        graph = csr_array((np.rint(capacity).astype(np.int32), (start, end)), shape=(count + 2, count + 2))
        residual = graph - maximum_flow(graph, count, count + 1).flow  # without zeros
        moves = np.ones(count + 2, dtype=bool)
        moves[breadth_first_order(residual, count, return_predecessors=False)] = False
        return np.where(moves[:count] & self.movable, alpha, labels)

    def _own(self, labels: NDArray[np.int64]) -> NDArray[np.float64]:
        return self.cost[labels, np.arange(len(labels))]


class Labeling(NamedTuple):
    """Where the solver stands."""

    models: list[Potts]  # one a sample
    labels: list[NDArray[np.int64]]  # N classes a sample
    energy: Tensor  # B
    converged: bool


class GraphCut(IterativeSolver):
    """Hard labels for comparison: ``min η Σ_{i∉S} H(e_{y_i}, σ_i) + λ Σ_{ij∈N} w_ij [y_i ≠ y_j]`` over classes ``y_i``.

    The energy's own unary term at one-hot ``y``, and the Potts model that all six relaxations relax (it doesn't matter
    which). α-expansion: for one class after the other, the best set of voxels to turn to it, by a minimum cut. It ends
    within twice the least energy, with two classes at the least: no set of turns to either helps, and the energy is
    submodular. The flow is SciPy's, in integers: costs are rounded to 1e-9 of what an expansion could at most gain, and
    one that does not lower the exact energy is refused. Runs on the CPU, sample by sample. A solution's energies are
    this model's, before the first and after every sweep over the classes.

    Args:
        energy: what to minimise.
        max_steps: the bound on sweeps; two or three are usual.

    Raises:
        ValueError: for the reverse cross-entropy, which is infinite at every hard label, for a neighbourhood that is
            no list of offsets, and for negative weights.

    Source: Boykov, Veksler & Zabih, PAMI 2001 (α-expansion); Kolmogorov & Zabih, PAMI 2004 (energies as cuts).
    """

    def __init__(self, energy: SelfLabelingEnergy, max_steps: int = 10) -> None:
        super().__init__(energy, max_steps)
        check_offsets(energy, "GraphCut")
        if energy.cross_entropy is cross_entropies.reverse_cross_entropy:
            raise ValueError("expected a cross_entropy that is finite for hard labels, got 'reverse_cross_entropy'")

    def start(self, problem: BoundEnergy, initial: Tensor | None) -> Labeling:
        """From each voxel's own best class, or the largest of the given labels."""
        sigma, free = problem.sigma, problem.free
        vertices = torch.eye(sigma.shape[1]).to(sigma).reshape(-1, 1, sigma.shape[1], *[1] * (sigma.ndim - 2))
        unary = torch.stack([problem.cross_entropy(vertex, sigma) for vertex in vertices], 1)
        cost = torch.where(free, problem.eta * unary, 0)
        labels = problem.reset(-cost if initial is None else initial.to(sigma)).argmax(1)
        term = list(offset_pairs(problem))
        models = [_potts(problem, term, cost, sample) for sample in range(len(sigma))]
        return _labeling(cost, models, [y.flatten().cpu().numpy() for y in labels], converged=False)

    def step(self, problem: BoundEnergy, state: Labeling) -> Labeling:
        """One expansion of every class in every sample."""
        labels = []
        for model, y in zip(state.models, state.labels):
            for alpha in range(len(model.cost)):
                candidate = model.expand(y, alpha)
                y = candidate if model.energy(candidate) < model.energy(y) else y
            labels.append(y)
        converged = all(new is old for new, old in zip(labels, state.labels))
        return _labeling(state.energy, state.models, labels, converged)

    def energies(self, state: Labeling) -> Tensor:
        """Of the discrete model; never rises."""
        return state.energy

    def labels(self, problem: BoundEnergy, state: Labeling) -> Tensor:
        """One-hot."""
        batch, num_classes, *size = problem.sigma.shape
        classes = torch.from_numpy(np.stack(state.labels)).reshape(batch, *size)
        return problem.reset(F.one_hot(classes, num_classes).movedim(-1, 1).to(problem.sigma))

    def backend(self, state: Labeling) -> str:
        """SciPy's flows."""
        return "SciPy"

    def status(self, state: Labeling, energies: list[Tensor]) -> Status | None:
        """Done when a sweep changes nothing."""
        if state.converged:
            return Status.CONVERGED
        return Status.MAX_STEPS if len(energies) > self.max_steps else None


def _potts(problem: BoundEnergy, term: Sequence[tuple[Offset, Tensor]], cost: Tensor, sample: int) -> Potts:
    index = torch.arange(problem.free[0].numel()).reshape(1, 1, *problem.free.shape[2:])
    ends = [[end.flatten() for end in pairs(index, offset)] for offset, _ in term]
    first, second = (torch.cat(side).numpy() for side in zip(*ends))
    weight = torch.cat([w[sample].flatten() for _, w in term]).double().cpu().numpy()
    movable = problem.free[sample].flatten().cpu().numpy()
    return Potts(cost[sample].flatten(1).double().cpu().numpy(), movable, first, second, weight)


def _labeling(like: Tensor, models: list[Potts], labels: list[NDArray[np.int64]], converged: bool) -> Labeling:
    return Labeling(models, labels, like.new_tensor([m.energy(y) for m, y in zip(models, labels)]), converged)
