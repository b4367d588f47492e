# SPDX-License-Identifier: Apache-2.0
"""A finished run, as its folder tells of it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from monai.bundle import ConfigParser
from torch import nn

from medwsss.bundle.command_line import cause_of
from medwsss.bundle.location import BUNDLES
from medwsss.bundle.weights import load_weights
from medwsss.files import load_verified
from medwsss.handlers.checkpoint import checkpoints_in

__all__ = ["FinishedRun"]


class FinishedRun:
    """The configuration of a run as its last checkpoint recorded it, with the weights that training chose.

    As with every bundle, expressions of the configuration are code: open runs that you trust.

    Args:
        folder: the run's ``output_dir``.
        overrides: ids of the configuration that are to have other values.

    Raises:
        ValueError: naming the folder or file, where there is no checkpoint, one that cannot be read, one without the
            run's settings (an earlier version wrote it), and for weights that are missing or others.
    """

    def __init__(self, folder: Path, overrides: Mapping[str, Any] | None = None) -> None:
        settings = _settings(folder)
        # what the summary of a study came to is recorded in its place
        train = ConfigParser.load_config_file(str(BUNDLES / "scribble" / "train.json"))
        here = {"study": train["study"], "output_dir": str(folder)}
        self.parser = ConfigParser({**settings, **here, **(overrides or {})})
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        network: nn.Module = self["network_def"]
        self.parser["network"] = load_weights(network, self["model_file"]).to(self.device).eval()

    def __getitem__(self, name: str) -> Any:
        """What an id of the configuration comes to.

        Raises:
            Exception: what went wrong, without MONAI's wrappers around it.
        """
        try:
            return self.parser.get_parsed_content(name)
        except RuntimeError as error:
            raise cause_of(error) from None


def _settings(folder: Path) -> dict[str, Any]:
    found = checkpoints_in(folder / "checkpoints")
    if not found:
        raise ValueError(f"expected the folder of a run (output_dir), with checkpoints in it, got none in {folder}")
    path = found[-1][1]
    try:
        settings = load_verified(path)["trainer"].get("settings")
    except Exception as error:  # zip, pickle and I/O each fail in their own way on a damaged file
        raise ValueError(f"expected a readable checkpoint, got {type(error).__name__} in {path}: {error}") from error
    if not settings or "network_def" not in settings:
        raise ValueError(f"expected the settings of a bundle's run in {path}, got none: an earlier version wrote it")
    return dict(settings)
