# SPDX-License-Identifier: Apache-2.0
"""How soon the pseudo-labels of a study settle: what a recipe's ``solver_steps`` goes by."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from monai.bundle import ConfigParser
from monai.data import list_data_collate
from monai.data.utils import set_rnd
from monai.transforms import Compose
from torch import Tensor
from tqdm import tqdm

from medwsss.bundle.location import bundle_folder
from medwsss.engines import PrepareWeakBatch
from medwsss.keys import GUIDE, SCRIBBLE
from medwsss.solvers import NaturalGradient
from medwsss.study import MapWeakLabels, Recipe
from medwsss.study.plan.facts import STEPS

__all__ = ["settling"]

_CASES = 4  # evenly out of the section that trains
_PATCHES = 8  # of each


@torch.no_grad()
def settling(
    recipe: Recipe,
    datalist: Path,
    labels: MapWeakLabels,
    annotation_key: str | None = None,
    allow_outside: bool = False,
) -> list[float]:
    """In what share of the objects labels after each of :data:`STEPS` differ from those after the last of them.

    With ``A`` and ``B`` the voxels that are not background in either, by the largest class, it is the number of voxels
    of different classes over ``(|A| + |B|) / 2``. The labels are those of patches of training, by the bundle's own
    transforms, energy and solver, with nobody's opinion (``σ`` uniform): where they settle soon without a network they
    do with one (``docs/evidence.md``).

    Args:
        recipe: a plan for ``bundles/scribble``.
        datalist: of the study it is for.
        labels: what its values mean.
        annotation_key: of what trains; default: by the list.
        allow_outside: accept files outside the list's folder.
    """
    parser = ConfigParser()
    parser.read_config(str(bundle_folder(recipe.bundle) / "train.json"))
    parser.update({**recipe.settings, "datalist": str(datalist), "allow_outside": allow_outside})
    parser.update({"map_labels": labels, "num_classes": labels.num_classes})
    parser["spacing"] = recipe.study.spacing[: parser["spatial_dims"]]
    if annotation_key is not None:
        parser["annotation_key"] = annotation_key
    items, solver = parser.get_parsed_content("train_items"), parser.get_parsed_content("solver")
    load, draw = (
        Compose(parser.get_parsed_content(f"train#{kind}_transforms")) for kind in ("deterministic", "random")
    )
    set_rnd(draw, 0)
    solver.tolerance = 0
    different, objects = torch.zeros(2, len(STEPS))
    for item in tqdm(items[:: -(-len(items) // _CASES)], desc="settling", unit="case", disable=None):
        case = load(item)
        image, targets = PrepareWeakBatch()(list_data_collate([draw(dict(case)) for _ in range(_PATCHES)]))
        nobody = image.new_zeros(len(image), labels.num_classes, *image.shape[2:])  # has an opinion yet
        classes = torch.stack([_classes(solver, steps, nobody, targets) for steps in STEPS]).flatten(1)
        different += (classes != classes[-1]).sum(1)
        objects += ((classes > 0).sum(1) + (classes[-1] > 0).sum()) / 2
    return [round(share, 4) for share in (different / objects.clamp_min(1)).tolist()]


def _classes(solver: NaturalGradient, steps: int, logits: Tensor, targets: Mapping[str, Tensor]) -> Tensor:
    solver.max_steps = steps
    return solver(logits, targets[GUIDE], targets[SCRIBBLE]).labels.argmax(1)
