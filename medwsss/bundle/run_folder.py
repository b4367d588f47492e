# SPDX-License-Identifier: Apache-2.0
"""What a run's folder says of its network, beside the weights: what inference would else have to be told again.

``settings.json`` holds plain values and no path, so the folder may be copied to anywhere::

    {"bundle": "scribble", "settings": {"num_classes": 4, "network_def": {"_target_": "UNet", ...}, ...}}

It is data, not configuration: nothing in it is evaluated, and what it builds are networks and transforms.
"""

from __future__ import annotations

import json
import logging
import pydoc
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from monai.bundle import ConfigParser
from monai.bundle.config_item import ComponentLocator
from monai.config import PathLike
from monai.transforms import Transform
from torch.nn import Module

from medwsss.bundle.limits import check_options
from medwsss.bundle.overrides import typed_options
from medwsss.bundle.running import running_parser
from medwsss.files import read_json
from medwsss.keys import SETTINGS

__all__ = ["check_values", "read_run", "trained_settings", "use_run"]

logger = logging.getLogger(__name__)

#: How an image goes through the network and becomes labels, which one may change, as opposed to what the network is and
#: what it was shown.
FREE = ("patch_size", "test_scales", "test_flip", "multiple_of", "background_kind", "background_score")
_TARGET = "_target_"


def trained_settings(names: Sequence[str]) -> dict[str, Any]:
    """The content of ``settings.json``: values of the running configuration, components as configuration of values.

    Args:
        names: top-level ids. One whose value JSON cannot hold is left out, with a warning; inference has to be told it.
    """
    parser, settings = running_parser(), {}
    for name in names:
        try:
            settings[name] = json.loads(json.dumps(_values(parser, name)))
        except TypeError as error:
            logger.warning("%s will not say %s, which inference needs as an override: %s", SETTINGS, name, error)
    return {"bundle": Path(parser.get_parsed_content("bundle_root")).name, "settings": settings}


def _values(parser: ConfigParser, name: str) -> Any:
    content = parser[name]
    if isinstance(content, Mapping):
        return {key: _values(parser, f"{name}::{key}") for key in content}
    return parser.get_parsed_content(name)


def read_run(run_dir: PathLike) -> tuple[str, dict[str, Any]]:
    """The bundle that a run is of, and its settings.

    Raises:
        ValueError: naming the file, where there is none and where it is not what training wrote.
    """
    path = Path(str(run_dir)) / SETTINGS
    if not path.is_file():
        raise ValueError(
            f"expected the folder of a training (run_dir), got no file {path}, which training writes beside model.pt; "
            "without it, the options of the training are given one by one"
        )
    content = read_json(path, "a run's settings")
    bundle, settings = content.get("bundle"), content.get("settings")
    if not isinstance(bundle, str) or not isinstance(settings, dict) or not settings:
        raise ValueError(f"expected a run's settings: bundle and settings, got {sorted(content)} in {path}")
    check_values(settings, path)
    return bundle, settings


def check_values(settings: Mapping[str, Any], path: PathLike) -> None:
    """Check that settings of a file are values, networks and transforms, and nothing that is evaluated.

    Raises:
        ValueError: naming the file, and what is something else.
    """
    for name, value in _leaves(settings):
        if isinstance(value, str) and value[:1] in ("$", "@", "%"):
            raise ValueError(f"expected values, got the expression {value!r} of {name} in {path}")
        if name.endswith(_TARGET) and not _is_built(value):
            raise ValueError(f"expected networks and transforms, got {value!r} of {name} in {path}")


def _leaves(content: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(content, (dict, list)):
        for key, value in content.items() if isinstance(content, dict) else enumerate(content):
            yield from _leaves(value, f"{name}#{key}" if name else str(key))
    else:
        yield name, content


def _is_built(target: Any) -> bool:
    """Whether this names a class of networks or transforms."""
    if not isinstance(target, str):
        return False
    found = ComponentLocator().get_component_module_name(target)
    module = found[0] if isinstance(found, list) else found
    try:
        kind = pydoc.locate(f"{module}.{target}" if module else target)
    except pydoc.ErrorDuringImport:
        return False
    return isinstance(kind, type) and issubclass(kind, (Module, Transform))


def use_run(argv: Sequence[str] | None = None) -> None:
    """Give the running configuration the settings of its ``run_dir``, if there is one. An expression calls this.

    Whatever the configuration and its overlays say, the run's settings replace, and the log tells what. What the
    command says itself must not contradict them, but for how an image goes through the network, which the log tells.

    Args:
        argv: the command's ``sys.argv`` (default).

    Raises:
        ValueError: for a folder that is not a run's, for a run of another bundle, for overrides that contradict it, and
            for a study to evaluate on whose classes have other names.
    """
    parser = running_parser()
    run_dir = parser.get_parsed_content("run_dir")
    if run_dir is None:
        return
    bundle, settings = read_run(run_dir)
    path, own = Path(str(run_dir)) / SETTINGS, Path(parser.get_parsed_content("bundle_root")).name
    if bundle != own:
        raise ValueError(f"expected a run of the bundle {own}, got one of {bundle}: {path}")
    if "val_items" in parser:  # inference has images alone
        _check_classes(parser, settings, path)
    kept = _typed(parser, settings, path, sys.argv if argv is None else argv)
    for name, value in settings.items():
        if name in parser and name not in kept:
            _replace(parser, name, value, path)
    try:
        check_options()
    except ValueError as error:
        raise ValueError(f"{error} in {path}") from error


def _check_classes(parser: ConfigParser, settings: Mapping[str, Any], path: Path) -> None:
    """Refuse to judge a run by the masks of other classes, such as those of a bundle's default data."""
    of_run, of_study = settings.get("class_names"), parser.get_parsed_content("class_names")
    unnamed = [f"class {k}" for k in range(len(of_study))]
    if of_run is None or of_run == unnamed or of_study in (of_run, unnamed):
        return
    raise ValueError(
        f"expected a study of the classes {of_run}, as in {path}, got {of_study} in "
        f"{parser.get_parsed_content('datalist')}: --dataset_dir says which one is meant"
    )


def _typed(parser: ConfigParser, settings: Mapping[str, Any], path: Path, argv: Sequence[str]) -> set[str]:
    """Settings that the command replaces."""
    kept, problems = set(), []
    for name in typed_options(argv):
        root, *keys = re.split("#|::", name.lstrip("+"))  # MONAI writes :: for #
        if root not in settings:
            continue
        value, trained = parser.get_parsed_content("::".join([root, *keys])), settings[root]
        for key in keys:
            trained = trained.get(key) if isinstance(trained, dict) else None
        if _plain(value) == _plain(trained):
            continue
        if root in FREE:
            kept.add(root)
            logger.warning("%s is %s, as the command says, and was %s in training.", root, value, trained)
        else:
            problems.append(
                f"expected --{'#'.join([root, *keys])} {trained}, as in {path}, or no such override, got {value}"
            )
    if problems:
        raise ValueError("\n".join(problems))
    return kept


def _replace(parser: ConfigParser, name: str, value: Any, path: Path) -> None:
    before = parser[name]
    if before == value:
        return
    if isinstance(value, dict):
        logger.info("%s is that of %s.", name, path)
        resolved = ConfigParser({name: value}).get_parsed_content(name)
    else:
        logger.info("%s is %s, from %s, in place of %s.", name, value, path, before)
        resolved = value
    parser.get()[name], parser.ref_resolver.resolved_content[name] = value, resolved


def _plain(value: Any) -> Any:
    return [_plain(each) for each in value] if isinstance(value, (list, tuple)) else value
