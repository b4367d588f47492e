# SPDX-License-Identifier: Apache-2.0
"""A run's network as QGIS's plugin Deepness runs it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from torch import Tensor, nn

from medwsss.networks.reach import reach_of
from medwsss.rasters.bands import BandStatistics

__all__ = ["DeepnessNetwork"]

_TILE = 512  # pixels a side, a multiple of any usual product of strides
_MOST = 50  # per cent that tiles may overlap
_TOP = 2**8 - 1  # grey level that the plugin divides by: it reads bytes alone


class DeepnessNetwork(nn.Module):
    """Grey levels of 0 to 1, as the plugin divides bytes, to class probabilities: scaling, network and softmax.

    The plugin sets values below its threshold to 0 before it takes the largest, which logits do not survive.

    Args:
        network: with its weights; bands to logits.
        settings: of the run, with ``statistics``, ``class_names`` and ``multiple_of``.

    Raises:
        ValueError: for a run without statistics of bands, and for bands that are no bytes.
    """

    def __init__(self, network: nn.Module, settings: Mapping[str, Any]) -> None:
        super().__init__()
        if "statistics" not in settings:
            raise ValueError("expected a run of bundles/remote_sensing, got one without statistics of bands")
        self.network, self.settings = network, settings
        self.statistics = BandStatistics.from_dict(settings["statistics"])
        if max(self.statistics.high) > _TOP or min(self.statistics.low) < 0:
            raise ValueError(
                f"expected bands from 0 to {_TOP}, which is all that Deepness reads, got {min(self.statistics.low):g} "
                f"to {max(self.statistics.high):g}"
            )

    def forward(self, image: Tensor) -> Tensor:
        """``B C *S`` → ``B K *S``."""
        scaled = self.statistics.scale(image.transpose(0, 1) * _TOP).transpose(0, 1)
        probabilities: Tensor = self.network(scaled).softmax(1)
        return probabilities

    def facts(self, resolution: float | None = None) -> dict[str, Any]:
        """What the plugin reads of a model, by its keys; its code says ``tile_size``, its documentation ``tiles_size``.

        Args:
            resolution: centimetres a pixel; default: the user of the plugin has to say it.
        """
        halo = reach_of(self.network, len(self.statistics.low), 2, int(self.settings.get("multiple_of", 1))) or _TILE
        facts = {
            "model_type": "Segmentor",
            "class_names": dict(enumerate(self.settings["class_names"])),
            "tile_size": _TILE,
            "tiles_size": _TILE,
            "tiles_overlap": int(min(_MOST, np.ceil(100 * 2 * halo / _TILE))),
            "seg_thresh": 0.0,
            "seg_small_segment": 0,
        }
        return facts if resolution is None else {**facts, "resolution": float(resolution)}
