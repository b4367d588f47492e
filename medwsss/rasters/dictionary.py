# SPDX-License-Identifier: Apache-2.0
"""Transforms of a case whose image has bands."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import torch
from monai.config import KeysCollection
from monai.data import MetaTensor, get_track_meta
from monai.transforms import MapTransform
from monai.utils import TransformBackends, convert_to_dst_type, convert_to_tensor

from medwsss.keys import GUIDE, IMAGE
from medwsss.rasters.bands import COMPONENTS, BandStatistics
from medwsss.study.intensities import existing
from medwsss.transforms.existing import OF_VOID

__all__ = ["GuideBandsD", "GuideBandsDict", "GuideBandsd", "ScaleBandsD", "ScaleBandsDict", "ScaleBandsd"]


class ScaleBandsd(MapTransform):
    """:py:meth:`BandStatistics.scale`: each band by the study's statistics, the same in every image and every part.

    Args:
        keys: of images ``C *S`` with NaN where there is nothing, which is gone afterwards.
        statistics: as :py:func:`medwsss.rasters.read_bands` returns them.
        allow_missing_keys: don't raise an exception if a key is missing.

    Raises:
        ValueError: for NaN or infinity that the image's file did not declare, naming it, and for other bands.
    """

    backend = [TransformBackends.TORCH]

    def __init__(self, keys: KeysCollection, statistics: Mapping[str, Any], allow_missing_keys: bool = False) -> None:
        super().__init__(keys, allow_missing_keys)
        self.statistics = BandStatistics.from_dict(statistics)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Scale every image under ``keys``."""
        d = dict(data)
        for key in self.key_iterator(d):
            image: torch.Tensor = convert_to_tensor(d[key], track_meta=get_track_meta())
            existing(image)
            if len(image) != len(self.statistics.low):
                raise ValueError(f"expected {len(self.statistics.low)} bands, as the statistics have, got {len(image)}")
            plain: torch.Tensor = convert_to_tensor(image, track_meta=False)
            scaled = convert_to_dst_type(self.statistics.scale(plain), image, dtype=torch.float32)[0]
            if isinstance(scaled, MetaTensor):
                scaled.meta = {name: value for name, value in scaled.meta.items() if name not in OF_VOID}
            d[key] = scaled
        return d


class GuideBandsd(MapTransform):
    """What contrast weights look at, of a scaled image: its bands, some of them, or their principal components.

    Contrasts of many bands add up, and those that hold noise alone drown the others. Components are the study's, so
    that a border weighs the same in every patch.

    Args:
        keys: of scaled images ``C *S``.
        names: where guides go, one for each of ``keys``.
        statistics: as :py:func:`medwsss.rasters.read_bands` returns them.
        how: ``"auto"``: all of up to three bands, of more three components; ``"pca"``; or names or numbers
            (from 1, as GDAL counts) of bands.
        allow_missing_keys: don't raise an exception if a key is missing.

    Raises:
        ValueError: for a band that there is not.
    """

    backend = [TransformBackends.TORCH]

    def __init__(
        self,
        keys: KeysCollection = IMAGE,
        names: str = GUIDE,
        *,
        statistics: Mapping[str, Any],
        how: str | Sequence[str | int] = "auto",
        allow_missing_keys: bool = False,
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        self.statistics, self.names = BandStatistics.from_dict(statistics), names
        bands = list(self.statistics.names)
        if how == "auto":
            how = "pca" if len(bands) > COMPONENTS else list(range(1, len(bands) + 1))
        self.bands = None if how == "pca" else [_index(bands, each) for each in how]

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """The case with a guide more."""
        d = dict(data)
        for key in self.key_iterator(d):
            image: torch.Tensor = convert_to_tensor(d[key], track_meta=get_track_meta())
            plain: torch.Tensor = convert_to_tensor(image, track_meta=False)
            guide = self.statistics.project(plain) if self.bands is None else plain[self.bands]
            d[self.names] = convert_to_dst_type(guide, image)[0]
        return d


def _index(names: Sequence[str], band: str | int) -> int:
    if band in names:
        return names.index(str(band))
    if isinstance(band, int) and 1 <= band <= len(names):
        return band - 1
    raise ValueError(f"expected a band of {', '.join(names)} or a number from 1 to {len(names)}, got {band!r}")


GuideBandsD = GuideBandsDict = GuideBandsd
ScaleBandsD = ScaleBandsDict = ScaleBandsd
