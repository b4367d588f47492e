# SPDX-License-Identifier: Apache-2.0
"""Scribbles from dense masks, and shorter scribbles from long ones: dictionary version."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence

import numpy as np
from monai.config import KeysCollection, NdarrayOrTensor
from monai.transforms import MapTransform, Randomizable
from monai.utils import ensure_tuple

from medwsss.transforms.scribbles.array import ShortenScribble, SimulateScribble

__all__ = [
    "ShortenScribbleD",
    "ShortenScribbleDict",
    "ShortenScribbled",
    "SimulateScribbleD",
    "SimulateScribbleDict",
    "SimulateScribbled",
]


class SimulateScribbled(Randomizable, MapTransform):
    """Dictionary-based wrapper of :py:class:`medwsss.transforms.SimulateScribble`; all keys get strokes of one seed.

    Args:
        keys: keys of the dense masks.
        num_classes, kind, background, length_ratio, width, jitter, margin, per_class, slice_axis, slice_step,
            slice_share, min_size, ignore_values: see :py:class:`medwsss.transforms.SimulateScribble`.
        output_keys: where the scribbles go, a name for each of ``keys``; by default in place of the masks.
        allow_missing_keys: don't raise an exception if a key is missing.
    """

    backend = SimulateScribble.backend

    def __init__(
        self,
        keys: KeysCollection,
        num_classes: int,
        kind: str = "centerline",
        background: str | None = "border",
        length_ratio: float = 1.0,
        width: int = 1,
        jitter: float = 0.8,
        margin: float = 15.0,
        per_class: bool = False,
        slice_axis: int | None = 2,
        slice_step: int = 1,
        slice_share: float = 1.0,
        min_size: int = 1,
        ignore_values: int | Sequence[int] = (),
        output_keys: KeysCollection | None = None,
        allow_missing_keys: bool = False,
    ) -> None:
        MapTransform.__init__(self, keys, allow_missing_keys)
        self.simulate = SimulateScribble(
            num_classes,
            kind=kind,
            background=background,
            length_ratio=length_ratio,
            width=width,
            jitter=jitter,
            margin=margin,
            per_class=per_class,
            slice_axis=slice_axis,
            slice_step=slice_step,
            slice_share=slice_share,
            min_size=min_size,
            ignore_values=ignore_values,
        )
        self.output_keys = self.keys if output_keys is None else ensure_tuple(output_keys)
        if len(self.output_keys) != len(self.keys):
            raise ValueError(f"expected an output key for each of {self.keys}, got {self.output_keys}")

    def set_random_state(
        self, seed: int | None = None, state: np.random.RandomState | None = None
    ) -> SimulateScribbled:
        """Seed the strokes."""
        super().set_random_state(seed, state)
        self.simulate.set_random_state(seed, state)
        return self

    def __call__(self, data: Mapping[Hashable, NdarrayOrTensor]) -> dict[Hashable, NdarrayOrTensor]:
        """Draw a scribble for every mask under ``keys``."""
        d = dict(data)
        self.simulate.randomize()
        for key, output_key in self.key_iterator(d, self.output_keys):
            d[output_key] = self.simulate(d[key], randomize=False)
        return d


class ShortenScribbled(MapTransform):
    """Dictionary-based wrapper of :py:class:`medwsss.transforms.ShortenScribble`.

    Args:
        keys: keys of the scribbles.
        length_ratio, slice_axis: see :py:class:`medwsss.transforms.ShortenScribble`.
        allow_missing_keys: don't raise an exception if a key is missing.
    """

    backend = ShortenScribble.backend

    def __init__(
        self,
        keys: KeysCollection,
        length_ratio: float,
        slice_axis: int | None = 2,
        allow_missing_keys: bool = False,
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        self.shorten = ShortenScribble(length_ratio, slice_axis)

    def __call__(self, data: Mapping[Hashable, NdarrayOrTensor]) -> dict[Hashable, NdarrayOrTensor]:
        """Shorten every scribble under ``keys``."""
        d = dict(data)
        for key in self.key_iterator(d):
            d[key] = self.shorten(d[key])
        return d


SimulateScribbleD = SimulateScribbleDict = SimulateScribbled
ShortenScribbleD = ShortenScribbleDict = ShortenScribbled
