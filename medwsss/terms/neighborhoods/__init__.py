# SPDX-License-Identifier: Apache-2.0
"""Which pairs ``ij ∈ N`` the Potts term looks at, their weights ``w_ij``, and its sum over them."""

from __future__ import annotations

from medwsss.terms.neighborhoods.grid import GridNeighborhood, pairs

__all__ = ["GridNeighborhood", "pairs"]
