# SPDX-License-Identifier: Apache-2.0
"""Spatial transforms that fill labels with VOID where there is no image."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from typing import Any

import torch
from monai.config import KeysCollection, NdarrayOrTensor
from monai.data import get_track_meta
from monai.transforms import Compose, MapTransform
from monai.utils import convert_to_tensor, ensure_tuple

from medwsss.keys import VOID


class VoidFilld(Compose):
    """Apply dictionary transforms such that labels become ``VOID`` where there is no image.

    Padding and sampling outside the image fill with 0, which is a class. Before each transform the labels are
    therefore shifted modulo 256 such that ``VOID`` is 0, and shifted back after it; interpolation has to be
    ``nearest``, which keeps the shifted values exact, and the padding of the labels zero. The image goes through
    the same call and keeps its own interpolation and padding::

        {"_target_": "medwsss.transforms.VoidFilld", "keys": "scribble", "transforms": [
            {"_target_": "SpatialPadd", "keys": ["image", "scribble"], "spatial_size": [96, 96, 16]},
            {"_target_": "RandCropByLabelClassesd", "keys": ["image", "scribble"], "label_key": "scribble", …},
            {"_target_": "RandAffined", "keys": ["image", "scribble"], "mode": ["bilinear", "nearest"],
             "padding_mode": ["border", "zeros"], …}]}

    A transform whose ``label_key`` is one of ``keys`` chooses by label values, so it sees them unshifted; those of
    MONAI only crop. It is a ``Compose``: random states and lists of samples are treated as there.

    Args:
        keys: keys of the label maps, with values as :py:class:`medwsss.transforms.MapWeakLabels` makes them.
        transforms: the transforms to apply in turn, MONAI's or others that fill with 0.
        allow_missing_keys: don't raise an exception if a key is missing.

    Raises:
        ValueError: when a transform has a ``padding_mode`` for labels that is neither ``zeros`` nor ``constant``, and
            when one with such a ``label_key`` hides in a composition.

    Example:
        >>> from monai.transforms import SpatialPadd
        >>> pad = VoidFilld("scribble", SpatialPadd(["image", "scribble"], [6]))
        >>> padded = pad({"image": torch.ones(1, 4), "scribble": torch.tensor([[0, 255, 255, 1]])})
        >>> padded["image"].tolist(), padded["scribble"].tolist()
        ([[0.0, 1.0, 1.0, 1.0, 1.0, 0.0]], [[254, 0, 255, 255, 1, 254]])
    """

    def __init__(
        self,
        keys: KeysCollection,
        transforms: Sequence[Callable] | Callable,
        allow_missing_keys: bool = False,
    ) -> None:
        keys = ensure_tuple(keys)
        steps: list[Callable] = []
        for transform in ensure_tuple(transforms):
            parts = list(_parts(transform))
            for part in parts:
                _check_padding(part, keys)
            if any(getattr(part, "label_key", None) in keys for part in parts):
                if isinstance(transform, Compose):
                    raise ValueError(f"expected transforms with label_key {keys} as direct members, got {transform}")
                steps.append(transform)
            else:
                shift = _ShiftLabelsd(keys, -VOID, allow_missing_keys)
                steps += [shift, transform, _ShiftLabelsd(keys, VOID, allow_missing_keys)]
        super().__init__(steps)

    def __call__(  # type: ignore[override]  # as in Compose
        self, input_: Any, start: int = 0, end: int | None = None, threading: bool = False, lazy: bool | None = None
    ) -> Any:
        """Apply the transforms one by one, never lazily: what is padded later is not shifted."""
        return super().__call__(input_, start, end, threading, lazy=False)


VoidFillD = VoidFillDict = VoidFilld


class _ShiftLabelsd(MapTransform):
    """``(label + offset) mod 256``."""

    def __init__(self, keys: KeysCollection, offset: int, allow_missing_keys: bool) -> None:
        super().__init__(keys, allow_missing_keys)
        self.offset = offset

    def __call__(self, data: Mapping[Hashable, NdarrayOrTensor]) -> dict[Hashable, NdarrayOrTensor]:
        d = dict(data)
        for key in self.key_iterator(d):
            labels = convert_to_tensor(d[key], track_meta=get_track_meta())
            small = labels.to(torch.uint8)  # uint8 arithmetic is the modulus
            if not torch.equal(small.to(labels.dtype), labels):
                raise ValueError(
                    f"expected integer labels of 0..255 under {key!r}, got others: spatial transforms must "
                    "interpolate labels with mode 'nearest'"
                )
            d[key] = small + self.offset % 256
        return d


def _parts(transform: Any) -> Iterator[Any]:
    """The transforms in a composition (``Compose``, ``OneOf``, …), or the transform itself."""
    if isinstance(transform, Compose):
        for part in transform.transforms:
            yield from _parts(part)
    else:
        yield transform


def _check_padding(transform: Any, keys: tuple) -> None:
    for key, mode in zip(getattr(transform, "keys", ()), getattr(transform, "padding_mode", ())):
        if key in keys and str(mode) not in ("zeros", "constant"):
            name = type(transform).__name__
            raise ValueError(f"expected padding_mode 'zeros' or 'constant' for {key!r} in {name}, got {str(mode)!r}")
