# SPDX-License-Identifier: Apache-2.0
"""Which part of sparse labels validates: blocks of pixels, or features, apart from those that train."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy import ndimage

from data_prep.formats.chips import Chip
from medwsss.keys import IMAGE, UNLABELED, VOID

__all__ = ["apart", "balanced_folds", "held_apart"]


def balanced_folds(counts: np.ndarray, folds: int, seed: int) -> np.ndarray:
    """The fold of each unit, 0 … ``folds`` − 1, such that folds have about the same share of every class.

    Rare classes come first: a unit goes where its classes are scarcest so far, ties by a drawn order.

    Args:
        counts: ``units × classes``, what a unit holds of each class.
        folds: how many.
        seed: of the order.

    Example:
        >>> balanced_folds(np.array([[1, 0], [1, 0], [0, 9], [0, 9]]), 2, seed=0).tolist()
        [0, 1, 0, 1]
    """
    shares = counts / np.maximum(counts.sum(0), 1)
    order = np.random.default_rng(seed).permutation(len(counts))
    order = order[np.argsort(-shares[order].max(1), kind="stable")]
    held, found = np.zeros((folds, counts.shape[1])), np.zeros(len(counts), int)
    for unit in order:
        found[unit] = np.argmin(held @ shares[unit] + 1e-9 * held.sum(1))
        held[found[unit]] += shares[unit]
    return found


def apart(chips: Sequence[Chip], gap: int) -> list[Chip]:
    """Chips whose training labels keep a distance from chips that validate; those without any left are left out.

    Args:
        chips: in their sections.
        gap: pixels, along either axis, to the nearest pixel of a validation chip of the same scene.
    """
    kept = []
    for chip in chips:
        labels = chip.labels.copy()
        if chip.section == "training":
            for other in (o for o in chips if o.section != chip.section and o.files[IMAGE] == chip.files[IMAGE]):
                near = [
                    slice(max(first - gap - own, 0), max(first + size + gap - own, 0))
                    for first, size, own in zip((other.row, other.column), other.shape, (chip.row, chip.column))
                ]
                part = labels[tuple(near)]
                part[part != VOID] = UNLABELED
        if (labels < VOID).any():
            kept.append(chip.with_labels(labels))
    return kept


def held_apart(labels: np.ndarray, held: np.ndarray, gap: int) -> tuple[np.ndarray, np.ndarray]:
    """Labels that train and labels that validate, of one raster.

    Args:
        labels: rows × columns, classes and ``UNLABELED``.
        held: bool, where features that validate are.
        gap: pixels, along either axis, between a label that trains and one that validates.
    """
    near: Any = ndimage.maximum_filter(held, 2 * gap + 1) if held.any() else held
    return np.where(near, UNLABELED, labels), np.where(held, labels, UNLABELED)
