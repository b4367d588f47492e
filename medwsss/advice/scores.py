# SPDX-License-Identifier: Apache-2.0
"""How much a voxel is in doubt, and how much of that a stroke would reach."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.ndimage import distance_transform_edt, gaussian_filter
from torch import Tensor

from medwsss.terms.simplex import uncertainty

__all__ = ["disagreement", "doubt", "far_from", "spread"]


def disagreement(y: Tensor, sigma: Tensor) -> Tensor:
    """``½ ‖y_i − σ_i‖₁``, the total variation: the share of probability that would have to move to another class.

    Shape:
        - y, sigma: ``B K *S`` on the simplex.
        - output: ``B *S``, from 0 to 1.
    """
    return (y - sigma).abs().sum(1) / 2


def doubt(y: Tensor, sigma: Tensor) -> Tensor:
    """``(H(σ_i) / ln K + H(y_i) / ln K + ½ ‖y_i − σ_i‖₁) / 3``: the network unsure, the solver unsure, or both sure of
    different classes, which neither shows by itself.

    Shape:
        - y, sigma: ``B K *S`` on the simplex.
        - output: ``B *S``, from 0 to 1.
    """
    return (uncertainty(sigma) + uncertainty(y) + disagreement(y, sigma)) / 3


def far_from(marked: np.ndarray, spacing: Sequence[float], reach: float) -> np.ndarray:
    """Where the next marked voxel is further away than ``reach``, in units of the smallest spacing, ``*S`` bool."""
    if not marked.any():
        return np.ones(marked.shape, bool)
    return np.asarray(distance_transform_edt(~marked, sampling=_in_units(spacing)) > reach)


def spread(values: np.ndarray, open_to: np.ndarray, spacing: Sequence[float], reach: float) -> np.ndarray:
    """Means over what a stroke would reach, weighted by a Gaussian of ``reach / 2``, so that a thin line counts little.

    Args:
        values: ``*S``, the doubt.
        open_to: ``*S``, voxels where a stroke may go: those that exist and are not near one. The others neither count
            in a mean nor have one, but 0.
        spacing: of the voxels.
        reach: in units of the smallest spacing.
    """
    width = [reach / 2 / step for step in _in_units(spacing)]
    weight = gaussian_filter(open_to.astype(np.float32), width, mode="constant")
    total = gaussian_filter(np.where(open_to, values, 0).astype(np.float32), width, mode="constant")
    return np.where(open_to, total / np.maximum(weight, np.finfo(np.float32).tiny), 0)


def _in_units(spacing: Sequence[float]) -> list[float]:
    return [step / min(spacing) for step in spacing]
