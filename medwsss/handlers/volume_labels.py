# SPDX-License-Identifier: Apache-2.0
"""Pseudo-labels of whole training volumes, solved anew a few times in a training: ``y`` as the variable of Eq. (8)."""

from __future__ import annotations

import json
import logging
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

import ignite.distributed as idist
import torch
from ignite.engine import Engine, Events
from monai.engines.utils import IterationEvents
from monai.networks.utils import eval_mode
from monai.utils import CommonKeys, convert_to_tensor
from torch import Tensor, nn
from torch.utils.data import Dataset
from tqdm import tqdm

from medwsss.files import bare
from medwsss.handlers.checkpoint import checkpoints_in
from medwsss.keys import CASE, GUIDE, IMAGE, PRIOR, PSEUDO_LABEL, SCRIBBLE
from medwsss.label_store import LabelStore
from medwsss.solvers import Solution, Solver, Status, with_spacing
from medwsss.terms.prior import with_prior
from medwsss.terms.simplex import safe_log

__all__ = ["VolumeLabelHandler"]

logger = logging.getLogger(__name__)

FIGURES = ("solver_energy_before", "solver_energy_after", "solver_steps")
SOLVE = ("solver_status", "solver_energy")  # of the last case


class VolumeLabelHandler:
    """Solves ``y = argmin_y E(y; σ̄)`` of whole cases, before the first epoch and ``refreshes`` times later.

    In between, labels stand still, as in the paper's alternation, and patches are cut out of them together with image
    and scribble (:class:`~medwsss.transforms.LoadVolumeLabeld`): strokes outside a patch count in it, a patch may lie
    where there are none, and a step of training pays for no solve. In epoch 1 nobody has an opinion, and ``σ̄`` is
    uniform. Later it is the running average of what the network says of the whole case, in evaluation mode::

        σ̄ ← memory · σ̄ + (1 − memory) · σ

    The ``refreshes + 1`` generations are spread evenly over the epochs after warm-up, in which there are no labels. A
    generation follows from the network at its epoch's start and from the generation before, so a resumed run has the
    labels of an unbroken one; what a killed process had solved of it stays. Processes share the cases, and the folder.

    Means over cases go to ``engine.state.metrics``: ``solver_energy_before``, ``solver_energy_after`` and
    ``solver_steps`` of the present generation; the advice of its last case's solve, and its energy by step, to
    ``engine.state.solver_status`` and ``solver_energy``.

    List it before handlers that look at pseudo-labels, and before :class:`~medwsss.handlers.EpochSeeder`.

    Args:
        solver: of :mod:`medwsss.solvers`.
        cases: training cases, each once, before anything random: image, ``guide`` if it isn't the image, ``prior`` if
            they have one, scribble and ``case``, a name.
        network: what trains.
        inferer: how it predicts whole cases.
        num_classes: ``K``.
        store: where labels lie: ``K`` times the voxels of all cases times 2 bytes, twice with a memory, and as much
            again until the checkpoints of the generation before are gone.
        refreshes: how often labels are solved anew.
        memory: weight of earlier opinions, from 0 (none) and below 1.
        warmup_epochs: on seeds alone.
        spacing: of the cases' voxels, if the solver's own is another (a network of slices, say).
        probabilities: whether the inferer returns distributions in place of logits.
        amp: predict in mixed precision.
        checkpoints: folder of a :class:`~medwsss.handlers.FullCheckpoint`, whose labels are kept.
        keep: leave the last labels on disk when training ends.
        settings: whatever else labels depend on, as JSON can hold it: what is left of an unfinished generation of other
            settings is not used.
        prior_weight: of the cases' ``prior``, as in :class:`PseudoLabelHandler`.

    Raises:
        ValueError: for figures out of range.
    """

    def __init__(
        self,
        solver: Solver,
        cases: Dataset,
        network: nn.Module,
        inferer: Callable[..., Any],
        num_classes: int,
        store: LabelStore,
        refreshes: int = 4,
        memory: float = 0.5,
        warmup_epochs: int = 0,
        spacing: Sequence[float] | None = None,
        probabilities: bool = False,
        amp: bool = False,
        checkpoints: str | Path | None = None,
        keep: bool = False,
        settings: Mapping[str, Any] | None = None,
        prior_weight: float = 1.0,
    ) -> None:
        if refreshes < 0 or warmup_epochs < 0 or not 0 <= memory < 1:
            told = f"{refreshes}, {warmup_epochs} and {memory}"
            raise ValueError(f"expected refreshes and warmup_epochs >= 0 and memory from 0 and below 1, got {told}")
        self.solver = solver if spacing is None else with_spacing(solver, spacing)
        self.cases, self.network, self.inferer, self.num_classes = cases, network, inferer, num_classes
        self.store, self.refreshes, self.memory, self.warmup_epochs = store, refreshes, memory, warmup_epochs
        self.probabilities, self.amp, self.keep, self.settings = probabilities, amp, keep, settings
        self.checkpoints = None if checkpoints is None else Path(checkpoints)
        self.index = {item[CASE]: index for index, item in enumerate(cases.data)}  # type: ignore[attr-defined]
        self.generation: int | None = None
        self.origin, self.prior_weight, self._joined = "", prior_weight, False

    def attach(self, engine: Engine) -> None:
        """Register with a MONAI trainer."""
        engine.add_event_handler(Events.EPOCH_STARTED, self._start_epoch)
        engine.add_event_handler(IterationEvents.FORWARD_COMPLETED, self._leave_out)

    def state_dict(self) -> dict[str, Any]:
        """Which labels training reads."""
        return {"generation": self.generation, "origin": self.origin}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Take :meth:`state_dict` back."""
        self.generation, self.origin = state_dict["generation"], state_dict["origin"]

    def _start_epoch(self, engine: Engine) -> None:
        if not self._joined:  # behind whatever writes checkpoints, which joins when the engine starts
            engine.add_event_handler(Events.EPOCH_COMPLETED, self._tidy)
            engine.add_event_handler(Events.COMPLETED, self._complete)
            self._joined = True
        if engine.state.epoch > self.warmup_epochs:
            self._renew(engine)
        if idist.get_rank() == 0:
            self.store.current = self.generation
        idist.barrier()
        self._tell(engine)

    def _renew(self, engine: Engine) -> None:
        """Solve if it is time to."""
        epoch, last = engine.state.epoch, engine.state.max_epochs or 0
        if self.generation is not None and not self.store.is_whole(self.generation, self.origin, self.index):
            logger.warning(
                "Expected labels of all cases from epoch %d in %s, got fewer or others: labels begin anew.",
                self.generation,
                self.store.folder,
            )
            self.generation = None
        if self.generation is None or any(self.generation < due <= epoch for due in self.due(last)):
            self._refresh(engine)

    def due(self, epochs: int) -> list[int]:
        """The epochs before which labels are solved in a training of so many."""
        parts = self.refreshes + 1
        return [1 + self.warmup_epochs + (epochs - self.warmup_epochs) * part // parts for part in range(parts)]

    def _leave_out(self, engine: Engine) -> None:
        if engine.state.epoch <= self.warmup_epochs:
            output: Any = engine.state.output
            output[CommonKeys.LABEL].pop(PSEUDO_LABEL, None)

    # ---- solving

    def _refresh(self, engine: Engine) -> None:
        before, generation, origin = self.generation, engine.state.epoch, self._digest()
        start = time.perf_counter()
        if idist.get_rank() == 0:
            self.store.begin(generation, origin, before)
        idist.barrier()
        own = list(self.index)[idist.get_rank() :: idist.get_world_size()]
        for case in tqdm(own, desc="labels", unit="case", disable=True if idist.get_rank() else None):
            if not self.store.has(generation, case):
                self._solve(engine, case, before)
        idist.barrier()
        self.generation, self.origin = generation, origin
        seconds = time.perf_counter() - start
        logger.info("Labels of %d cases before epoch %d: %.1f s.", len(self.index), generation, seconds)

    def _digest(self) -> str:
        """Of all that a generation's labels come from."""
        digest = sha256(json.dumps([self.settings, self.origin, self.memory], sort_keys=True).encode())
        for name, value in bare(self.network).state_dict().items():
            digest.update(name.encode())
            digest.update(value.detach().cpu().reshape(-1).view(torch.uint8).numpy())
        told: Any = idist.broadcast(digest.hexdigest(), src=0)
        return str(told)

    def _solve(self, engine: Engine, name: str, before: int | None) -> None:
        case, generation = self.cases[self.index[name]], engine.state.epoch
        image = convert_to_tensor(case[IMAGE], track_meta=False)[None].to(getattr(engine.state, "device", None))
        if generation == 1:
            opinion, sigma = None, image.new_full((1, self.num_classes, *image.shape[2:]), 1 / self.num_classes)
        else:
            opinion = sigma = self._average(self.predict(image), before, name)
        solution = self.solve(case, sigma)
        ends = solution.energy[0].item(), solution.energy[-1].item(), solution.steps
        last = str(solution.status), solution.energy.mean(1).tolist()
        self.store.write(
            generation,
            name,
            solution.labels[0].numpy(force=True),
            opinion[0].numpy(force=True) if opinion is not None and self.memory else None,
            dict(zip((*FIGURES, *SOLVE), (*ends, *last))),
        )
        if solution.status is Status.DIVERGED:
            warnings.warn(f"Pseudo-labels of {name}: {solution.status}", stacklevel=2)

    def solve(self, case: Mapping[str, Any], sigma: Tensor) -> Solution:
        """Pseudo-labels of a case for this opinion of it, ``1 K *S``."""
        keys = [key for key in (IMAGE, GUIDE, SCRIBBLE, PRIOR) if key in case]
        of = {key: convert_to_tensor(case[key][None], device=sigma.device) for key in keys}
        # one layout, for which the solver's kernels are compiled
        logits = with_prior(safe_log(sigma).contiguous(), of.get(PRIOR), self.prior_weight)
        return self.solver(logits, of.get(GUIDE, of[IMAGE]), of[SCRIBBLE])

    def predict(self, image: Tensor) -> Tensor:
        """``σ`` of a case, ``1 K *S``."""
        network = bare(self.network)  # a wrapper would wait for processes that have fewer cases
        with eval_mode(network), torch.autocast(image.device.type, enabled=self.amp):
            out: Tensor = self.inferer(image, network)
        return out.float() if self.probabilities else out.float().softmax(1)

    def _average(self, sigma: Tensor, before: int | None, case: str) -> Tensor:
        earlier = None if before is None else self.store.opinion(before, case)
        if earlier is None:
            return sigma
        return sigma.lerp(torch.from_numpy(earlier)[None].to(sigma), self.memory)

    # ---- figures and files

    def _tell(self, engine: Engine) -> None:
        if self.generation is None:
            return
        found = [self.store.figures(self.generation, name) for name in self.index]
        state: Any = engine.state
        for name in FIGURES:
            state.metrics[name] = sum(each[name] for each in found) / len(found)
        state.solver_status, state.solver_energy = map(found[-1].get, SOLVE)

    def _tidy(self, engine: Engine) -> None:
        if idist.get_rank() == 0 and self.generation is not None:
            kept = [] if self.checkpoints is None else checkpoints_in(self.checkpoints)
            self.store.forget_before(min([engine.state.epoch, *(epoch for epoch, _ in kept)]))

    def _complete(self, engine: Engine) -> None:
        if idist.get_rank() == 0 and engine.state.epoch == engine.state.max_epochs and not self.keep:
            self.store.remove()
