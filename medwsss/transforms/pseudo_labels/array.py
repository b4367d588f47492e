# SPDX-License-Identifier: Apache-2.0
"""A solver as an array transform."""

from __future__ import annotations

from monai.config import NdarrayOrTensor
from monai.data import MetaTensor
from monai.transforms import Transform
from monai.utils import TransformBackends, convert_to_tensor
from torch import Tensor

from medwsss.solvers import Solver
from medwsss.terms.simplex import safe_log

__all__ = ["SoftPseudoLabel"]


class SoftPseudoLabel(Transform):
    """Predictions, guide and scribble → soft labels ``y = argmin_y E(y)``, Eq. (8), of one case.

    Args:
        solver: of :mod:`medwsss.solvers`.
        probabilities: whether predictions come as distributions instead of logits.

    Shape:
        - prediction: ``K *S``, guide: ``C *S``, scribble: ``1 *S`` integer (classes, ``UNLABELED``, ``VOID``).
        - output: ``K *S`` float, with the guide's affine if it has one.

    Raises:
        ValueError: for shapes that don't belong together, probabilities outside [0, 1], or input that is not finite.
    """

    backend = [TransformBackends.TORCH]

    def __init__(self, solver: Solver, probabilities: bool = False) -> None:
        self.solver = solver
        self.probabilities = probabilities

    def __call__(  # type: ignore[override]
        self, prediction: NdarrayOrTensor, guide: NdarrayOrTensor, scribble: NdarrayOrTensor
    ) -> Tensor:
        """Solve for one case."""
        pred, image, seeds = (convert_to_tensor(x, track_meta=False) for x in (prediction, guide, scribble))
        if self.probabilities:
            if pred.min() < 0 or pred.max() > 1:
                low, high = pred.min().item(), pred.max().item()
                raise ValueError(f"expected probabilities in [0, 1], got {low:.4g} to {high:.4g}: are they logits?")
            pred = safe_log(pred)
        if seeds.is_floating_point():
            seeds = seeds.long()  # LoadImage reads labels as float
        labels = self.solver(pred[None], image[None], seeds[None]).labels[0]
        return MetaTensor(labels, meta=guide.meta) if isinstance(guide, MetaTensor) else labels
