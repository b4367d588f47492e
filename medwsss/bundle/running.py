# SPDX-License-Identifier: Apache-2.0
"""The configuration that a ``$`` expression belongs to, which MONAI does not hand to it."""

from __future__ import annotations

import inspect
import re
from collections.abc import Mapping
from typing import Any

from monai.bundle import ConfigParser

__all__ = ["run_settings", "running_parser"]


def running_parser() -> ConfigParser:
    """The parser that is evaluating the expression from which this is called.

    Raises:
        ValueError: when called from elsewhere.
    """
    frame = inspect.currentframe()
    while frame is not None:
        if isinstance(parser := frame.f_locals.get("self"), ConfigParser):
            return parser
        frame = frame.f_back
    raise ValueError("expected a call from an expression of a configuration, got one from elsewhere")


def run_settings(**facts: Any) -> dict[str, Any]:
    """All that the running configuration says, overlays and overrides included, for a checkpoint to record.

    Expressions stay the text they are. ``facts`` are what they come to where that depends on more than the
    configuration: the classes' names, or the summary of a study, of which its ``fingerprint`` is taken.
    """
    content = running_parser().get()
    settings = {name: value for name, value in content.items() if name != ConfigParser.meta_key}
    plain: dict[str, Any] = _plain({**settings, **facts})
    return plain


def _plain(value: Any) -> Any:
    """Numbers, text and nests of them; whatever else somebody has put into a configuration is named by its ``repr``."""
    if isinstance(value, Mapping):
        return {str(key): _plain(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(each) for each in value]
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    return getattr(value, "fingerprint", None) or re.sub(r" at 0x\w+", "", repr(value))
