# SPDX-License-Identifier: Apache-2.0
"""Which pairs ``ij ∈ N`` the Potts term looks at, their weights ``w_ij``, and its sum over them."""

from __future__ import annotations

from medwsss.terms.neighborhoods.base import Neighborhood, PairTerm
from medwsss.terms.neighborhoods.dense import DenseNeighborhood
from medwsss.terms.neighborhoods.grid import GridNeighborhood
from medwsss.terms.neighborhoods.offsets import OffsetNeighborhood, OffsetPairs, pairs, takes_part
from medwsss.terms.neighborhoods.sparse import SparseNonlocalNeighborhood
from medwsss.terms.neighborhoods.window import WindowNeighborhood

__all__ = [
    "DenseNeighborhood",
    "GridNeighborhood",
    "Neighborhood",
    "OffsetNeighborhood",
    "OffsetPairs",
    "PairTerm",
    "SparseNonlocalNeighborhood",
    "WindowNeighborhood",
    "pairs",
    "takes_part",
]
