# SPDX-License-Identifier: Apache-2.0
"""The default solver: natural gradient with momentum, scaled voxel by voxel, never going up."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from medwsss.solvers.backend import Backend, choose
from medwsss.solvers.base import IterativeSolver, Status, check_offsets, steps_done
from medwsss.solvers.coarse import can_coarsen, cell, coarsened, reach
from medwsss.solvers.mirror_step import MirrorStep
from medwsss.terms.energy import BoundEnergy, SelfLabelingEnergy

__all__ = ["NaturalGradient"]

#: Share of the uniform distribution in the start, so that a network that is certain and wrong can be overruled: a class
#: grows by a factor a step, so from 0 it never would, and from 1e-6 it would take many steps that show no progress.
UNIFORM_SHARE = 2e-3

#: A step this short that still raises the energy raises it by rounding.
LEAST_STRIDE = 1e-6


class Iterate(NamedTuple):
    """Where the solver stands. What is told of samples lies on the CPU, where deciding takes no launches of kernels."""

    backend: Backend
    look: MirrorStep
    left: int  # steps that may follow
    accepted: Tensor  # y, the best so far
    energy: Tensor  # E(accepted), B
    candidate: Tensor  # what the next step looks at
    stride: Tensor  # B
    retrying: Tensor  # B bool: the candidate is the accepted y itself, to step from it again with a shorter stride
    slow: Tensor  # B bool: the last step hardly helped
    converged: Tensor  # B bool


class NaturalGradient(IterativeSolver):
    """Natural-gradient (mirror) descent on the simplex with momentum, safeguarded: no sample's energy ever rises.

    With ``g = ∂E/∂y`` and the curvature ``c_i`` of :meth:`BoundEnergy.model`, each step is, at every free voxel,

        ``y_ik ← softmax( ln y_ik + momentum · (ln y_ik − ln y'_ik) − stride · (g_ik − ḡ_i) / (c_i max(y_ik, δ)) )``

    where ``y'`` is the ``y`` of the step before, ``δ = 0.1``, and ``ḡ_i`` is the mean of ``g_ik`` over classes,
    weighted by ``y_ik / max(y_ik, δ)``, so that the changes of ``y_i`` cancel. In the log-domain the natural gradient
    is ``g`` itself: there is no softmax Jacobian, which is what makes plain descent on logits crawl where labels are
    nearly decided. A change ``d`` of ``ln y_ik`` changes ``y_ik`` by about ``d y_ik`` and ``g_ik`` by ``c_i d y_ik``;
    hence the division, without which classes that have little of a voxel would take many steps. The gradient moves no
    ``ln y`` by more than 1 in a step.

    Samples of a batch are solved independently. One whose energy would rise goes back to its last ``y``, forgets its
    momentum and halves its stride; one whose energy falls by less than ``tolerance`` of itself in each of two steps in
    a row (momentum can make a single step short) is done. The start is mixed with 0.2 % of the uniform distribution, so
    the first energy differs slightly from the network's own.

    Without initial labels the start comes from coarser grids, each with half the voxels an axis
    (:func:`~medwsss.solvers.coarse.coarsened`): the coarsest starts from the network, and each next one from the linear
    interpolation of the last. Strokes reach far there in few and cheap steps. BL and CCE, which also charge equal soft
    labels and get stuck where they are decided (Figure 1), start from the network.

    Without the safeguard every step is taken with the same stride and momentum, whatever the energy does: a label then
    depends on nothing farther from its voxel than :meth:`reach`, and blocks of an image have the labels of the whole.
    The energy may rise then; ``stride=1`` keeps it falling nearly always (``docs/evidence.md``).

    Args:
        energy: what to minimise.
        max_steps: the bound on steps; a step that is refused counts.
        tolerance: relative fall of a sample's energy in a step below which the sample is done.
        stride: step length in units of 1/curvature, to begin with.
        momentum: share of the last change of ``ln y`` that is repeated.
        levels: how many coarser grids there are at most.
        coarse_steps: steps on each of them.
        safeguard: whether energies decide about steps and when to stop; without, ``tolerance`` has to be 0.

    Raises:
        ValueError: for a tolerance, levels or coarse steps below 0, a stride that is not positive, a momentum outside
            [0, 1), or a tolerance without the safeguard.

    Example::

        >>> from medwsss.keys import UNLABELED
        >>> from medwsss.terms import GridNeighborhood
        >>> scribble = torch.tensor([0, *[UNLABELED] * 4, 1]).reshape(1, 1, 6)
        >>> guide = torch.tensor([0.0, 0, 0, 1, 1, 1]).reshape(1, 1, 6)  # a border in the middle
        >>> energy = SelfLabelingEnergy("quadratic", "quadratic", GridNeighborhood(bandwidth=0.2), eta=0.01)
        >>> solution = NaturalGradient(energy)(torch.zeros(1, 2, 6), guide, scribble)
        >>> solution.labels.argmax(1).tolist(), solution.status.name
        ([[0, 0, 0, 1, 1, 1]], 'CONVERGED')
    """

    def __init__(
        self,
        energy: SelfLabelingEnergy,
        max_steps: int = 200,
        tolerance: float = 1e-4,
        stride: float = 1.5,
        momentum: float = 0.6,
        levels: int = 3,
        coarse_steps: int = 6,
        safeguard: bool = True,
    ) -> None:
        super().__init__(energy, max_steps)
        if tolerance < 0 or stride <= 0 or not 0 <= momentum < 1:
            raise ValueError(
                f"expected tolerance >= 0, stride > 0 and 0 <= momentum < 1, got {tolerance}, {stride}, {momentum}"
            )
        if levels < 0 or coarse_steps < 0:
            raise ValueError(f"expected levels >= 0 and coarse_steps >= 0, got {levels} and {coarse_steps}")
        if tolerance and not safeguard:
            raise ValueError(f"expected tolerance=0 without the safeguard, as no energy ends a solve, got {tolerance}")
        self.tolerance = tolerance
        self.stride = stride
        self.momentum = momentum
        self.levels = levels
        self.coarse_steps = coarse_steps
        self.safeguard = safeguard

    def reach(self, shape: Sequence[int]) -> tuple[int, ...]:
        """How far from a voxel of an image of this shape, along each axis, anything has a say in its label.

        Cut from the whole with so many voxels around it, a block has the same labels, if it is cut at multiples of
        ``2^levels`` voxels (as the cells of coarser grids are) or where the image ends: bit for bit by Numba's
        step, and to rounding by the others. Labels that a solve is given to start from count as coming from nowhere
        farther: with them, and for BL and CCE, it needs no more than ``levels=0`` tells.

        Raises:
            ValueError: with the safeguard, for a neighbourhood that is no list of offsets, or for an automatic
                bandwidth: these look at the whole image.

        Example:
            >>> from medwsss.terms import GridNeighborhood
            >>> energy = SelfLabelingEnergy(neighborhood=GridNeighborhood(bandwidth=9.0))
            >>> fixed = {"max_steps": 8, "tolerance": 0, "safeguard": False}
            >>> NaturalGradient(energy, levels=0, **fixed).reach((512, 512))
            (8, 8)
            >>> NaturalGradient(energy, levels=1, **fixed).reach((512, 512))  # 8, and 6 + 1 cells of 2 voxels
            (22, 22)
        """
        if self.safeguard:
            raise ValueError("expected safeguard=False: with it the energy of the whole image decides about every step")
        check_offsets(self.energy, "a reach")
        neighborhood: Any = self.energy.neighborhood
        ndim = len(shape)
        hops = [max(map(abs, along)) for along in zip(*neighborhood.offsets(ndim))]
        own = reach(shape, neighborhood.spacing, hops, [self.max_steps, *[self.coarse_steps] * self.levels])
        return tuple(map(sum, zip(own, neighborhood.guide_reach(ndim))))

    def start(self, problem: BoundEnergy, initial: Tensor | None) -> Iterate:
        """From the given labels, mixed with a little of the uniform distribution; else from coarser grids."""
        backend = choose(problem)
        if initial is None:
            return self._begin(problem, backend, self._upscaled(problem, backend, self.levels), self.max_steps)
        return self._begin(problem, backend, initial.to(problem.logits.dtype, copy=True), self.max_steps)

    def _upscaled(self, problem: BoundEnergy, backend: Backend, levels: int) -> Tensor:
        """Labels from the next coarser grid; from the network where there is none."""
        if not levels or not can_coarsen(problem):
            return problem.sigma.clone()
        coarse = coarsened(problem, backend.merged)
        state = self._begin(coarse, backend, self._upscaled(coarse, backend, levels - 1), self.coarse_steps)
        for _ in range(self.coarse_steps):
            state = self.step(coarse, state)
            if state.converged.all():
                break
        return backend.interpolated(state.accepted, cell(problem), problem.logits.shape[2:])

    def _begin(self, problem: BoundEnergy, backend: Backend, y: Tensor, steps: int) -> Iterate:
        y = backend.mixed(y, problem, UNIFORM_SHARE)
        stride = torch.full((y.shape[0],), self.stride, dtype=y.dtype)
        look = backend.step(problem)
        energy, candidate = look(y, y, stride.to(y.device), self.momentum)
        no = torch.zeros_like(stride, dtype=torch.bool)
        return Iterate(backend, look, steps, y, energy.cpu(), candidate, stride, no, no, no)

    def step(self, problem: BoundEnergy, state: Iterate) -> Iterate:
        """Look at the candidate: take it and step on from it, or go back."""
        stride = state.stride.to(state.candidate.device)
        if state.left > 1:
            energy, following = state.look(state.candidate, state.accepted, stride, self.momentum)
        else:  # nobody asks where the last candidate leads
            energy, following = state.look.energy(state.candidate, stride), state.candidate
        energy = energy.cpu()  # the one time in a step that a GPU is waited for
        if not self.safeguard:
            return state._replace(left=state.left - 1, accepted=state.candidate, energy=energy, candidate=following)
        worse = (energy > state.energy) | state.converged
        slow = ~worse & ~state.retrying & (state.energy - energy <= self.tolerance * state.energy)
        stuck = worse & (state.stride < LEAST_STRIDE)
        converged = state.converged | (slow & state.slow) | stuck
        return Iterate(
            state.backend,
            state.look,
            state.left - 1,
            accepted=_keep(worse, state.candidate, state.accepted),
            energy=torch.where(worse, state.energy, energy),
            candidate=_keep(worse, following, state.accepted),
            stride=torch.where(converged, 0, torch.where(worse, state.stride / 2, state.stride)),
            retrying=worse,
            slow=slow,
            converged=converged,
        )

    def energies(self, state: Iterate) -> Tensor:
        """``E(y)`` of what is accepted: never rises."""
        return state.energy

    def labels(self, problem: BoundEnergy, state: Iterate) -> Tensor:
        """The best ``y``, which is the last accepted."""
        return state.accepted

    def backend(self, state: Iterate) -> str:
        """Which loops ran."""
        return state.backend.name

    def status(self, state: Iterate, energies: list[Tensor]) -> Status | None:
        """Done when every sample is; without the safeguard after all steps."""
        if state.converged.all():
            return Status.CONVERGED
        if not self.safeguard:
            return steps_done(energies, self.max_steps)
        return Status.MAX_STEPS if len(energies) > self.max_steps else None


def _keep(where: Tensor, new: Tensor, old: Tensor) -> Tensor:
    """``new`` with the samples ``where`` taken from ``old``, in place."""
    for sample in where.nonzero().flatten().tolist():  # one by one: an index with a mask would copy them all
        new[sample] = old[sample]
    return new
