# SPDX-License-Identifier: Apache-2.0
"""What ``bundles/scribble_2d`` is to do with photographs and rasters."""

from __future__ import annotations

import math

import numpy as np

from medwsss.study.intensities import EIGHT_BITS, rounded
from medwsss.study.plan.facts import Facts
from medwsss.study.plan.patches import plan_grid
from medwsss.study.plan.training import Settings, bandwidth, cached, length

__all__ = ["plan_pictures"]

_PATCH = 240 * 180  # pixels
_LEVELS = 3  # of the network of small.json
_ROOM = 1.25  # images up to this many patches go in whole
_LEAST = 0.25  # of their size, to which photographs are shrunk
_STEP = 4 * _PATCH  # pixels of a batch
_ITERATIONS = 1500
_RGB = 3


def plan_pictures(facts: Facts) -> tuple[list[str], Settings]:
    """Overlays of the bundle and settings for two axes, each with its reason."""
    settings: Settings = {"in_channels": (facts.channels, "channels of the images")}
    low, high = EIGHT_BITS if facts.photographs else rounded([(facts.range[0], facts.range[1])])
    settings["intensity_range"] = [low, high], (
        "whole numbers in 8 bits" if facts.photographs else "usual intensities of all images"
    )
    if facts.channels != _RGB or not facts.photographs:
        scale = EIGHT_BITS[1] / (high - low)
        mean, std = (np.asarray(facts.mean) - low) * scale, np.asarray(facts.std) * scale
        settings["mean"] = mean.round(3).tolist(), "of the study, in grey levels; these are no photographs in RGB"
        settings["std"] = np.maximum(std, 1).round(3).tolist(), "likewise"
    if facts.photographs:  # of others, a channel's own range is not that of the guide
        settings["bandwidth"] = bandwidth(facts, 9.0)
    settings["cache_rate"] = cached(facts)
    if facts.device == "cuda":
        return [], settings

    scale = _scale(facts)
    shape = [side * scale for side in facts.shape]
    patch, _ = plan_grid(shape, facts.spacing, _PATCH, _LEVELS)
    batch = min(max(_STEP // math.prod(patch), 2), 8)
    settings["patch_size"] = patch, f"at most {_PATCH} pixels on a CPU, after scaling"
    settings["scales"] = [0.75 * scale, 1.5 * scale], f"around {scale:g}, see test_scales"
    settings["test_scales"] = [scale], (
        "as large as they are" if scale == 1 else f"photographs of {math.prod(facts.shape):.0f} pixels, on a CPU"
    )
    settings["batch_size"] = batch, f"about {_STEP} pixels"
    cover = max(round(math.prod(shape) / math.prod(patch)), 1)
    return ["small"], settings | length(facts, batch, min(cover, 8), _ITERATIONS)


def _scale(facts: Facts) -> float:
    """Half as large, or a quarter, where photographs then go in whole; rasters keep what their pixels show."""
    scale = 1.0
    while facts.photographs and scale > _LEAST and math.prod(facts.shape) * scale**2 > _ROOM * _PATCH:
        scale /= 2
    return scale
