# SPDX-License-Identifier: Apache-2.0
"""What plans of volumes and of pictures have in common: how long, what is kept in memory, how strong a border is."""

from __future__ import annotations

import math
from typing import Any

from medwsss.study.plan.facts import Facts

__all__ = ["Settings", "bandwidth", "cached", "length"]

Settings = dict[str, tuple[Any, str]]  #: a value and its reason, by the bundle's name for it

_ITERATIONS = 16  # of an epoch, at least: each ends with a checkpoint
_VALIDATIONS = 4
_TRIED = (0.015, 0.06)  # noise between seeds of one class in the studies that the bundles' bandwidths were chosen on
_SHARE = 0.5  # of the machine's memory


def length(facts: Facts, batch: int, samples: int, iterations: int) -> Settings:
    """Samples, epochs and validations of about so many iterations."""
    enough = -(-_ITERATIONS * batch // facts.items)
    settings: Settings = {
        "samples_per_volume": (
            max(samples, enough),
            (
                f"an epoch of at least {_ITERATIONS} iterations"
                if enough > samples
                else "an epoch shows most of each image"
            ),
        )
    }
    steps = max(facts.items * max(samples, enough) // batch, 1)
    interval = max(round(iterations / steps / _VALIDATIONS), 1)
    settings["epochs"] = interval * _VALIDATIONS, f"about {iterations} iterations, {steps} an epoch"
    settings["val_interval"] = interval, f"{_VALIDATIONS} validations, the last one after the last epoch"
    return settings


def cached(facts: Facts) -> tuple[float, str]:
    """The share of a study that fits into half of the machine's memory."""
    size = facts.items * math.prod(facts.shape) * (4 * facts.channels + 5) / 2**20
    if facts.memory is None or size <= _SHARE * facts.memory:
        return 1.0, f"about {size:.0f} MiB for the study"
    rate = math.floor(100 * _SHARE * facts.memory / size) / 100
    return (
        rate,
        f"the study takes about {size:.0f} MiB, the machine has {facts.memory:.0f}: the others are read each time",
    )


def bandwidth(facts: Facts, tried: float) -> tuple[float, str]:
    """The bundle's bandwidth, in proportion to the noise where there is more or less of it than it was chosen on."""
    if facts.noise is None:
        return tried, "no two seeds of one class are neighbours, so noise is not known"
    low, high = _TRIED
    told = f"neighbouring seeds of one class differ by {facts.noise:.3g} of the usual range"
    if low <= facts.noise <= high:
        return tried, f"{told}; this value was chosen on studies of {low} to {high}"
    nearest = min(max(facts.noise, low), high)
    factor = min(max(facts.noise / nearest, 0.5), 2.0)
    return float(f"{tried * factor:.2g}"), f"{told}: {factor:.2g} times the value for studies of {low} to {high}"
