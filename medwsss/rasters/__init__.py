# SPDX-License-Identifier: Apache-2.0
"""Rasters on the earth: where they lie, what their bands hold, strokes of a vector layer, maps that a GIS opens."""

from __future__ import annotations

from medwsss.rasters.bands import BandStatistics, read_bands
from medwsss.rasters.dictionary import (
    GuideBandsD,
    GuideBandsd,
    GuideBandsDict,
    ScaleBandsD,
    ScaleBandsd,
    ScaleBandsDict,
)
from medwsss.rasters.features import Features, class_table, read_features
from medwsss.rasters.georeference import Georeference
from medwsss.rasters.guide import check_guide, study_bandwidth
from medwsss.rasters.polygons import polygonize
from medwsss.rasters.strokes import Burnt, burn, widen
from medwsss.rasters.tiled import RasterPredictor
from medwsss.rasters.writer import RasterWriter

__all__ = [
    "BandStatistics",
    "Burnt",
    "Features",
    "Georeference",
    "GuideBandsD",
    "GuideBandsDict",
    "GuideBandsd",
    "RasterPredictor",
    "RasterWriter",
    "ScaleBandsD",
    "ScaleBandsDict",
    "ScaleBandsd",
    "burn",
    "check_guide",
    "class_table",
    "polygonize",
    "read_bands",
    "read_features",
    "study_bandwidth",
    "widen",
]
