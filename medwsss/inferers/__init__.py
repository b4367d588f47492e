# SPDX-License-Identifier: Apache-2.0
"""How whole images go through a network."""

from __future__ import annotations

from medwsss.inferers.class_maps import ClassMapInferer, class_maps
from medwsss.inferers.multi_scale import MultiScaleInferer
from medwsss.inferers.padded import PaddedInferer
from medwsss.inferers.slices import SlicesInferer
from medwsss.inferers.tiled import TiledInferer

__all__ = ["ClassMapInferer", "MultiScaleInferer", "PaddedInferer", "SlicesInferer", "TiledInferer", "class_maps"]
