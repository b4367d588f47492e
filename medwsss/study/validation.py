# SPDX-License-Identifier: Apache-2.0
"""What a training can validate on: dense masks, or where a study has none, strokes, or nothing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from monai.config import PathLike

from medwsss.files import read_json
from medwsss.keys import IMAGE, LABEL, SCRIBBLE
from medwsss.study.datalist import load_datalist

__all__ = ["Validation", "plan_validation"]

MASKS, STROKES, HELD_OUT_STROKES, NOTHING = "masks", "strokes", "held-out strokes", "nothing"


@dataclass(frozen=True)
class Validation:
    """The items that a training validates on."""

    on: str  #: "masks", "strokes", "held-out strokes" or "nothing"
    items: list[dict[str, Any]]  #: with ``image`` and ``label``, whatever the label is
    sections: tuple[str, ...]  #: of the list that training and validation read

    def __str__(self) -> str:
        number = f"validation on {self.on}: {len(self.items)} images"
        return {
            MASKS: number,
            STROKES: f"{number} of the section validation, which have no masks: figures are agreement on the strokes' "
            "voxels alone",
            HELD_OUT_STROKES: f"{number} of the section training, the list has no others: figures are agreement on the "
            "voxels of strokes that never train (held_out_share)",
            NOTHING: "no validation: the list has no section for it; the model is that of the last epoch "
            "(--held_out_share 0.1 would keep strokes to validate on)",
        }[self.on]


def plan_validation(
    path: PathLike, held_out_share: float = 0.0, annotation_key: str = SCRIBBLE, allow_outside: bool = False
) -> Validation:
    """Where a data list has no section ``validation``, or an empty one, strokes may be set aside, or there is none.

    Args:
        path: the data list.
        held_out_share: of the training items' seeds, above 0: what is set aside is validated on.
        annotation_key: key of the training items' scribbles.
        allow_outside: accept files outside the folder of the list.

    Returns:
        Items of the section ``validation`` with their dense masks, key ``label``; if no item has one, with their
        scribbles instead. Without the section, the training items with their scribbles, of which
        :py:class:`medwsss.transforms.HoldOutSeedsd` is to keep what trains away; or no items.

    Raises:
        ValueError: for items without what the others have, and missing files.
    """
    content = read_json(path, "a data list")
    items = content.get("validation") or []
    if items:
        known = [item for item in items if isinstance(item, dict)]
        masks = any(LABEL in item and item[LABEL] != item.get(SCRIBBLE) for item in known)
        dense = masks or not any(SCRIBBLE in item for item in known)
        keys = {IMAGE: IMAGE, LABEL: LABEL if dense else SCRIBBLE}
        loaded = load_datalist(path, "validation", keys, allow_outside)
        return Validation(MASKS if dense else STROKES, loaded, ("training", "validation"))
    if held_out_share:
        loaded = load_datalist(path, "training", {IMAGE: IMAGE, LABEL: annotation_key}, allow_outside)
        return Validation(HELD_OUT_STROKES, loaded, ("training",))
    return Validation(NOTHING, [], ("training",))
