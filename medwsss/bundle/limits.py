# SPDX-License-Identifier: Apache-2.0
"""Options that are out of range, or do not go together: told of before data are opened, with what helps."""

from __future__ import annotations

import copy
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import distributed, nn

from medwsss.bundle.running import running_parser
from medwsss.keys import VOID

__all__ = ["check_network", "check_numbers", "check_options", "check_outputs"]


@dataclass(frozen=True)
class Range:
    """Numbers that an option may be; where it is a list, each of those in it."""

    low: float = -float("inf")
    high: float = float("inf")
    whole: bool = False
    above: bool = False  #: ``low`` itself is out
    below: bool = False  #: ``high`` itself is out

    def __contains__(self, value: object) -> bool:
        if isinstance(value, bool) or not isinstance(value, (int,) if self.whole else (int, float)):
            return False
        return (self.low < value if self.above else self.low <= value) and (
            value < self.high if self.below else value <= self.high
        )

    def __str__(self) -> str:
        low = f" {'above' if self.above else 'from'} {self.low:g}" * (self.low > -float("inf"))
        high = f" {'and below' if self.below else 'to'} {self.high:g}" * (self.high < float("inf"))
        return f"{'whole numbers' if self.whole else 'numbers'}{low}{high}"


_COUNT, _FROM_0, _SHARE, _POSITIVE = Range(1, whole=True), Range(0), Range(0, 1), Range(0, above=True)

#: What the bundles' options may be. Classes have checks of their own; these are earlier, and name the option.
RANGES = {
    "num_classes": Range(2, VOID, whole=True),  # of which background is one
    "spatial_dims": Range(2, 3, whole=True),
    "held_out_share": Range(0, 1, below=True),
    "scale": Range(0, 1, below=True),
    "memory": Range(0, 1, below=True),
    "rotate": Range(),
    "mean": Range(),
    **dict.fromkeys(("std", "scales", "test_scales", "spacing", "bandwidth", "learning_rate", "minutes"), _POSITIVE),
    **dict.fromkeys(("seed", "workers", "warmup_epochs", "cam_epochs", "refreshes", "halo"), Range(0, whole=True)),
    **dict.fromkeys(
        ("eta", "solver_eta", "lam", "dice_weight", "warmup_loss", "guide_smoothing", "minimum_area"), _FROM_0
    ),
    **dict.fromkeys(("prior_weight", "fsl_weight", "exponent", "sampling_floor"), _FROM_0),
    **dict.fromkeys(("class_balance", "cache_rate", "flip_prob", "affine_prob", "isl_weight", "dropout"), _SHARE),
    **dict.fromkeys(("foreground", "foreground_start", "low", "sigma"), _POSITIVE),
    **dict.fromkeys(("mu", "background_score"), Range()),
    "samples": _COUNT,
    **dict.fromkeys(
        ("in_channels", "epochs", "epoch_length", "val_interval", "samples_per_volume", "batch_size"), _COUNT
    ),
    **dict.fromkeys(("solver_steps", "solve_stride", "multiple_of", "connectivity", "core"), _COUNT),
    **dict.fromkeys(("channels", "strides", "patch_size"), _COUNT),
}
#: Options that are one of some words.
WORDS: dict[str, tuple[object, ...]] = {
    "labels": ("batch", "volume"),
    "patches_from": ("seeds", "both", "everywhere"),
    "trust": ("everywhere", "seeded"),
    "polygons": ("gpkg", "geojson"),
    **dict.fromkeys(
        ("test_flip", "largest_component", "uncertainty", "probabilities", "skip_existing", "activation_maps"),
        (True, False),
    ),
}
#: Lists, and how many entries they have: another option, a number, or any number of them (0).
LENGTHS: dict[str, str | int] = {
    "patch_size": "spatial_dims",
    "class_names": "num_classes",
    "mean": "in_channels",
    "std": "in_channels",
    "spacing": "spatial_dims",
    "scales": 2,
    "channels": 0,
    "strides": 0,
    "test_scales": 0,
}


