# SPDX-License-Identifier: Apache-2.0
"""A label map as it was read, in classes: the one door of conversion and check, which says why where it stays shut."""

from __future__ import annotations

from typing import Any

from monai.data import MetaTensor

from medwsss.study.mapping import MapWeakLabels

__all__ = ["to_classes"]


def to_classes(raw: MetaTensor, convention: MapWeakLabels, file: Any) -> MetaTensor:
    """``1 *S`` of classes, ``UNLABELED`` and ``VOID``.

    Args:
        raw: ``C *S``, with the metadata of the study's reader.
        convention: what its values mean: numbers (one channel), or colours and bands (several).
        file: to be named.

    Raises:
        ValueError: for another number of channels than the convention speaks of, and for undeclared values.
    """
    if convention.channels is None and len(raw) != 1:
        raise ValueError(
            f"expected one channel of labels, got {len(raw)} in {file}: channels that together are a colour, or one "
            "0/1 band a class, are declared as lists of numbers (labels.json), as the colors of a schema (data list)"
        )
    if convention.channels is not None and len(raw) != convention.channels:
        why = ": a palette counts by its indices, which are numbers" if raw.meta.get("mode") == "P" else ""
        raise ValueError(
            f"expected {convention.channels} channels, as the declared colours have, got {len(raw)} in {file}{why}"
        )
    return convention(raw)  # type: ignore[return-value]
