# SPDX-License-Identifier: Apache-2.0
"""The network's part of Eq. (8): seeds, and a cross-entropy to pseudo-labels elsewhere."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from medwsss.keys import PSEUDO_LABEL
from medwsss.losses.partial_cross_entropy import PartialCrossEntropyLoss
from medwsss.losses.precision import without_autocast
from medwsss.losses.reduction import checked_normalization, divisors, over_processes
from medwsss.terms.cross_entropies import CROSS_ENTROPIES, CrossEntropy
from medwsss.terms.simplex import seed_mask, unlabeled_mask

__all__ = ["SelfLabelingLoss", "class_weights"]

LIGHTEST, HEAVIEST = 0.1, 10.0  # that a class may weigh: shares of a batch are rough, and few voxels may be wrong


def class_weights(y: Tensor, scribble: Tensor) -> Tensor:
    """``r_k = s_k / u_k`` within [0.1, 10]: how much rarer class ``k`` is in pseudo-labels than among seeds.

    ``s_k`` is its share of the seeds ``S`` of the batch, ``u_k`` the mean of ``y_i^k`` over the unlabelled ``U``.
    All are 1 in a batch without seeds.

    Shape:
        - y: ``B K *S``.
        - scribble: ``B 1 *S``.
        - output: ``K``.
    """
    of_label = over_processes((y * unlabeled_mask(scribble)).transpose(0, 1).flatten(1).sum(1))
    seeds = over_processes(torch.bincount(scribble[seed_mask(scribble)], minlength=y.shape[1])).to(y.dtype)
    if not seeds.any():
        return torch.ones_like(of_label)
    # infinite, so as heavy as may be, for a seeded class that no pseudo-label has
    ratio = seeds / seeds.sum() * of_label.sum() / of_label.clamp_min(torch.finfo(y.dtype).tiny)
    return ratio.clamp(LIGHTEST, HEAVIEST)


class WeightedCrossEntropies(torch.autograd.Function):
    """``Σ_i a_i (−ln σ_i^{ȳ_i}) + b_i H(y_i, σ_i)`` for ``σ = softmax(z)``, with its derivative in closed form.

    ``∂/∂z_i = a_i (σ_i − ȳ_i) + b_i ∂H/∂z_i``. Autograd would go through two softmaxes, and thrice over the memory.
    """

    @staticmethod
    def forward(
        ctx: Any, logits: Tensor, classes: Tensor, a: Tensor, y: Tensor, b: Tensor, term: CrossEntropy
    ) -> Tensor:
        """``z`` and ``y`` are ``B K *S``; ``classes`` (of ``ȳ``, any where ``a`` is 0), ``a`` and ``b`` ``B 1 *S``."""
        log_sigma = logits.log_softmax(1)
        sigma = log_sigma.exp()
        values, gradient = term.in_logits(y, sigma)
        ctx.save_for_backward(gradient.mul_(b).addcmul_(a, sigma).scatter_add_(1, classes, -a))
        return (b.squeeze(1) * values).sum() - (a * log_sigma.gather(1, classes)).sum()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, outer: Tensor) -> tuple[Tensor | None, ...]:
        """``∂/∂z``."""
        (gradient,) = ctx.saved_tensors
        return outer * gradient, None, None, None, None, None


class SelfLabelingLoss(nn.Module):
    """``−(1/n_S) Σ_{i∈S} ln σ_i^{ȳ_i} + (η/n_U) Σ_{i∈U} b_i H(y_i, σ_i)``, Eq. (8) for fixed ``y``.

    ``U`` are the unlabelled voxels; ``n_S = |S|`` and ``n_U = Σ_{i∈U} b_i``, or one count for both, see
    :func:`~medwsss.losses.reduction.divisors`. In warm-up, while the target holds no
    pseudo-labels, it is the seed term alone.

    In the paper all ``b_i`` are 1, and classes of few pixels hardly count once pseudo-labels come, whereas strokes are
    drawn for every class alike. So here ``b_i = Σ_k y_i^k r_k^γ`` with ``r`` of :func:`class_weights`: at γ = 1 classes
    weigh what they weigh among the seeds, at γ = 0 what they weigh in the image.

    Args:
        cross_entropy: ``H``, one of ``CROSS_ENTROPIES``.
        eta: ``η`` of the network's term; the solver's ``η`` is a knob of its own.
        dice_weight: of a Dice loss on seeds, as in :class:`PartialCrossEntropyLoss`.
        class_balance: ``γ``, from 0 (the paper's) to 1.
        normalization: ``"means"``, or ``"sums"`` for η as in Eq. (8). Warm-up's one term is a mean with either.
        seed_weight: of the seed term (and its Dice); 0 where another loss has the seeds already.

    Shape:
        - input: ``B K *S`` logits.
        - target: mapping with ``scribble`` (``B 1 *S``) and, after warm-up, ``pseudo_label`` (``B K *S``).
        - output: scalar.

    Example:
        >>> logits = torch.zeros(1, 2, 4, requires_grad=True)
        >>> y = torch.tensor([[[1, 1, 0.5, 0], [0, 0, 0.5, 1]]])
        >>> target = {"scribble": torch.tensor([[[0, 255, 255, 1]]]), "pseudo_label": y}
        >>> SelfLabelingLoss(eta=1.0)(logits, target).backward()
        >>> logits.grad[0, 0].tolist()  # seeds and a sure label pull, an undecided one does not
        [-0.25, -0.25, 0.0, 0.25]

    Source: Zhang & Boykov, CVPR 2025, Eq. (8) to (11).
    """

    def __init__(
        self,
        cross_entropy: str = "collision_cross_entropy",
        eta: float = 0.3,
        dice_weight: float = 0.0,
        class_balance: float = 0.0,
        normalization: str = "means",
        seed_weight: float = 1.0,
    ) -> None:
        super().__init__()
        if cross_entropy not in CROSS_ENTROPIES:
            raise ValueError(f"expected cross_entropy in {sorted(CROSS_ENTROPIES)}, got {cross_entropy!r}")
        if eta < 0 or seed_weight < 0:
            raise ValueError(f"expected seed_weight >= 0 and eta >= 0, got {seed_weight} and {eta}")
        if not 0 <= class_balance <= 1:
            raise ValueError(f"expected class_balance from 0 to 1, got {class_balance}")
        self.cross_entropy = CROSS_ENTROPIES[cross_entropy]
        self.eta = eta
        self.class_balance = class_balance
        self.seed_weight = seed_weight
        self.normalization = checked_normalization(normalization)
        self.seed_loss = PartialCrossEntropyLoss(dice_weight)

    @without_autocast
    def forward(self, input: Tensor, target: Mapping[str, Tensor]) -> Tensor:  # noqa: A002 (MONAI's name)
        """The loss of a batch."""
        if PSEUDO_LABEL not in target:
            loss: Tensor = self.seed_weight * self.seed_loss(input, target)
            return loss
        logits, scribble = self.seed_loss.checked(input, target)
        y = target[PSEUDO_LABEL].to(logits.dtype)
        if y.shape != logits.shape:
            raise ValueError(f"expected pseudo-labels of the logits' shape {tuple(logits.shape)}, got {tuple(y.shape)}")
        a, b = (mask.to(logits.dtype) for mask in (seed_mask(scribble), unlabeled_mask(scribble)))
        if self.class_balance:
            b *= torch.einsum("bk...,k->b...", y, class_weights(y, scribble) ** self.class_balance).unsqueeze(1)
        of_seeds, of_rest = divisors(a, b, self.normalization)
        a, b = self.seed_weight * a / of_seeds, self.eta * b / of_rest
        classes = torch.where(a > 0, scribble, 0)
        loss = WeightedCrossEntropies.apply(logits, classes, a, y, b, self.cross_entropy)
        return loss + self.seed_weight * self.seed_loss.dice_term(logits, scribble)
