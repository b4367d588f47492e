# SPDX-License-Identifier: Apache-2.0
"""The all-quadratic energy, which one linear system minimises exactly: the random walker with a unary term."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from medwsss.solvers.base import IterativeSolver, Status, check_offsets, offset_pairs
from medwsss.solvers.mirror_step import per_sample
from medwsss.terms import cross_entropies, relaxations
from medwsss.terms.energy import BoundEnergy, SelfLabelingEnergy
from medwsss.terms.neighborhoods import OffsetPairs, pairs

__all__ = ["RandomWalker"]


class Search(NamedTuple):
    """Where the solver stands."""

    pair_term: OffsetPairs
    labels: Tensor  # y
    energy: Tensor  # E(y), B
    residual: Tensor  # r = b − A y, 0 where y is given
    direction: Tensor  # of the last step
    decrease: Tensor  # r·D⁻¹r of the last step, B
    diagonal: Tensor  # D of A, B 1 *S
    scale: Tensor  # ‖b‖, B
    converged: Tensor  # B bool


class RandomWalker(IterativeSolver):
    """The exact minimiser of ``η Σ_{i∉S} ‖y_i − σ_i‖² + λ Σ_{ij∈N} w_ij ½‖y_i − y_j‖²`` with ``y = ȳ`` on seeds.

    Its gradient vanishes where, class by class and with one matrix ``A`` for all, ``A y = b``:

        ``(2η + λ Σ_j w_ij) y_i − λ Σ_{j free} w_ij y_j = 2η σ_i + λ Σ_{j∈S} w_ij ȳ_j``    at every free voxel ``i``

    So each ``y_i`` is a mean of ``σ_i`` and its neighbours, weighted by ``2η`` and ``λ w_ij``. A mean lies in the hull
    of what it averages, so the minimiser over all of ``R^K`` is on the simplex by itself. With ``η = 0`` this is the
    random walker.

    Solved by conjugate gradients on the grid, all classes at once, preconditioned by the diagonal ``D`` of ``A``; every
    step lowers the energy. Samples of a batch have step lengths of their own, and each is done at
    ``‖b − A y‖ <= tolerance · ‖b‖``; ``Solution.residual`` is that ratio, measured afresh on the labels returned. What
    the tolerance leaves outside the simplex is clipped.

    With ``η = 0``, voxels that no pairs join to a seed are not determined: each such region gets the mean of its start,
    weighted by ``Σ_j w_ij``, and a voxel without any pair stays as it starts.

    Args:
        energy: what to minimise, both terms ``"quadratic"``.
        max_steps: the bound on steps. The fewer seeds and the smaller ``η/λ``, the more it takes: 40 at the paper's.
        tolerance: relative residual at which a sample is done.

    Raises:
        ValueError: for an energy with another term, a neighbourhood that is no list of offsets, negative weights, or a
            tolerance below 0.

    Source: Grady, Random walks for image segmentation, PAMI 2006; Zhang & Boykov, CVPR 2025, §2.1 and §3.1.

    Example::

        >>> from medwsss.keys import UNLABELED
        >>> from medwsss.terms import GridNeighborhood
        >>> scribble = torch.tensor([0, UNLABELED, UNLABELED, 1]).reshape(1, 1, 4)
        >>> energy = SelfLabelingEnergy("quadratic", "quadratic", GridNeighborhood(bandwidth=1.0), eta=0.0)
        >>> y = RandomWalker(energy)(torch.zeros(1, 2, 4), torch.zeros(1, 1, 4), scribble).labels
        >>> [round(p, 3) for p in y[0, 1].tolist()]  # harmonic: a straight line between the seeds
        [0.0, 0.333, 0.667, 1.0]
    """

    def __init__(self, energy: SelfLabelingEnergy, max_steps: int = 1000, tolerance: float = 1e-5) -> None:
        super().__init__(energy, max_steps)
        if energy.cross_entropy is not cross_entropies.quadratic or energy.relaxation is not relaxations.quadratic:
            raise ValueError(
                'expected cross_entropy="quadratic" and relaxation="quadratic", '
                f"got {energy.cross_entropy.name!r} and {energy.relaxation.name!r}"
            )
        check_offsets(energy, "RandomWalker")
        if tolerance < 0:
            raise ValueError(f"expected tolerance >= 0, got {tolerance}")
        self.tolerance = tolerance

    def start(self, problem: BoundEnergy, initial: Tensor | None) -> Search:
        """From the network's predictions or the given labels."""
        y = problem.reset(problem.sigma if initial is None else initial.to(problem.sigma.dtype))
        energy, gradient, diagonal = problem.model(y)  # the curvature of quadratic terms is the diagonal of A
        residual = torch.where(problem.free, -gradient, 0)
        b = torch.where(problem.free, problem.gradient(problem.reset(torch.zeros_like(y))), 0)
        size, length = _norm(residual), _norm(b)
        scale = torch.where(length > 0, length, size)  # without seeds and η there is only the start to compare with
        converged = size <= self.tolerance * scale
        none = torch.full_like(energy, torch.inf)  # so large a last step that nothing of it is kept
        return Search(offset_pairs(problem), y, energy, residual, torch.zeros_like(y), none, diagonal, scale, converged)

    def step(self, problem: BoundEnergy, state: Search) -> Search:
        """One step of conjugate gradients in the samples that are not done."""
        toward = _ratio(state.residual, state.diagonal)
        decrease = _dot(state.residual, toward)
        kept = _ratio(decrease, state.decrease)
        direction = toward.addcmul_(per_sample(kept, toward), state.direction)
        change = _apply(state.pair_term, state.diagonal, direction).mul_(problem.free)
        length = torch.where(state.converged, 0, _ratio(decrease, _dot(direction, change)))
        residual = state.residual.addcmul(per_sample(length, change), change, value=-1)
        return state._replace(
            labels=state.labels.addcmul(per_sample(length, direction), direction),
            energy=state.energy - length * decrease / 2,
            residual=residual,
            direction=direction,
            decrease=decrease,
            converged=state.converged | (_norm(residual) <= self.tolerance * state.scale),
        )

    def energies(self, state: Search) -> Tensor:
        """``E(y)``, from what each step takes off it: ``½ (r·D⁻¹r)² / p·Ap`` along the direction ``p``."""
        return state.energy

    def labels(self, problem: BoundEnergy, state: Search) -> Tensor:
        """``y``, on the simplex also where it is not quite solved."""
        return problem.reset(F.normalize(state.labels.clamp_min(0), p=1))

    def residual(self, problem: BoundEnergy, state: Search) -> Tensor:
        """``‖b − A y‖ / ‖b‖`` of the labels, ``B``."""
        gradient = torch.where(problem.free, problem.gradient(self.labels(problem, state)), 0)
        return _ratio(_norm(gradient), state.scale)

    def status(self, state: Search, energies: list[Tensor]) -> Status | None:
        """Done when every sample is."""
        if state.converged.all():
            return Status.CONVERGED
        return Status.MAX_STEPS if len(energies) > self.max_steps else None


def _apply(pair_term: OffsetPairs, diagonal: Tensor, x: Tensor) -> Tensor:
    """``A x`` at free voxels, for ``x`` that is 0 where labels are given."""
    result = diagonal * x
    for offset, w in pair_term:
        (p, q), (at_p, at_q) = pairs(x, offset), pairs(result, offset)
        at_p.addcmul_(w, q, value=-1)
        at_q.addcmul_(w, p, value=-1)
    return result


def _dot(a: Tensor, b: Tensor) -> Tensor:
    return (a * b).flatten(1).sum(1)


def _norm(x: Tensor) -> Tensor:
    return _dot(x, x).sqrt()


def _ratio(a: Tensor, b: Tensor) -> Tensor:
    # 0 / 0 comes where nothing pulls, and then nothing moves.
    return torch.where(b > 0, a / b, 0)
