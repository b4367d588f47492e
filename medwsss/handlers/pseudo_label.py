# SPDX-License-Identifier: Apache-2.0
"""The other half of the alternation: between the network's forward pass and the loss, solve for pseudo-labels."""

from __future__ import annotations

import logging
import math
import warnings
from collections.abc import Mapping
from typing import Any

from ignite.engine import Engine, Events
from monai.engines.utils import IterationEvents
from monai.utils import CommonKeys

from medwsss.handlers.seed_watch import SeedWatch
from medwsss.keys import GUIDE, PRIOR, PSEUDO_LABEL, SCRIBBLE
from medwsss.solvers import Solution, Solver, Status
from medwsss.terms.prior import with_prior

__all__ = ["PseudoLabelHandler"]

logger = logging.getLogger(__name__)


class PseudoLabelHandler:
    """Puts ``y = argmin_y E(y; σ)`` into the batch's targets, for ``SelfLabelingLoss`` to read: the y-step of Eq. (8).

    Warm-up ends after ``warmup_epochs`` or, if ``warmup_loss`` is given, after the first epoch in which the mean of
    ``−ln σ_i^k`` over the seeds of *every* class ``k`` is at most that, whichever is first. ``exp(−loss)`` is the
    probability that the network gives to the class of its seeds, in geometric mean: ``warmup_loss = ln 2`` ends warm-up
    when it is one half for each, better than chance, as §3 asks for ("to avoid feeding random predictions"), and before
    over-fitted seeds make the network sure of everything else. Where epochs end it, the log names the classes whose
    seeds are not won: above ``warmup_loss`` or, without it, ``ln K``, which is chance.

    Epoch means go to ``engine.state.metrics`` (so TensorBoard gets them): ``solver_energy_before``,
    ``solver_energy_after`` (mean over samples) and ``solver_steps``; the last solve's advice and
    mean energy by step to ``engine.state.solver_status`` and ``solver_energy``.

    Args:
        solver: of :mod:`medwsss.solvers`.
        warmup_epochs: epochs on seeds alone, at most.
        warmup_loss: end warm-up early at this mean loss of the seeds of each class.
        prior_weight: ``κ`` of the targets' ``prior``, if they have one: the solver gets ``z + κ ln π``
            (:func:`~medwsss.terms.prior.with_prior`), the network's opinion and the prior's.

    Raises:
        ValueError: for negative warm-up figures or weights.
    """

    def __init__(
        self, solver: Solver, warmup_epochs: int = 0, warmup_loss: float | None = None, prior_weight: float = 1.0
    ) -> None:
        if prior_weight < 0:
            raise ValueError(f"expected prior_weight >= 0, got {prior_weight}")
        if warmup_epochs < 0 or (warmup_loss is not None and warmup_loss < 0):
            raise ValueError(f"expected warm-up figures >= 0, got {warmup_epochs} epochs and loss {warmup_loss}")
        self.solver = solver
        self.warmup_epochs = warmup_epochs
        self.warmup_loss = warmup_loss
        self.prior_weight = prior_weight
        self.active = False
        self._seeds = SeedWatch()
        self._solves: list[tuple[float, float, int]] = []
        self._warned = False

    def attach(self, engine: Engine) -> None:
        """Register with a MONAI trainer."""
        self._seeds = SeedWatch.of(engine)
        engine.add_event_handler(Events.EPOCH_STARTED, self._start_epoch)
        engine.add_event_handler(IterationEvents.FORWARD_COMPLETED, self._solve)
        engine.add_event_handler(Events.EPOCH_COMPLETED, self._complete_epoch)

    def state_dict(self) -> dict[str, Any]:
        """Whether warm-up is over."""
        return {"active": self.active}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Take :meth:`state_dict` back."""
        self.active = bool(state_dict["active"])

    def _start_epoch(self, engine: Engine) -> None:
        if self.active and self.warmup_loss is None and engine.state.epoch <= self.warmup_epochs:
            self.active = False  # a resumed run was given a longer warm-up
            logger.info(f"Back to warm-up, until epoch {self.warmup_epochs} is over.")
        if not self.active and engine.state.epoch > self.warmup_epochs:
            self._activate(engine)
        self._solves = []

    def _activate(self, engine: Engine) -> None:
        self.active = True
        text = f"Warm-up is over, pseudo-labels start: {engine.state.epoch - 1} epochs were trained on seeds alone."
        mark = math.log(self._seeds.sums.shape[1] or 1) if self.warmup_loss is None else self.warmup_loss
        for k, loss in self._seeds.of_classes(2).items():
            if loss > mark:
                text += f" The seeds of class {k} are not won: their mean loss is {loss:.3f}, above {mark:.3f}."
        logger.info(text)

    def _solve(self, engine: Engine) -> None:
        if not self.active:
            return
        state: Any = engine.state
        logits, targets = state.output[CommonKeys.PRED].detach(), state.output[CommonKeys.LABEL]
        if not logits.isfinite().all():  # a poisoned batch is the guard's to skip and to name, not the solver's
            return
        logits = with_prior(logits, targets.get(PRIOR), self.prior_weight)
        solution: Solution = self.solver(logits, targets[GUIDE], targets[SCRIBBLE])
        targets[PSEUDO_LABEL] = solution.labels
        before, after = solution.energy[0].mean().item(), solution.energy[-1].mean().item()
        self._solves.append((before, after, solution.steps))
        state.solver_status, state.solver_energy = str(solution.status), solution.energy.mean(1).tolist()
        if solution.status is Status.DIVERGED and not self._warned:
            self._warned = True
            warnings.warn(f"Pseudo-labels at iteration {state.iteration}: {solution.status}", stacklevel=2)

    def _complete_epoch(self, engine: Engine) -> None:
        if self._solves:
            names = ("solver_energy_before", "solver_energy_after", "solver_steps")
            for name, values in zip(names, zip(*self._solves)):
                engine.state.metrics[name] = sum(values) / len(values)
        losses = self._seeds.of_classes(2).values()
        if not self.active and self.warmup_loss is not None and losses and max(losses) <= self.warmup_loss:
            self.active = True
            logger.info(f"Warm-up is over: no class' seeds have a mean loss above {self.warmup_loss:.3f}.")
