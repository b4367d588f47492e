# SPDX-License-Identifier: Apache-2.0
"""What the values of a label map mean: one declaration for all conventions, and the known ones by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Union

from monai.utils import ensure_tuple

from medwsss.keys import UNLABELED, VOID

Value = Union[int, Sequence[int]]  #: a label as the source writes it: a number, or one number a channel


@dataclass(frozen=True)
class LabelSchema:
    """What each value of a source's label maps means.

    Every value a source may contain has to be declared. All fields speak of values *as the source writes them*, so
    their order does not matter. Background is a class like any other (class 0 by default): where the source writes
    another number for it, ``mapping`` says so; where 0 means that nobody annotated, it is an ignore value.

    Args:
        num_classes: number of classes K, background included.
        ignore_values: value or values that mean "exists, but nobody annotated it".
        void_values: value or values that mean "no image here": padding, nodata, a declared void border.
        mapping: ``{source value: class}`` where the class numbers of the source are others; it is complete, so a
            value it leaves out is undeclared. Keys may be text, as JSON writes them. Default: numbers are classes.
        colors: the k-th entry is the colour (one number a channel) of class k; ``ignore_values`` and
            ``void_values`` are then lists of colours too.

    Raises:
        ValueError: where the declarations contradict each other.
    """

    num_classes: int
    ignore_values: Value | Sequence[Value] = ()
    void_values: Value | Sequence[Value] = ()
    mapping: Mapping[Any, int] | None = None
    colors: Sequence[Sequence[int]] | None = None

    def __post_init__(self) -> None:
        if not 1 <= self.num_classes <= VOID:
            raise ValueError(f"expected num_classes from 1 to {VOID}, got {self.num_classes}")
        if self.colors is not None and (self.mapping is not None or len(self.colors) != self.num_classes):
            raise ValueError(
                f"expected {self.num_classes} colors, one a class, and no mapping, got {self.colors}, {self.mapping}"
            )
        self.table()

    @property
    def channels(self) -> int | None:
        """Numbers a colour has; ``None`` where labels are numbers."""
        return None if self.colors is None else len(self.colors[0])

    def table(self) -> dict[int | tuple[int, ...], int]:
        """``{source value: class, UNLABELED or VOID}``, complete."""
        declared: list[tuple[Any, int]] = [(k, k) for k in range(self.num_classes)]
        if self.mapping is not None:
            declared = list(self.mapping.items())
        elif self.colors is not None:
            declared = [(color, k) for k, color in enumerate(self.colors)]
        for value, k in declared:
            if k not in range(self.num_classes):
                raise ValueError(f"expected value {value} to map to a class of 0..{self.num_classes - 1}, got {k}")
        declared += [(value, UNLABELED) for value in ensure_tuple(self.ignore_values)]
        declared += [(value, VOID) for value in ensure_tuple(self.void_values)]

        table: dict[int | tuple[int, ...], int] = {}
        for value, target in declared:
            value = int(value) if self.colors is None else tuple(value)
            if table.setdefault(value, target) != target:
                both = f"{meaning(table[value])} and {meaning(target)}"
                raise ValueError(f"expected value {value} to mean one thing, got {both}")
        return table


def meaning(target: int) -> str:
    """What a class, ``UNLABELED`` or ``VOID`` is called."""
    return {UNLABELED: "unlabelled", VOID: "void"}.get(target, f"class {target}")


def _next_is_unlabeled(num_classes: int) -> LabelSchema:
    return LabelSchema(num_classes, ignore_values=num_classes)


def _next_is_background(num_classes: int) -> LabelSchema:
    foreground = {k: k for k in range(1, num_classes)}
    return LabelSchema(num_classes, ignore_values=0, mapping={**foreground, num_classes: 0})


def _with_crop_padding(num_classes: int = 21) -> LabelSchema:
    return LabelSchema(num_classes, ignore_values=UNLABELED, void_values=VOID)


def _zero_is_unlabeled(num_classes: int) -> LabelSchema:
    return LabelSchema(num_classes, ignore_values=0, mapping={k + 1: k for k in range(num_classes)})


def _fixed(schema: LabelSchema) -> Callable[..., LabelSchema]:
    """The schema of one fixed number of classes, which may be said again."""

    def of(num_classes: int = schema.num_classes) -> LabelSchema:
        if num_classes != schema.num_classes:
            raise ValueError(f"expected {schema.num_classes} classes, got {num_classes}")
        return schema

    return of


def _by_color(
    colors: Sequence[Sequence[int]], ignore: Sequence[int] = (0, 0, 0), num_classes: int | None = None
) -> LabelSchema:
    return LabelSchema(num_classes or len(colors), ignore_values=[ignore], colors=colors)


#: Known conventions: each makes the schema of ``num_classes`` classes, which those of one fixed data set need not be
#: told. ``festa`` and ``s4all`` need the data set's colours.
SCHEMAS: dict[str, Callable[..., LabelSchema]] = {
    "acdc": lambda num_classes=4: _next_is_unlabeled(num_classes),  # NIfTI and WSL4MIS' h5
    "mscmr": lambda num_classes=4: _next_is_unlabeled(num_classes),
    "wsl4mis_generator": lambda num_classes=3: LabelSchema(num_classes, ignore_values=UNLABELED),
    "pymic": _next_is_unlabeled,  # DMSPS too
    "nnunet": lambda num_classes: LabelSchema(num_classes, ignore_values=num_classes, void_values=-1),
    "scribblebench": _next_is_unlabeled,
    "scribblebench_inverted": _next_is_background,  # its --disable_ignore
    "scribblesup": _with_crop_padding,
    "rtr": _with_crop_padding,
    "unimatch": _with_crop_padding,
    "voc": lambda num_classes=21: LabelSchema(num_classes, void_values=UNLABELED),  # dense masks, SBD too
    "cityscapes": lambda num_classes=19: LabelSchema(num_classes, void_values=UNLABELED),
    "tel_blocks": lambda num_classes: LabelSchema(num_classes, ignore_values=[UNLABELED, -1], void_values=-2),
    "agmm": lambda num_classes=21: LabelSchema(num_classes, ignore_values=num_classes, void_values=UNLABELED),
    "scroadextractor": _fixed(LabelSchema(2, ignore_values=128, mapping={0: 0, UNLABELED: 1})),
    "festa": _by_color,
    "s4all": _by_color,
    "monai_label": _fixed(LabelSchema(2, ignore_values=0, mapping={2: 0, 3: 1})),
    "camouflaged_objects": _fixed(LabelSchema(2, ignore_values=0, mapping={1: 1, 2: 0})),
    "medscribble": _fixed(LabelSchema(2, ignore_values=[(0, 0)], colors=[(0, 1), (1, 0)])),  # positive, negative map
    "torch": lambda num_classes: LabelSchema(num_classes, ignore_values=-100),
    "pa_seg_points": _fixed(_zero_is_unlabeled(2)),
    "pa_seg_geodesic": _fixed(_next_is_unlabeled(2)),
    "zero_is_unlabeled": _zero_is_unlabeled,  # classes 1..K, as rasters with nodata 0 have them
    "dense": lambda num_classes: LabelSchema(num_classes),
}