def check_options() -> None:
    """Check the options of the configuration that an expression calls this from.

    Raises:
        ValueError: with a line for each that is out of range or has another length.
    """
    parser = running_parser()
    given = parser.get()  # to ask the parser itself for a name that isn't there takes it a search for similar ones
    # an expression comes from others; some of them have to wait for the study
    told = [name for name in RANGES | LENGTHS | WORDS if name in given and not str(given[name]).startswith("$")]
    values = {name: value for name in told if (value := parser.get_parsed_content(name)) not in (None, "auto")}
    wrong = []
    for name, value in values.items():
        several = name in LENGTHS
        length = LENGTHS.get(name, 0)
        number = parser.get_parsed_content(length) if isinstance(length, str) else length
        if several != isinstance(value, (list, tuple)):
            wrong.append(f"expected --{name} of {'several values' if several else 'one value'}, got {value!r}")
        elif name in WORDS and value not in WORDS[name]:
            wrong.append(f"expected --{name} to be one of {WORDS[name]}, got {value!r}")
        elif name in RANGES and any(each not in RANGES[name] for each in _flat(value)):
            wrong.append(f"expected --{name} of {RANGES[name]}, got {value!r}")
        elif several and number and len(value) != number:
            wrong.append(f"expected --{name} of {number} values ({length}), got {value!r}")
    if "scales" in values and not wrong and values["scales"][0] > values["scales"][1]:
        wrong.append(f"expected --scales from the smaller to the larger, got {values['scales']!r}")
    if values.get("labels") == "volume" and "warmup_loss" in values:
        wrong.append("expected warm-up of --labels volume to end by --warmup_epochs, got --warmup_loss")
    if wrong:
        raise ValueError("\n".join(wrong))


def _flat(value: Any) -> Iterator[Any]:
    for each in value if isinstance(value, (list, tuple)) else [value]:
        yield from _flat(each) if isinstance(each, (list, tuple)) else [each]


def check_numbers(training: int, validation: int) -> int:
    """Check that every process of a distributed run has something to do.

    Args:
        training: patches of an epoch: cases times ``samples_per_volume``.
        validation: cases; 0 where none is done.

    Returns:
        Patches of an epoch of one process.

    Raises:
        ValueError: naming the section of the data list that has fewer.
    """
    ranks = distributed.get_world_size() if distributed.is_available() and distributed.is_initialized() else 1
    for section, number, help in (
        ("training", training, "raise samples_per_volume, or start fewer processes"),
        ("validation", validation, "start fewer processes, or add cases"),
    ):
        if number < ranks and (number or section == "training"):
            raise ValueError(f"expected at least {ranks} items of {section}, one a process, got {number}: {help}")
    return -(-training // ranks)


def check_network(
    network: nn.Module, patches: int, batch_size: int, in_channels: int, patch_size: Sequence[int]
) -> None:
    """Follow a batch's shape through a network that trains, without computing.

    Raises:
        ValueError: where it cannot: norms of a single value (a batch of one behind global pooling, one voxel at the
            deepest level), sizes that do not fit together.
    """
    batch = min(batch_size, patches)
    try:
        copy.deepcopy(network).to("meta").train()(torch.empty(batch, in_channels, *patch_size, device="meta"))
    except (RuntimeError, ValueError) as error:
        if isinstance(error, NotImplementedError) or "meta" in str(error):
            return  # not every network can be followed
        few = f"; an epoch has {patches} patches" if patches < batch_size else ""
        raise ValueError(
            f"expected a network that can train on {batch} patches of {list(patch_size)} with {in_channels} channels, "
            f"got: {error}{few}. A larger --patch_size, --batch_size or --samples_per_volume helps"
        ) from error


def check_outputs(*paths: str) -> None:
    """Check that files can be written at or below these paths.

    Raises:
        ValueError: naming what is in the way.
    """
    for path in map(Path, paths):
        folder = next(each for each in (path, *path.absolute().parents) if each.exists())
        if folder != path and not folder.is_dir() or not os.access(folder, os.W_OK):
            raise ValueError(f"expected a place to write to, got {path}: {folder} does not allow it")
