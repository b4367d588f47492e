# SPDX-License-Identifier: Apache-2.0
"""What the bands of a study hold, measured once where there is something, and frozen: scale and guide depend on it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

import numpy as np
import torch
from monai.config import PathLike
from monai.utils import ensure_tuple
from torch import Tensor

from medwsss.files import read_json
from medwsss.keys import IMAGE
from medwsss.study.datalist import load_datalist
from medwsss.study.readers import suffix_of
from medwsss.study.readers.parts import opened, read_window
from medwsss.study.windows import spread

__all__ = ["BANDS", "BandStatistics", "band_numbers", "has_bands", "read_bands"]

BANDS = "bands"  #: key of a data list
PERCENTILES = (2, 98)  #: of a band's values, which become 0 and 1: what QGIS stretches to
CLIP = (-1.0, 2.0)  #: beyond which scaled values are cut: clouds, sensor faults
COMPONENTS = 3  #: of a guide of more bands

_WINDOW = 128  # pixels a side of what is looked at, of large rasters in so many places along each axis:
_PLACES = 4
_PIXELS = 200_000  # of all files together, evenly spread


@dataclass(frozen=True)
class BandStatistics:
    """Of each band of a study's images, over the pixels that exist; plain values, as a data list holds them."""

    names: Sequence[str]
    low: Sequence[float]  #: 2nd percentile
    high: Sequence[float]  #: 98th
    valid: Sequence[float]  #: share of the pixels that exist
    mean: Sequence[float]  #: of scaled values
    components: Sequence[Sequence[float]]  #: principal ones of scaled values, a row each, the largest variance first

    @classmethod
    def of(
        cls, paths: Iterable[PathLike], bands: Sequence[int] | None = None, nodata: float | None = None
    ) -> BandStatistics:
        """Measure GeoTIFF files of equal bands; of large ones, a part of their pixels.

        Args:
            paths: the files.
            bands: numbers from 1; default: all but alpha.
            nodata: value of what is missing, in place of the files'.

        Raises:
            ValueError: for no pixels, and for other bands than the first file's.
        """
        files = list(paths)
        samples = [_sample(path, bands, nodata) for path in files]
        if not samples or len({len(sample) for sample in samples}) > 1:
            told = ", ".join(f"{len(sample)} in {path}" for sample, path in zip(samples, files))
            raise ValueError(f"expected rasters of equal bands, got {told or 'none'}")
        names = list(_named(files[0]))
        return cls.of_pixels([names[k - 1] for k in bands] if bands else names, np.concatenate(samples, axis=1))

    @classmethod
    def of_pixels(cls, names: Sequence[str], pixels: np.ndarray) -> BandStatistics:
        """Measure ``bands × pixels``, NaN where there is nothing; of many, every so manieth is looked at."""
        pixels = pixels[:, :: -(-pixels.shape[1] // _PIXELS)].astype(np.float64)
        exists = np.isfinite(pixels)
        low, high = np.zeros((2, len(pixels)))
        for band, (values, there) in enumerate(zip(pixels, exists)):
            if there.any():
                low[band], high[band] = np.percentile(values[there], PERCENTILES)
        scaled = np.clip((pixels - low[:, None]) / _width(low, high)[:, None], *CLIP)
        mean = np.array([values[there].mean() if there.any() else 0.0 for values, there in zip(scaled, exists)])
        away = np.where(exists, scaled - mean[:, None], 0.0)
        _, vectors = np.linalg.eigh(away @ away.T)
        components = vectors.T[::-1][:COMPONENTS]
        components = components * np.sign(components[range(len(components)), abs(components).argmax(1)])[:, None]
        return cls(
            list(names),
            low.tolist(),
            high.tolist(),
            exists.mean(1).tolist(),
            mean.tolist(),
            components.round(6).tolist(),
        )

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> BandStatistics:
        """As :meth:`to_dict` wrote it.

        Raises:
            ValueError: for something else.
        """
        if set(values) != {each.name for each in fields(cls)} or len({len(v) for v in list(values.values())[:5]}) > 1:
            raise ValueError(f"expected statistics of bands ({', '.join(f.name for f in fields(cls))}), got {values}")
        return cls(**values)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON and for a run's settings."""
        return asdict(self)

    @property
    def dead(self) -> list[str]:
        """Names of bands that have no value, or a single one."""
        return [name for name, low, high in zip(self.names, self.low, self.high) if low == high]

    def scale(self, image: Tensor) -> Tensor:
        """``(x − low) / (high − low)``, clipped; what is missing (NaN) and a dead band become the band's mean.

        A constant takes the place of what is missing, and not what is near it, so that a pixel's value depends on
        nothing around it: a tile has the values of the whole.

        Args:
            image: ``C *S`` as it is read.
        """
        shape = [-1, *[1] * (image.ndim - 1)]
        low, high, mean = (torch.tensor(each).reshape(shape) for each in (self.low, self.high, self.mean))
        width = torch.as_tensor(_width(np.array(self.low), np.array(self.high))).float().reshape(shape)
        scaled = ((image.float() - low) / width).clamp(*CLIP)
        return torch.where(scaled.isnan() | (low == high), mean, scaled)

    def project(self, scaled: Tensor) -> Tensor:
        """Scaled values ``C *S`` on the principal components."""
        shape = [-1, *[1] * (scaled.ndim - 1)]
        weights = torch.tensor(self.components)
        projected = scaled.new_zeros(len(weights), *scaled.shape[1:])
        for band, (values, mean) in enumerate(zip(scaled, self.mean)):  # in this order wherever a pixel lies
            projected += weights[:, band].reshape(shape) * (values - mean)
        return projected


def read_bands(datalist: PathLike, allow_outside: bool = False) -> dict[str, Any]:
    """The statistics in a data list, or else those of its training images.

    Raises:
        ValueError: naming the list, for something else in their place.
    """
    told = read_json(datalist, "a data list").get(BANDS)
    if told is None:
        images = [item[IMAGE] for item in load_datalist(datalist, "training", (IMAGE,), allow_outside)]
        return BandStatistics.of(images).to_dict()
    try:
        return BandStatistics.from_dict(told).to_dict()
    except (ValueError, TypeError, AttributeError) as error:
        raise ValueError(f"{error} in {datalist}") from error


def has_bands(content: Mapping[str, Any], channels: int | None) -> bool:
    """Whether a data list is of scenes: it has statistics of bands, or TIFF of other channels than grey and colour.

    Args:
        content: of the list, which :func:`~medwsss.study.check_study` has no error for.
        channels: of its images.
    """
    names = [name for item in content["training"] for name in ensure_tuple(item[IMAGE])]
    tiff = bool(names) and all(suffix_of(name).lower() in (".tif", ".tiff") for name in names)
    return BANDS in content or tiff and channels not in (None, 1, 3)


def band_numbers(path: PathLike, names: Sequence[str]) -> tuple[int, ...]:
    """Numbers, from 1, of the bands of a file that have these names; of as many without such names, all in order.

    Raises:
        ValueError: naming the file, where it has others.
    """
    known = _named(path)
    if set(names) <= known.keys():
        return tuple(known[name] for name in names)
    if len(known) != len(names):
        raise ValueError(
            f"expected {len(names)} bands ({', '.join(names)}), as the network was trained with, got {len(known)} "
            f"({', '.join(known)}) in {path}"
        )
    return tuple(known.values())


def _named(path: PathLike) -> dict[str, int]:
    """``{name: number}`` of a file's bands but alpha; one that has no name of its own is called by its number."""
    with opened(path) as raster:
        told = list(zip(raster.indexes, raster.descriptions, raster.colorinterp))
    shared = [name for _, name, _ in told]
    own = {k: name if name and shared.count(name) == 1 else f"band {k}" for k, name, _ in told}
    return {own[k]: k for k, _, kind in told if kind.name != "alpha"}


def _width(low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """``high − low``, 1 for a dead band."""
    return np.where(high > low, high - low, 1.0)


def _sample(path: PathLike, bands: Sequence[int] | None, nodata: float | None) -> np.ndarray:
    """``bands × pixels``: all of them, or windows evenly spread."""
    with opened(path) as raster:
        shape = raster.shape
    boxes = spread(shape, _WINDOW, _PLACES)
    parts = [read_window(path, rows, columns, bands, nodata) for rows, columns in boxes]
    return np.concatenate([part.reshape(len(part), -1) for part in parts], axis=1)
