# SPDX-License-Identifier: Apache-2.0
"""Does self-labeling help? What pseudo-labels change in the network's opinion, and who is right on held-out seeds."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import ignite.distributed as idist
import torch
from ignite.engine import Engine, Events
from monai.engines.utils import IterationEvents
from monai.utils import CommonKeys, convert_to_tensor
from torch import Tensor

from medwsss.keys import HELD_OUT, PSEUDO_LABEL, SCRIBBLE
from medwsss.metrics.pseudo_labels import decided_by
from medwsss.terms.simplex import seed_mask, unlabeled_mask

__all__ = ["PseudoLabelDiagnostics"]

LITTLE, MUCH = 0.001, 0.5  # of the free voxels: labels that change less, or more, than this are worth a word
MARGIN = 0.1  # held-out recall that pseudo-labels may lack: the best runs of the bundle's docs/default.md lack 0.05


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

    It has to come after :class:`~medwsss.handlers.PseudoLabelHandler`. Without held-out seeds in the batch, or without
    pseudo-labels, figures that need them are not there. Batches of logits that are not finite do not count.

    Args:
        interval: look at an epoch's first batch and every ``interval``-th after it; a look costs as much as the y-step.

    Attributes:
        figures: of the last epoch.
        missing: classes with seeds in the last epoch, but nowhere the likeliest in its pseudo-labels.
        most_changed: the largest ``pseudo_label_change`` of all epochs.
    """

    def __init__(self, interval: int = 1) -> None:
        if interval < 1:
            raise ValueError(f"expected an interval of at least 1, got {interval}")
        self.interval = interval
        self.figures: dict[str, float] = {}
        self.missing: list[int] = []
        self.most_changed = 0.0

    def attach(self, engine: Engine) -> None:
        """Register with a MONAI trainer."""
        engine.add_event_handler(Events.EPOCH_STARTED, self._reset)
        engine.add_event_handler(IterationEvents.FORWARD_COMPLETED, self._look)
        engine.add_event_handler(Events.EPOCH_COMPLETED, self._conclude)

    def state_dict(self) -> dict[str, Any]:
        """The attributes."""
        return {"figures": self.figures, "missing": self.missing, "most_changed": self.most_changed}

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
        by_class, totals = (self._sum(counts) for counts in (self._by_class, self._totals))
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

    @staticmethod
    def _sum(counts: Tensor) -> Tensor:
        """Over all processes."""
        total: Tensor = idist.all_reduce(counts.to(idist.device()))  # type: ignore[assignment]  # a tensor for a tensor
        return total.cpu()

    @property
    def advice(self) -> str | None:
        """What to change where pseudo-labels do not help; the gravest matter alone."""
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
