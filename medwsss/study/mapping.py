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

from medwsss.keys import VOID
from medwsss.study.schema import LabelSchema, Value, meaning

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

    What the file itself declares to be nothing (NaN, with ``void`` in the metadata) is void, unless its nodata value
    (``nodata_value``) is declared to mean something else.

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
        >>> MapWeakLabels(num_classes=2)(torch.tensor([[0, 3, 3]]))  # doctest: +ELLIPSIS
        Traceback (most recent call last):
        ValueError: expected labels 0 (class 0), 1 (class 1), got 3 (2 voxels) in an array without a file name...
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
            ValueError: for an undeclared value (0.5 and NaN are such), naming file, values, numbers of voxels and a way
                out; for transparent pixels; and for classes of numbers that a float confuses.
        """
        meta = getattr(img, "meta", {})
        source: torch.Tensor = convert_to_tensor(img, track_meta=False)
        if self.channels is not None and source.shape[0] != self.channels:
            raise ValueError(f"expected {self.channels} channels, got shape {tuple(source.shape)} in {_origin(img)}")
        if "alpha" in meta.get("void", ""):
            raise ValueError(
                f"expected labels, got transparent ones in {_origin(img)}: save them without alpha channel"
            )
        self._check_exact(source, img)
        nothing = torch.zeros((), dtype=torch.bool)
        if "void" in meta:  # the file says that there is nothing, which a declared value may mean, too
            nothing = source.isnan()
            source = torch.where(nothing, float(meta.get("nodata_value", torch.nan)), source)
            nothing = nothing if self.channels is None else nothing.all(0, keepdim=True)
        labels = self._by_number(source) if self.channels is None else self._by_color(source)
        labels[nothing & (labels == UNKNOWN)] = VOID
        unknown = labels == UNKNOWN
        if unknown.any():
            listed, remedy = self._listed(source, unknown), self._remedy(source, unknown, meta)
            raise ValueError(f"expected {self._expected()}, got {listed} in {_origin(img)}: {remedy}")
        out: torch.Tensor = convert_to_dst_type(
            labels, convert_to_tensor(img, track_meta=get_track_meta()), dtype=torch.uint8
        )[0]
        return out

    @property
    def values(self) -> list[str]:
        """Of each class in the files, where any is not the class's own number; else none."""
        table = {k: str(value) for value, k in reversed(self.table.items())}
        values = [table.get(k, "") for k in range(self.num_classes)]
        return [] if values == [str(k) for k in range(self.num_classes)] else values

    def _check_exact(self, source: torch.Tensor, img: NdarrayOrTensor) -> None:
        """A float tells whole numbers apart up to a limit: beyond it, neighbours of a declared value look the same."""
        if self.channels is None and source.is_floating_point():
            limit = 2 / torch.finfo(source.dtype).eps
            table: dict[Any, int] = self.table
            one_of_many = any(abs(value) > limit and k < VOID for value, k in table.items())
            if one_of_many or any(float(torch.tensor(value, dtype=source.dtype)) != value for value in table):
                raise ValueError(
                    f"expected values of classes up to {limit:.0f}, which {source.dtype} tells apart, and others that "
                    f"it holds exactly, got {list(table)} for {_origin(img)}: give them smaller numbers"
                )

    def _by_number(self, source: torch.Tensor) -> torch.Tensor:
        table: dict[Any, int] = self.table
        whole = source if source.is_floating_point() else source.long()  # in uint8, 254 == -2 would be true
        values = torch.tensor(sorted(table), dtype=torch.long).to(whole)
        targets = torch.tensor([table[value] for value in sorted(table)], dtype=torch.int16, device=source.device)
        index = torch.searchsorted(values, whole.contiguous()).clamp_max(len(values) - 1)
        return torch.where(values[index] == whole, targets[index], UNKNOWN)

    def _by_color(self, source: torch.Tensor) -> torch.Tensor:
        labels = torch.full((1, *source.shape[1:]), UNKNOWN, dtype=torch.int16, device=source.device)
        for color, k in self.table.items():
            labels[(source == source.new_tensor(color).view(-1, *[1] * (source.ndim - 1))).all(0, keepdim=True)] = k
        return labels

    def _expected(self) -> str:
        return "labels " + ", ".join(f"{value} ({meaning(k)})" for value, k in self.table.items())

    def _remedy(self, source: torch.Tensor, unknown: torch.Tensor, meta: Mapping[str, Any]) -> str:
        slope = meta.get("scl_slope")
        if slope is not None and np.isfinite(slope).all() and np.all(slope):
            return f"its header scales what is stored (scl_slope {float(slope):.6g}); save whole numbers, unscaled"
        if self.channels is None and source.is_floating_point():
            wrong = source[unknown]
            if wrong.isnan().any():
                return "declare what is not there as the file's nodata, or give it a number"
            if (wrong != wrong.round()).any():
                return "labels are whole numbers (were they interpolated, or are they probabilities?)"
        return "declare what else there is (labels, ignore_values or void_values of the data list)"

    def _listed(self, source: torch.Tensor, unknown: torch.Tensor) -> str:
        wrong = source[unknown] if self.channels is None else source[:, unknown[0]]
        values, counts = np.unique(wrong.numpy(force=True), return_counts=True, axis=self.channels and 1)
        texts = [" ".join(f"{v:g}" for v in np.atleast_1d(value)) for value in values.T]
        listed = ", ".join(f"{text} ({n} voxels)" for text, n in zip(texts[:_SHOWN], counts))
        return listed + (f" and {len(texts) - _SHOWN} more values" if len(texts) > _SHOWN else "")


def _origin(img: NdarrayOrTensor) -> str:
    return str(getattr(img, "meta", {}).get(ImageMetaKey.FILENAME_OR_OBJ, "an array without a file name"))
