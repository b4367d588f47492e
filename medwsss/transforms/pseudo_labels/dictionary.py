# SPDX-License-Identifier: Apache-2.0
"""A solver as a dictionary transform."""

from __future__ import annotations

from collections.abc import Hashable, Mapping

from monai.config import KeysCollection, NdarrayOrTensor
from monai.transforms import MapTransform

from medwsss.keys import GUIDE, PSEUDO_LABEL, SCRIBBLE
from medwsss.solvers import Solver
from medwsss.transforms.pseudo_labels.array import SoftPseudoLabel

__all__ = ["SoftPseudoLabelD", "SoftPseudoLabelDict", "SoftPseudoLabeld"]


class SoftPseudoLabeld(MapTransform):
    """Dictionary form of :class:`SoftPseudoLabel`, so that pseudo-labels can be saved outside training.

    Args:
        keys: predictions.
        solver: of :mod:`medwsss.solvers`.
        guide_key: what contrast weights look at.
        scribble_key: seeds.
        output_key: where the soft labels go; with several keys, one name each.
        probabilities: whether predictions come as distributions instead of logits.
        allow_missing_keys: don't raise if a prediction is missing.
    """

    backend = SoftPseudoLabel.backend

    def __init__(
        self,
        keys: KeysCollection,
        solver: Solver,
        guide_key: str = GUIDE,
        scribble_key: str = SCRIBBLE,
        output_key: KeysCollection = PSEUDO_LABEL,
        probabilities: bool = False,
        allow_missing_keys: bool = False,
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        self.transform = SoftPseudoLabel(solver, probabilities)
        self.guide_key = guide_key
        self.scribble_key = scribble_key
        self.output_keys = (output_key,) if isinstance(output_key, str) else tuple(output_key)  # type: ignore[arg-type]
        if len(self.output_keys) != len(self.keys):
            raise ValueError(f"expected an output key for each of {self.keys}, got {self.output_keys}")

    def __call__(self, data: Mapping[Hashable, NdarrayOrTensor]) -> dict[Hashable, NdarrayOrTensor]:
        """Solve for each prediction."""
        d = dict(data)
        for key, output_key in self.key_iterator(d, self.output_keys):
            d[output_key] = self.transform(d[key], d[self.guide_key], d[self.scribble_key])
        return d


SoftPseudoLabelD = SoftPseudoLabelDict = SoftPseudoLabeld
