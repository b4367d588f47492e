# SPDX-License-Identifier: Apache-2.0
"""The plan as a file: ``recipe.json`` beside a data list, which the check writes and training and evaluation read."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from monai.config import PathLike

from medwsss.files import read_json, write_json
from medwsss.keys import RECIPE
from medwsss.study.plan.facts import Facts
from medwsss.study.plan.pictures import plan_pictures
from medwsss.study.plan.volumes import plan_volumes

__all__ = ["Recipe", "find_recipe", "plan_training", "read_recipe"]

VERSION = 3  #: of the file and of the rules; raise it with either
_SHOWN = 60  # letters of a value in a table


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """What a bundle is to do with a study."""

    bundle: str
    overlays: list[str]  #: of the bundle, before the settings
    settings: dict[str, Any]  #: by the bundle's names
    reasons: dict[str, str]
    study: Facts

    def __str__(self) -> str:
        shown = {name: json.dumps(value) for name, value in self.settings.items()}
        named = {name: text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…" for name, text in shown.items()}
        wide, width = (max(map(len, texts), default=0) for texts in (named, named.values()))
        rows = [f"{name:{wide}}  {text:{width}}  {self.reasons.get(name, '')}" for name, text in named.items()]
        return "\n".join([f"bundles/{self.bundle}" + "".join(f" with {each}.json" for each in self.overlays), *rows])

    @property
    def edited(self) -> dict[str, Any]:
        """Settings that are not what the rules say of the study, by name; ``None`` where they say nothing else."""
        planned = plan_training(self.study)
        if (planned.bundle, planned.overlays) != (self.bundle, self.overlays):
            return {"bundle": [planned.bundle, *planned.overlays]}
        names = [*self.settings, *(name for name in planned.settings if name not in self.settings)]
        return {
            name: planned.settings.get(name)
            for name in names
            if self.settings.get(name, _Nothing) != planned.settings.get(name, _Nothing)
        }

    def write(self, path: PathLike) -> None:
        """Write the file, whole or not at all."""
        content = {"version": VERSION, "bundle": self.bundle, "overlays": self.overlays, "settings": self.settings}
        write_json({**content, "reasons": self.reasons, "study": self.study.plain()}, Path(str(path)))


class _Nothing:
    """In place of a setting that is not there."""


def plan_training(facts: Facts) -> Recipe:
    """Plan the training on a study.

    Raises:
        ValueError: for images of other than two or three axes, and for three where they have two.
    """
    if facts.axes not in (2, 3) or (facts.spatial_dims or 0) > facts.axes:
        raise ValueError(
            f"expected images of 2 or 3 axes to plan for, got {facts.axes} for {facts.spatial_dims or 'any'}"
        )
    overlays, planned = plan_pictures(facts) if facts.axes == 2 else ([], plan_volumes(facts))
    if facts.minutes:
        planned["minutes"] = facts.minutes, "asked for; epochs are then what a step's time allows"
    return Recipe(
        bundle="scribble_2d" if facts.axes == 2 else "scribble",
        overlays=overlays,
        settings=json.loads(json.dumps({name: value for name, (value, _) in planned.items()})),
        reasons={name: reason for name, (_, reason) in planned.items()},
        study=facts,
    )


def find_recipe(datalist: PathLike) -> str | None:
    """The recipe beside a data list, if there is one."""
    path = Path(str(datalist)).with_name(RECIPE)
    return str(path) if path.is_file() else None


def read_recipe(path: PathLike) -> Recipe:
    """The recipe in a file.

    Raises:
        ValueError: naming the file, for what is none, or is one of another version.
    """
    try:
        content = read_json(str(path), "a recipe")
        if (version := content.pop("version", None)) != VERSION:
            raise ValueError(f"expected a recipe of version {VERSION}, got {version!r} in {path}")
        kinds = {"bundle": str, "overlays": list, "settings": Mapping, "reasons": Mapping, "study": Mapping}
        if content.keys() != kinds.keys() or not all(isinstance(content[name], kinds[name]) for name in kinds):
            raise ValueError(f"expected a recipe of {', '.join(kinds)}, got {', '.join(content)} in {path}")
        try:
            return Recipe(**{**content, "study": Facts.of(content["study"])})
        except ValueError as error:
            raise ValueError(f"{error} in {path}") from error
    except ValueError as error:
        raise ValueError(f"{error}: python -m data_prep check LIST --replan writes a new one") from error
