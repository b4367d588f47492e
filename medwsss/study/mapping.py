# SPDX-License-Identifier: Apache-2.0
"""From the label convention of a source to classes, UNLABELED and VOID: array version."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from monai.config import NdarrayOrTensor
from monai.data import get_track_meta
from monai.transforms import Transform
from monai.utils import ImageMetaKey, TransformBackends, convert_to_dst_type, convert_to_tensor

from medwsss.keys import UNLABELED, VOID
from medwsss.study.schema import LabelSchema, Value

UNKNOWN = -1  # no label
_SHOWN = 5  # how many undeclared values an error lists


class MapWeakLabels(Transform):
    """Map the values of a label map onto classes ``0 .. num_classes - 1``, ``UNLABELED`` and ``VOID``.

    Every value a source may contain has to be declared; one that is not is an error and never a guess. All
    parameters speak of values *as the source writes them*, so their order does not matter:

    ====================================  =============================================================
    classes 0..3, 4 unlabelled (ACDC)     ``num_classes=4, ignore_values=4``
    255 unlabelled, 254 padding           ``num_classes=21, ignore_values=255, void_values=254``
    1 foreground, 2 background, 0 none    ``num_classes=2, mapping={1: 1, 2: 0}, ignore_values=0``
    colours (black unlabelled)            ``num_classes=2, colors=[[255, 0, 0], [0, 255, 0]],
                                          ignore_values=[[0, 0, 0]]``
    one map a class (none set: no label)  ``num_classes=2, colors=[[1, 0], [0, 1]], ignore_values=[[0, 0]]``
    dense mask                            ``num_classes=4``
    ====================================  =============================================================

    What a raster declares as missing (NaN, with ``void`` in the metadata) is void, unless the value that declares it
    (``nodata_value``) is declared to mean something.

    Args:
        num_classes, ignore_values, void_values, mapping, colors: see :py:class:`medwsss.transforms.LabelSchema`, and
            :py:data:`medwsss.transforms.SCHEMAS` for the known conventions by name. With ``colors``, the channel axis
            comes first and is reduced to one.

    Raises:
        ValueError: where the declarations contradict each other.

    Example:
        >>> acdc = MapWeakLabels(num_classes=4, ignore_values=4)
        >>> acdc(torch.tensor([[0, 3, 4]])).tolist()
        [[0, 3, 255]]
        >>> MapWeakLabels(num_classes=2)(torch.tensor([[0, 3, 3]]))  # what nobody declared is never guessed at
        Traceback (most recent call last):
        ValueError: expected labels 0 (class 0), 1 (class 1), got 3 (2 voxels) in an array without a file name
    """

    backend = [TransformBackends.TORCH, TransformBackends.NUMPY]

    def __init__(
        self,
        num_classes: int,
        ignore_values: Value | Sequence[Value] = (),
        void_values: Value | Sequence[Value] = (),
        mapping: Mapping[Any, int] | None = None,
        colors: Sequence[Sequence[int]] | None = None,
    ) -> None:
        schema = LabelSchema(num_classes, ignore_values, void_values, mapping, colors)
        self.schema = schema
        self.num_classes, self.channels, self.table = schema.num_classes, schema.channels, schema.table()

    @classmethod
    def of(cls, schema: LabelSchema) -> MapWeakLabels:
        """The mapper of a declared schema."""
        return cls(schema.num_classes, schema.ignore_values, schema.void_values, schema.mapping, schema.colors)

    def __call__(self, img: NdarrayOrTensor) -> torch.Tensor:
        """Map one label map.

        Args:
            img: any numeric type, any shape; with ``colors``, channels first. Floats must hold integers.

        Returns:
            ``uint8`` of the same shape (with ``colors``: one channel), a ``MetaTensor`` with the metadata of ``img``.

        Raises:
            ValueError: for an undeclared value (0.5 and NaN are such), naming file, values and numbers of voxels.
        """
        # float32 holds every value that can be declared; in uint8, 254 == -2 would be true
        source = convert_to_tensor(img, dtype=torch.float32)
        if self.channels is not None and source.shape[0] != self.channels:
            raise ValueError(f"expected {self.channels} channels, got shape {tuple(source.shape)} in {_origin(img)}")
        labels = self._by_number(source) if self.channels is None else self._by_color(source)
        meta = getattr(img, "meta", {})
        if "void" in meta and self.channels is None:
            value: Any = meta.get("nodata_value")
            labels[source.isnan()] = self.table.get(value, VOID)
        unknown = labels == UNKNOWN
        if unknown.any():
            raise ValueError(f"expected {self._expected()}, got {self._listed(source, unknown)} in {_origin(img)}")
        out: torch.Tensor = convert_to_dst_type(
            labels, convert_to_tensor(img, track_meta=get_track_meta()), dtype=torch.uint8
        )[0]
        return out

    def _by_number(self, source: torch.Tensor) -> torch.Tensor:
        table: dict[Any, int] = self.table
        low, high = min(table), max(table)
        target = torch.full((high - low + 1,), UNKNOWN, dtype=torch.int16)
        for value, k in table.items():
            target[value - low] = k
        index = source.nan_to_num().clamp(low, high).long()
        return torch.where(index == source, target.to(source.device)[index - low], UNKNOWN)

    def _by_color(self, source: torch.Tensor) -> torch.Tensor:
        labels = torch.full((1, *source.shape[1:]), UNKNOWN, dtype=torch.int16, device=source.device)
        for color, k in self.table.items():
            labels[(source == source.new_tensor(color).view(-1, *[1] * (source.ndim - 1))).all(0, keepdim=True)] = k
        return labels

    def _expected(self) -> str:
        kinds = {UNLABELED: "unlabelled", VOID: "void"}
        return "labels " + ", ".join(f"{value} ({kinds.get(k, f'class {k}')})" for value, k in self.table.items())

    def _listed(self, source: torch.Tensor, unknown: torch.Tensor) -> str:
        wrong = source[unknown] if self.channels is None else source[:, unknown[0]]
        values, counts = np.unique(wrong.numpy(force=True), return_counts=True, axis=self.channels and 1)
        texts = [" ".join(f"{v:g}" for v in np.atleast_1d(value)) for value in values.T]
        listed = ", ".join(f"{text} ({n} voxels)" for text, n in zip(texts[:_SHOWN], counts))
        return listed + (f" and {len(texts) - _SHOWN} more values" if len(texts) > _SHOWN else "")


def _origin(img: NdarrayOrTensor) -> str:
    return str(getattr(img, "meta", {}).get(ImageMetaKey.FILENAME_OR_OBJ, "an array without a file name"))
