# SPDX-License-Identifier: Apache-2.0
"""Does self-labeling help? What pseudo-labels change in the network's opinion, and who is right on held-out seeds."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

import torch
from ignite.engine import Engine, Events
from monai.engines.utils import IterationEvents
from monai.utils import CommonKeys, convert_to_tensor
from torch import Tensor

from medwsss.handlers.seed_watch import SeedWatch, over_processes
from medwsss.keys import HELD_OUT, PSEUDO_LABEL, SCRIBBLE
from medwsss.metrics.pseudo_labels import decided_by
from medwsss.terms.simplex import seed_mask, unlabeled_mask

__all__ = ["PseudoLabelDiagnostics"]

LITTLE, MUCH = 0.001, 0.5  # of the free voxels: labels that change less, or more, than this are worth a word
GIVEN_UP = 0.1  # of what a guess by frequency gives to a class' seeds: a network that gives less has lost the class
UNSEEN = 5  # epochs in a row in which hardly a seed of a class is given to it: worth a word
FEW = 0.05  # of a class' seeds: whoever predicts fewer does not see the class
STATE = ("figures", "missing", "lost", "unseen", "healing", "healed", "most_changed")
REMEDY = "train longer on seeds alone (warmup_epochs, warmup_loss), lower eta or learning_rate, or give them more seeds"
MARGIN = 0.1  # held-out recall that pseudo-labels may lack: the best runs of docs/evidence.md lack 0.05


class PseudoLabelDiagnostics:
    """Figures of each epoch's batches, for ``engine.state.metrics`` (so TensorBoard gets them) and the report.

    ===========================  ===================================================================================
    ``held_out_network``         recall of held-out seeds (:class:`~medwsss.transforms.HoldOutSeedsd`) by ``argmax σ``,
                                 mean over the classes that have any: a validation without dense masks
    ``held_out_pseudo_label``    the same by ``argmax y``; the solver has not seen these seeds either
    ``pseudo_label_change``      share of free voxels (neither seeds nor void) with ``argmax y ≠ argmax σ``
    ``pseudo_label_certainty``   mean over free voxels of ``max_k y^k``
    ``decided_by_seeds``, …      shares of voxels, see :func:`~medwsss.metrics.decided_by`, of each batch's first sample
    ===========================  ===================================================================================

    It has to come after the handler that brings pseudo-labels, whichever it is. Without held-out seeds in the batch, or
    without pseudo-labels, figures that need them are not there. Batches of logits that are not finite do not count.

    It also watches for collapse. The gradient of collision cross-entropy in the logits, ``σ_k (1 − y_k / σ·y)``,
    vanishes as ``σ_k → 0``, and labels that are solved from ``σ`` repeat it: a network that is sure and wrong stays so.
    A class is lost where the mean of ``σ_i^k`` over its seeds is below a tenth of its share of all seeds, which is what
    a guess gives. Then there is a warning, and pseudo-labels are withheld from the loss until the mean of every class
    is its share at least, for ``heal_epochs`` of a training at most: the seed term alone always pulls. A training that
    loses no class is not touched, and before pseudo-labels come there is nothing to warn of. A class of which fewer
    than 1 in 20 seeds are predicted in five epochs in a row is warned of, too; nothing is withheld for it.

    Args:
        interval: look at an epoch's first batch and every ``interval``-th after it; a look costs as much as the y-step.
            For collapse it looks at the seeds of all batches.
        heal_epochs: epochs on seeds alone at most, over all; 0 warns only.

    Attributes:
        figures: of the last epoch.
        missing: classes with seeds in the last epoch, but nowhere the likeliest in its pseudo-labels.
        lost: classes that the network gave up in the last epoch.
        unseen: for how many epochs in a row, up to the last one, hardly a seed of a class was predicted, by class.
        healing: whether pseudo-labels are withheld now.
        healed: for how many epochs they have been so far.
        most_changed: the largest ``pseudo_label_change`` of all epochs.
    """

    def __init__(self, interval: int = 1, heal_epochs: int = 10) -> None:
        if interval < 1:
            raise ValueError(f"expected an interval of at least 1, got {interval}")
        if heal_epochs < 0:
            raise ValueError(f"expected heal_epochs >= 0, got {heal_epochs}")
        self.interval = interval
        self.heal_epochs = heal_epochs
        self.figures: dict[str, float] = {}
        self.missing: list[int] = []
        self.most_changed = 0.0
        self.lost: list[int] = []
        self.unseen: dict[int, int] = {}
        self.healing = False
        self.healed = 0
        self._seeds = SeedWatch()

    def attach(self, engine: Engine) -> None:
        """Register with a MONAI trainer."""
        self._seeds = SeedWatch.of(engine)
        engine.add_event_handler(Events.EPOCH_STARTED, self._reset)
        engine.add_event_handler(IterationEvents.FORWARD_COMPLETED, self._look)
        engine.add_event_handler(IterationEvents.FORWARD_COMPLETED, self._withhold)
        engine.add_event_handler(Events.EPOCH_COMPLETED, self._conclude)
        engine.add_event_handler(Events.EPOCH_COMPLETED, self._watch)

    def state_dict(self) -> dict[str, Any]:
        """The attributes."""
        return {name: getattr(self, name) for name in STATE}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Take :meth:`state_dict` back."""
        vars(self).update(state_dict)

    def _reset(self) -> None:
        self._by_class = torch.zeros(0)
        self._totals = torch.zeros(6, dtype=torch.float64)

    def _look(self, engine: Engine) -> None:
        state: Any = engine.state
        if (state.iteration - 1) % (state.epoch_length or 1) % self.interval:
            return
        logits, targets = state.output[CommonKeys.PRED].detach(), state.output[CommonKeys.LABEL]
        num_classes = logits.shape[1]
        if not self._by_class.numel():
            self._by_class = torch.zeros(5, num_classes, dtype=torch.float64)
        if not logits.isfinite().all():
            return

        def count(labels: Tensor, where: Tensor) -> Tensor:
            return torch.bincount(labels[where].long(), minlength=num_classes).cpu()

        network, y, scribble = logits.argmax(1, keepdim=True), targets.get(PSEUDO_LABEL), targets[SCRIBBLE]
        labels = network if y is None else y.argmax(1, keepdim=True)
        if HELD_OUT in state.batch:
            held_out = convert_to_tensor(state.batch[HELD_OUT], track_meta=False).to(logits.device)
            asked = seed_mask(held_out)
            rows = (count(held_out, asked & right) for right in (asked, network == held_out, labels == held_out))
            self._by_class[:3] += torch.stack(list(rows))
        if y is not None:
            free = unlabeled_mask(scribble)
            self._by_class[3:] += torch.stack([count(scribble, seed_mask(scribble)), count(labels, free)])
            changed = free & (labels != network)
            certain = torch.where(free, y.amax(1, keepdim=True), 0)
            self._totals[:3] += torch.stack([x.sum(dtype=torch.float32) for x in (free, changed, certain)]).cpu()
            self._totals[3:] += torch.tensor(decided_by(labels[0, 0], network[0, 0], scribble[0, 0]))

    def _conclude(self, engine: Engine) -> None:
        by_class, totals = (over_processes(counts) for counts in (self._by_class, self._totals))
        held_out, by_network, by_labels, seeds, of_label = by_class
        free, changed, certain, *decided = totals.tolist()
        self.figures = {}
        if held_out.any():
            asked = held_out > 0
            self.figures["held_out_network"] = (by_network / held_out)[asked].mean().item()
            if free:
                self.figures["held_out_pseudo_label"] = (by_labels / held_out)[asked].mean().item()
        if free:
            self.figures["pseudo_label_change"] = changed / free
            self.figures["pseudo_label_certainty"] = certain / free
            for name, share in zip(("seeds", "edges", "network"), decided):
                self.figures[f"decided_by_{name}"] = share / sum(decided)
            self.most_changed = max(self.most_changed, changed / free)
            self.missing = ((seeds > 0) & (of_label == 0)).nonzero().flatten().tolist()
        engine.state.metrics.update(self.figures)

    def _withhold(self, engine: Engine) -> None:
        output: Any = engine.state.output
        if self.healing:
            output[CommonKeys.LABEL].pop(PSEUDO_LABEL, None)

    def _watch(self, engine: Engine) -> None:
        self.healed += self.healing
        number, given, _, hits = self._seeds.sums
        guessed = number * number / number.sum()  # NaN without seeds: nothing is below
        self.lost = (given < GIVEN_UP * guessed).nonzero().flatten().tolist()
        if "pseudo_label_change" not in self.figures:  # warm-up is not over
            return
        unseen = ((number > 0) & (hits < FEW * number)).nonzero().flatten().tolist()
        self.unseen = {k: self.unseen.get(k, 0) + 1 for k in unseen}
        if long := [k for k, epochs in self.unseen.items() if epochs == UNSEEN and k not in self.lost]:
            warnings.warn(
                f"Epoch {engine.state.epoch}: the network has predicted less than {FEW:.0%} of the seeds of classes "
                f"{long} for {UNSEEN} epochs; {REMEDY}",
                stacklevel=2,
            )
        short = (given < guessed).any() if self.healing else bool(self.lost)
        if self.lost and not self.healing:
            means = ", ".join(f"{k}: {self._seeds.of_classes(1)[k]:.4f}" for k in self.lost)
            then = "pseudo-labels pause until they are won" if self.healed < self.heal_epochs else self.advice
            warnings.warn(
                f"Epoch {engine.state.epoch}: the network has lost classes (σ on their seeds {means}); {then}",
                stacklevel=2,
            )
        self.healing = bool(short) and self.healed < self.heal_epochs

    @property
    def advice(self) -> str | None:
        """What to change where pseudo-labels do not help; the gravest matter alone."""
        if self.lost:
            return f"classes {self.lost} are lost: on their own seeds the network rules them out; {REMEDY}"
        if long := [k for k, epochs in self.unseen.items() if epochs >= UNSEEN]:
            return f"less than {FEW:.0%} of the seeds of classes {long} are predicted as what they are; {REMEDY}"
        if "pseudo_label_change" not in self.figures:
            return None
        network, labels = (self.figures.get(f"held_out_{name}", 0.0) for name in ("network", "pseudo_label"))
        if self.missing:
            return (
                f"classes {self.missing} have seeds but no pseudo-labels: give them more seeds, lower lam, or look "
                "whether bandwidth tells them from their surroundings"
            )
        if labels < network - MARGIN:
            return (
                f"on held-out seeds pseudo-labels are right less often than the network ({labels:.3f} against "
                f"{network:.3f}): lower bandwidth or lam, or raise solver_eta"
            )
        if self.most_changed < LITTLE:
            return (
                f"pseudo-labels never differed from the network on more than {self.most_changed:.3%} of the voxels: "
                "raise lam, lower solver_eta, or end warm-up sooner"
            )
        if (change := self.figures["pseudo_label_change"]) > MUCH:
            return (
                f"pseudo-labels still contradict the network on {change:.0%} of the voxels: lower lam, raise "
                "solver_eta, or train longer"
            )
        return None
