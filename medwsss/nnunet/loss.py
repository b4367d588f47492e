# SPDX-License-Identifier: Apache-2.0
"""nnU-Net's loss on seeds, and pseudo-labels beside it on the head of full resolution. In torch alone."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from medwsss.keys import PSEUDO_LABEL, SCRIBBLE, UNLABELED, VOID
from medwsss.losses import SelfLabelingLoss
from medwsss.losses.reduction import over_processes
from medwsss.metrics.seeds import seeds_by_class
from medwsss.nnunet.settings import Settings
from medwsss.solvers import NaturalGradient
from medwsss.terms import GridNeighborhood, SelfLabelingEnergy

__all__ = ["PADDING", "LossWithPseudoLabels"]

PADDING = -1  #: of label maps in nnU-Net: where an image was padded or rotated


class LossWithPseudoLabels(nn.Module):
    """``L + (η/n_U) Σ_{i∈U} b_i H(y_i, σ_i)`` in epochs that trust the network, ``L`` in the others.

    ``L`` is nnU-Net's partial Dice and cross-entropy under deep supervision, with padding ignored, too. The second term
    is that of :class:`~medwsss.losses.SelfLabelingLoss` for ``y = argmin E(y; σ)`` of this batch, at full resolution.

    As a module in evaluation it is ``L``. The network is trusted once an epoch's seeds of each class are won, see
    :meth:`conclude`: before, its opinion is random, and collision cross-entropy has no gradient where it is sure and
    wrong.

    Args:
        supervised: ``L``, of outputs and targets, lists under deep supervision.
        ignore_label: of label maps in nnU-Net: where nobody annotated.
        settings: of the term.
        spacing: of voxels, one number an axis.

    Attributes:
        active: whether pseudo-labels are used.
        ranges: of intensities, one a channel of the guide; a bandwidth is a share of them.

    Shape:
        - outputs: ``B K *S`` logits, in a list under deep supervision, the largest first.
        - targets: a list of ``B 1 *S`` integers for each of these and, in training, the guide ``B C *S``.
        - output: scalar.

    Raises:
        ValueError: for settings out of range.
    """

    def __init__(self, supervised: nn.Module, ignore_label: int, settings: Settings, spacing: Sequence[float]) -> None:
        super().__init__()
        self.supervised = supervised
        self.ignore_label = ignore_label
        self.settings = settings
        neighborhood = GridNeighborhood(
            settings.connectivity, settings.bandwidth, tuple(map(float, spacing)), settings.smoothing
        )
        energy = SelfLabelingEnergy(
            settings.cross_entropy, settings.relaxation, neighborhood, settings.solver_eta, settings.lam
        )
        self.solver = NaturalGradient(energy, settings.solver_steps)
        self.term = SelfLabelingLoss(
            settings.cross_entropy, settings.eta, class_balance=settings.class_balance, seed_weight=0
        )
        self.active = False
        self.ranges: Sequence[float] = (1.0,)
        self._seeds: Tensor | None = None

    def forward(self, outputs: Tensor | Sequence[Tensor], targets: Tensor | Sequence[Tensor]) -> Tensor:
        """The loss of a batch."""
        if not self.training:
            loss: Tensor = self.supervised(outputs, targets)
            return loss
        *labels, guide = targets
        known = [torch.where(each == PADDING, self.ignore_label, each) for each in labels]
        if isinstance(outputs, Tensor):
            loss, logits = self.supervised(outputs, known[0]), outputs
        else:
            loss, logits = self.supervised(outputs, known), outputs[0]
        scribble = torch.where(
            labels[0] == PADDING, VOID, known[0].masked_fill(known[0] == self.ignore_label, UNLABELED)
        )
        opinion = logits.detach().float().nan_to_num()  # a scaled step that overflows is skipped, but on all processes
        seeds = seeds_by_class(opinion, scribble)
        self._seeds = seeds if self._seeds is None else self._seeds + seeds
        if not self.active or not self.settings.eta:
            return loss
        ranges = guide.new_tensor(self.ranges).view(-1, *[1] * (guide.ndim - 2))
        y = self.solver(opinion, guide / ranges, scribble).labels
        term: Tensor = self.term(logits, {SCRIBBLE: scribble, PSEUDO_LABEL: y})
        return loss + term

    def conclude(self, device: torch.device) -> list[float]:
        """End an epoch: the mean of ``−ln σ_i^k`` over the seeds of each class ``k``, NaN where there were none.

        Where each is at most ``warmup_loss``, the next epoch has pseudo-labels; where one is above, it has none, so a
        class that is lost again is first won back.
        """
        assert self._seeds is not None
        sums = over_processes(self._seeds.to(device)).cpu()
        self._seeds = None
        losses = (sums[2] / sums[0]).tolist()
        self.active = all(not loss > self.settings.warmup_loss for loss in losses)
        return losses
