# SPDX-License-Identifier: Apache-2.0
"""The paper's mathematics, in tensors: nothing but torch."""

from __future__ import annotations

from medwsss.terms import cross_entropies, relaxations
from medwsss.terms.energy import BoundEnergy, SelfLabelingEnergy
from medwsss.terms.neighborhoods import (
    DenseNeighborhood,
    GridNeighborhood,
    SparseNonlocalNeighborhood,
    WindowNeighborhood,
)

__all__ = [
    "BoundEnergy",
    "DenseNeighborhood",
    "GridNeighborhood",
    "SelfLabelingEnergy",
    "SparseNonlocalNeighborhood",
    "WindowNeighborhood",
    "cross_entropies",
    "relaxations",
]
