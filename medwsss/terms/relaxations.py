# SPDX-License-Identifier: Apache-2.0
r"""The six Potts relaxations of Tables 1 and 2, each a function of ``p·q``, ``‖p‖²`` and ``‖q‖²``.

A relaxation is a similarity ``r(p·q, ‖p‖², ‖q‖²)``, which is 1 for equal and 0 for different one-hot labels, under one
of two links: ``1 − r`` (Table 1) or ``−ln r`` (Table 2).

=====================  ==========================  ===============================
similarity r           ``1 − r`` (Table 1)         ``−ln r`` (Table 2)
=====================  ==========================  ===============================
``p·q``                bilinear, BL                collision cross-entropy, CCE
``p·q/(‖p‖‖q‖)``       normalized quadratic, NQ    collision divergence, CD
``1 − ½‖p − q‖²``      quadratic, Q                log-quadratic, LQ
=====================  ==========================  ===============================

Another relaxation is one function ``r`` and one row of :data:`RELAXATIONS`; without derivatives it has autograd's.

Source: Zhang & Boykov, Soft Self-labeling and Potts Relaxations for Weakly-Supervised Segmentation, CVPR 2025, §2.1.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from medwsss.terms.simplex import EPSILON, safe_log, safe_reciprocal

__all__ = [
    "RELAXATIONS",
    "Relaxation",
    "bilinear",
    "collision_cross_entropy",
    "collision_divergence",
    "log_quadratic",
    "normalized_quadratic",
    "quadratic",
]


class Similarity(NamedTuple):
    """``r`` and its derivatives in ``pq = p·q``, ``pp = ‖p‖²`` and ``qq = ‖q‖²``."""

    r: Tensor
    r_pq: Tensor | float
    r_pp: Tensor | float
    r_qq: Tensor | float


def dot_product(pq: Tensor, pp: Tensor, qq: Tensor) -> Similarity:
    """``r = p·q``."""
    return Similarity(pq, 1.0, 0.0, 0.0)


def cosine(pq: Tensor, pp: Tensor, qq: Tensor) -> Similarity:
    """``r = p·q / (‖p‖ ‖q‖)``."""
    inverse_norms = (pp * qq).rsqrt()
    r = pq * inverse_norms
    return Similarity(r, inverse_norms, -r / (2 * pp), -r / (2 * qq))


def squared_distance(pq: Tensor, pp: Tensor, qq: Tensor) -> Similarity:
    """``r = 1 − ½‖p − q‖² = 1 − ½(‖p‖² + ‖q‖²) + p·q``."""
    return Similarity(1 - (pp + qq) / 2 + pq, 1.0, -0.5, -0.5)


@dataclass(frozen=True)
class Relaxation:
    """``P(p, q)``: call it on two distributions ``B K *S`` for ``B *S`` values.

    Args:
        name: in :data:`RELAXATIONS`.
        similarity: ``r(p·q, ‖p‖², ‖q‖²)``, symmetric in the last two: ``r`` alone, or with its derivatives.
        logarithmic: ``P = −ln r`` if true, ``P = 1 − r`` otherwise.
    """

    name: str
    similarity: Callable[[Tensor, Tensor, Tensor], Similarity | Tensor]
    logarithmic: bool

    def __call__(self, p: Tensor, q: Tensor) -> Tensor:
        pq, pp, qq = (p * q).sum(1), (p * p).sum(1), (q * q).sum(1)
        r = self._r(pq, pp, qq)
        return -safe_log(r, self._epsilon(r)) if self.logarithmic else 1 - r

    def slopes(self, pq: Tensor, pp: Tensor, qq: Tensor) -> tuple[Tensor, Tensor, Tensor | float, Tensor | float]:
        """``P`` and its derivatives in ``p·q``, ``‖p‖²`` and ``‖q‖²``."""
        r, r_pq, r_pp, r_qq = self._with_derivatives(pq, pp, qq)
        if self.logarithmic:
            eps = self._epsilon(r)
            value, slope = -safe_log(r, eps), -safe_reciprocal(r, eps)  # dP/dr = −1/r
        else:
            value, slope = 1 - r, -torch.ones_like(r)  # dP/dr = −1
        return value, slope * r_pq, slope * r_pp, slope * r_qq

    def gradient(self, p: Tensor, q: Tensor) -> tuple[Tensor, Tensor]:
        """``∂P/∂p = P_pq q + 2 P_pp p`` and ``∂P/∂q = P_pq p + 2 P_qq q``, both ``B K *S``."""
        pq, pp, qq = ((a * b).sum(1, keepdim=True) for a, b in ((p, q), (p, p), (q, q)))
        _, s_pq, s_pp, s_qq = self.slopes(pq, pp, qq)
        return s_pq * q + 2 * s_pp * p, s_pq * p + 2 * s_qq * q

    @property
    def zero_on_equals(self) -> bool:
        """Whether ``P(p, p) = 0``, as for all but BL and CCE, which also charge two equal labels for being soft."""
        half = torch.full((1,), 0.5, dtype=torch.float64)  # p·q, ‖p‖² and ‖q‖² at p = q = (½, ½)
        return abs(self._r(half, half, half).item() - 1) < 1e-6

    def _r(self, pq: Tensor, pp: Tensor, qq: Tensor) -> Tensor:
        found = self.similarity(pq, pp, qq)
        return found.r if isinstance(found, Similarity) else found

    def _with_derivatives(self, pq: Tensor, pp: Tensor, qq: Tensor) -> Similarity:
        found = self.similarity(pq, pp, qq)
        if isinstance(found, Similarity):
            return found
        with torch.enable_grad():
            numbers = [x.detach().requires_grad_() for x in (pq, pp, qq)]
            r = self._r(*numbers)
            slopes = torch.autograd.grad(r.sum(), numbers, allow_unused=True, materialize_grads=True)
        return Similarity(found, *slopes)

    def _epsilon(self, r: Tensor) -> float:
        # 1 − ½‖p − q‖² is a difference of numbers near 1, known to their rounding; the other two are exact near 0.
        return 16 * torch.finfo(r.dtype).eps if self.similarity is squared_distance else EPSILON


bilinear = Relaxation("bilinear", dot_product, logarithmic=False)  #: ``P_BL = 1 − p·q``
quadratic = Relaxation("quadratic", squared_distance, logarithmic=False)  #: ``P_Q = ½‖p − q‖²``
normalized_quadratic = Relaxation("normalized_quadratic", cosine, logarithmic=False)  #: ``P_NQ = 1 − p·q/(‖p‖‖q‖)``
collision_cross_entropy = Relaxation("collision_cross_entropy", dot_product, logarithmic=True)  #: ``P_CCE = −ln p·q``
log_quadratic = Relaxation("log_quadratic", squared_distance, logarithmic=True)  #: ``P_LQ = −ln(1 − ½‖p − q‖²)``
collision_divergence = Relaxation("collision_divergence", cosine, logarithmic=True)  #: ``P_CD = −ln p·q/(‖p‖‖q‖)``

RELAXATIONS: dict[str, Relaxation] = {
    relaxation.name: relaxation
    for relaxation in (
        bilinear,
        quadratic,
        normalized_quadratic,
        collision_cross_entropy,
        log_quadratic,
        collision_divergence,
    )
}
