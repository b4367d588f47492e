# SPDX-License-Identifier: Apache-2.0
"""The recipe of a study in the running configuration: behind what the bundle says, before what somebody says."""

from __future__ import annotations

import difflib
import json
import logging
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from monai.bundle import ConfigParser

from medwsss.bundle.limits import check_options
from medwsss.bundle.location import bundle_folder
from medwsss.bundle.overrides import typed_options
from medwsss.bundle.run_folder import check_values
from medwsss.bundle.running import running_parser
from medwsss.study import Recipe, StudySummary, read_recipe

__all__ = ["check_recipe", "use_recipe"]

logger = logging.getLogger(__name__)

#: Bundles for which there are recipes.
PLANNED = ("scribble", "scribble_2d")
#: What everything else is planned for.
STRUCTURE = ("spatial_dims", "in_channels")
#: What says which network there is; an overlay of a recipe says all of it.
NETWORK = ("network_def", "backbone", "output_stride", "weights", "pretrained", "optimizer")


def use_recipe(argv: Sequence[str] | None = None) -> None:
    """Give the running configuration the settings of its ``recipe``, if there is one. An expression calls this.

    They take the place of what the bundle's ``train.json`` says. What overlays, options of the command and whoever
    made the configuration say otherwise stays, and the log tells so. With a ``run_dir``, only the run's settings count.

    Args:
        argv: the command's ``sys.argv`` (default).

    Raises:
        ValueError: naming the file, for a recipe that is none, of another version or another bundle or for another
            number of classes, for settings that the bundle does not have or that are out of range, and where somebody
            asks for other axes or channels than it was made for.
    """
    parser = running_parser()
    if "run_dir" in parser and parser.get_parsed_content("run_dir") is not None:
        return
    if parser.get_parsed_content("dataset_dir") is None:
        return  # which is told of elsewhere
    own = Path(parser.get_parsed_content("bundle_root")).name
    if (path := parser.get_parsed_content("recipe")) is None:
        if own in PLANNED:
            logger.info("No recipe: settings are the bundle's own. python -m data_prep check LIST plans some.")
        return
    recipe = read_recipe(path)
    again = "python -m data_prep check LIST plans anew; --recipe '$None' does without"
    if recipe.bundle != own:
        raise ValueError(f"expected a recipe for bundles/{own}, got one for bundles/{recipe.bundle}: {path}; {again}")
    if (classes := parser.get_parsed_content("num_classes")) != recipe.study.num_classes:
        raise ValueError(f"expected a recipe for {classes} classes, got {recipe.study.num_classes} in {path}; {again}")
    bundled = ConfigParser()
    bundled.read_config(str(_folder(parser) / "train.json"))
    bundled.resolve_macro_and_relative_ids()
    layers = _layers(recipe, bundled, _folder(parser), path)
    _announce(recipe, path)
    check_options()  # so that what is wrong from here on is the recipe's
    typed = {re.split("#|::", name.lstrip("+"))[0] for name in typed_options(sys.argv if argv is None else argv)}
    names = [*layers, *(name for name in NETWORK if recipe.overlays and name in bundled)]
    kept = {name for name in names if name in typed or parser[name] != bundled[name]}
    if recipe.overlays and (other := sorted(kept.intersection(NETWORK))):
        raise ValueError(
            f"expected the network of {path} ({recipe.overlays[-1]}.json), got {', '.join(other)}; {again}"
        )
    for name in kept & recipe.settings.keys():
        said = parser[name]
        if _plain(said) == recipe.settings[name]:
            continue
        if name in STRUCTURE:
            raise ValueError(f"expected {name} {recipe.settings[name]}, which {path} is for, got {said}; {again}")
        logger.warning(
            "%s is %s, as the command or an overlay says; %s says %s.", name, said, path, recipe.settings[name]
        )
    _put(parser, {name: value for name, value in layers.items() if name not in kept})
    try:
        check_options()
    except ValueError as error:
        raise ValueError(f"{error} in {path}") from error


def check_recipe(path: str | None, study: StudySummary) -> StudySummary:
    """Say so where a recipe was made for other images than a section has; the section.

    Raises:
        ValueError: where they are of another kind.
    """
    if path is None:
        return study
    planned = read_recipe(path).study
    if planned.images == study.images:
        return study
    again = "python -m data_prep check LIST plans anew"
    axes = len(study.shape[0]) if study.shape else 0
    told = f"expected the {planned.images} that {path} was made for, got {study.images}"
    if (planned.channels, planned.axes) != (study.channels, axes):
        raise ValueError(
            f"{told}, of {study.channels} channels and {axes} axes for {planned.channels} and {planned.axes}: {again}"
        )
    logger.warning("%s: %s.", told, again)
    return study


def _folder(parser: ConfigParser) -> Path:
    """The bundle that the configuration is of."""
    root = Path(parser.get_parsed_content("bundle_root"))
    return root if (root / "train.json").is_file() else bundle_folder(root.name)


def _layers(recipe: Recipe, bundled: ConfigParser, folder: Path, path: str) -> dict[str, Any]:
    """Overlays of the bundle and settings, one over the other.

    Raises:
        ValueError: for what the bundle does not have, and what is no value.
    """
    layers: dict[str, Any] = {}
    for overlay in recipe.overlays:
        file = folder / f"{overlay}.json"
        if not isinstance(overlay, str) or not re.fullmatch(r"\w+", overlay) or not file.is_file():
            raise ValueError(f"expected an overlay of {folder}, got {overlay!r} in {path}")
        layers |= ConfigParser.load_config_file(str(file))
    for name in recipe.settings:
        if name not in bundled or name.startswith("_"):
            close = difflib.get_close_matches(name, bundled.get(), n=1)
            hint = f", did you mean {close[0]}?" if close else ""
            raise ValueError(f"expected names that {folder / 'train.json'} has, got {name} in {path}{hint}")
    check_values(recipe.settings, path)
    return layers | recipe.settings


def _announce(recipe: Recipe, path: str) -> None:
    logger.info("The recipe %s: %s", path, recipe)
    for name, planned in recipe.edited.items():
        found = recipe.settings.get(name, "not given")
        logger.warning("%s: %s is %s, by hand; planned was %s.", path, name, found, planned)


def _put(parser: ConfigParser, layers: dict[str, Any]) -> None:
    """Replace ids of a configuration that is being evaluated.

    What has been evaluated so far is forgotten, apart from names of files and folders, which are text that MONAI would
    read anew as something else, and from the list that is being worked through.
    """
    done = parser.ref_resolver.resolved_content  # "started" among them
    parser.get().update(json.loads(json.dumps(layers)))
    parser.parse(reset=True)
    stays = {
        id: value for id, value in done.items() if isinstance(value, str) or id.startswith(("initialize", "started"))
    }
    parser.ref_resolver.resolved_content.update({id: value for id, value in stays.items() if id not in layers})


def _plain(value: Any) -> Any:
    return [_plain(each) for each in value] if isinstance(value, (list, tuple)) else value
