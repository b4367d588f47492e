# SPDX-License-Identifier: Apache-2.0
"""The unary terms ``H(y_i, σ_i)`` that tie pseudo-labels to predictions: Eq. (9), (10), (11) and §3.1.

Source: Zhang & Boykov, Soft Self-labeling and Potts Relaxations for Weakly-Supervised Segmentation, CVPR 2025, §2.2.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from medwsss.terms.simplex import safe_log, safe_reciprocal

__all__ = [
    "CROSS_ENTROPIES",
    "CrossEntropy",
    "collision_cross_entropy",
    "cross_entropy",
    "quadratic",
    "reverse_cross_entropy",
    "robust_cross_entropy",
]


Term = Callable[[Tensor, Tensor], Tensor]


class CrossEntropy:
    """``H(y, σ)``: call it on pseudo-labels and predictions ``B K *S`` for ``B *S`` values.

    Args:
        name: in :data:`CROSS_ENTROPIES`.
        value: ``(y, sigma) → B *S``. The rest defaults to what autograd makes of it.
        gradient: ``(y, sigma) → B K *S``, the derivative in ``y``.
        curvature: ``(y, sigma) → B *S``, a bound on how fast that derivative changes along ``ln y``; by default
            ``max(1, max_k |Σ_l y^l ∂²H/∂y^k ∂y^l|)``, its change if all of ``ln y`` grow alike.
        in_logits: ``(y, sigma) → (B *S, B K *S)``, the value and its derivative in the logits whose softmax ``σ`` is.
    """

    def __init__(
        self,
        name: str,
        value: Term,
        gradient: Term | None = None,
        curvature: Term | None = None,
        in_logits: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]] | None = None,
    ) -> None:
        self.name = name
        self.value = value
        self.gradient = gradient or self._gradient
        self.curvature = curvature or self._curvature
        self.in_logits = in_logits or self._in_logits

    def __call__(self, y: Tensor, sigma: Tensor) -> Tensor:
        return self.value(y, sigma)

    def _gradient(self, y: Tensor, sigma: Tensor) -> Tensor:
        with torch.enable_grad():
            y = y.detach().requires_grad_()
            return torch.autograd.grad(self.value(y, sigma.detach()).sum(), y)[0]

    def _curvature(self, y: Tensor, sigma: Tensor) -> Tensor:
        with torch.enable_grad():
            free = y.detach().requires_grad_()
            (slope,) = torch.autograd.grad(self.value(free, sigma.detach()).sum(), free, create_graph=True)
            if not slope.requires_grad:  # H is linear in y
                return torch.ones_like(y[:, 0])
            (change,) = torch.autograd.grad((slope * y.detach()).sum(), free)
        return change.abs().amax(1).clamp_min(1)

    def _in_logits(self, y: Tensor, sigma: Tensor) -> tuple[Tensor, Tensor]:
        with torch.enable_grad():
            at = sigma.detach().requires_grad_()
            value = self.value(y.detach(), at)
            (slope,) = torch.autograd.grad(value.sum(), at)
        return value.detach(), _through_softmax(sigma, slope)


def _collision(y: Tensor, sigma: Tensor) -> Tensor:
    return (y * sigma).sum(1)


def _through_softmax(sigma: Tensor, slope: Tensor) -> Tensor:
    """``∂/∂z = σ ∘ (∂/∂σ − σ·∂/∂σ)`` for ``σ = softmax(z)``."""
    return sigma * (slope - _collision(slope, sigma).unsqueeze(1))


def _collision_in_logits(y: Tensor, sigma: Tensor) -> tuple[Tensor, Tensor]:
    joint = y * sigma
    match = joint.sum(1)
    return -safe_log(match), torch.addcmul(sigma, joint, safe_reciprocal(match).unsqueeze(1), value=-1)


#: Eq. (9): ``H_CE(y, σ) = −Σ_k y^k ln σ^k``
cross_entropy: CrossEntropy = CrossEntropy(
    "cross_entropy",
    value=lambda y, sigma: -(y * safe_log(sigma)).sum(1),
    gradient=lambda y, sigma: -safe_log(sigma),
    curvature=lambda y, sigma: torch.ones_like(y[:, 0]),
    in_logits=lambda y, sigma: (cross_entropy(y, sigma), sigma - y),
)

#: Eq. (10): ``H_RCE(y, σ) = −Σ_k σ^k ln y^k``
reverse_cross_entropy: CrossEntropy = CrossEntropy(
    "reverse_cross_entropy",
    value=lambda y, sigma: -(sigma * safe_log(y)).sum(1),
    gradient=lambda y, sigma: -sigma * safe_reciprocal(y),
    curvature=lambda y, sigma: (sigma * safe_reciprocal(y)).amax(1),
    in_logits=lambda y, sigma: (reverse_cross_entropy(y, sigma), _through_softmax(sigma, -safe_log(y))),
)

#: Eq. (11): ``H_CCE(y, σ) = −ln Σ_k σ^k y^k``
collision_cross_entropy = CrossEntropy(
    "collision_cross_entropy",
    value=lambda y, sigma: -safe_log(_collision(y, sigma)),
    gradient=lambda y, sigma: -sigma * safe_reciprocal(_collision(y, sigma)).unsqueeze(1),
    curvature=lambda y, sigma: safe_reciprocal(_collision(y, sigma)),
    in_logits=_collision_in_logits,
)

#: §3.1: ``H_Q(y, σ) = ‖y − σ‖²``
quadratic: CrossEntropy = CrossEntropy(
    "quadratic",
    value=lambda y, sigma: (y - sigma).square().sum(1),
    gradient=lambda y, sigma: 2 * (y - sigma),
    curvature=lambda y, sigma: torch.full_like(y[:, 0], 2),
    in_logits=lambda y, sigma: (quadratic(y, sigma), _through_softmax(sigma, 2 * (sigma - y))),
)

#: ``ε`` of the robust cross-entropy
RANDOM_SHARE = 0.1


def _mixed(sigma: Tensor) -> Tensor:
    """``(1 − ε) σ + ε / K``."""
    return (1 - RANDOM_SHARE) * sigma + RANDOM_SHARE / sigma.shape[1]


#: ``H_R(y, σ) = −Σ_k y^k ln((1 − ε) σ^k + ε / K)``: for hard labels, a share ``ε = 0.1`` of which is random. It is
#: bounded, and so is what a wrong label can do. Source: Marin & Boykov, Robust Trust Region for Weakly Supervised
#: Segmentation, ICCV 2021.
robust_cross_entropy: CrossEntropy = CrossEntropy(
    "robust_cross_entropy",
    value=lambda y, sigma: -(y * _mixed(sigma).log()).sum(1),
    gradient=lambda y, sigma: -_mixed(sigma).log(),
    curvature=lambda y, sigma: torch.ones_like(y[:, 0]),
    in_logits=lambda y, sigma: (
        robust_cross_entropy(y, sigma),
        _through_softmax(sigma, (RANDOM_SHARE - 1) * y / _mixed(sigma)),
    ),
)

CROSS_ENTROPIES: dict[str, CrossEntropy] = {
    term.name: term
    for term in (cross_entropy, reverse_cross_entropy, collision_cross_entropy, quadratic, robust_cross_entropy)
}
