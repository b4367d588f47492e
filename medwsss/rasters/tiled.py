# SPDX-License-Identifier: Apache-2.0
"""Maps of scenes of any size at fixed memory: read a part, predict it, write it."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from typing import Any

import numpy as np
import torch
from monai.config import PathLike
from monai.inferers import Inferer
from torch import Tensor, nn
from tqdm import tqdm

from medwsss.inferers.class_maps import MAPS, class_maps
from medwsss.keys import IMAGE, MAP_OUTPUT, OUTPUT, UNLABELED
from medwsss.networks.reach import reach_of
from medwsss.rasters.bands import BandStatistics, band_numbers
from medwsss.rasters.georeference import Georeference
from medwsss.rasters.polygons import polygonize, require_polygons
from medwsss.rasters.writer import BLOCK, RasterWriter
from medwsss.study.readers.parts import is_raster, read_window
from medwsss.study.windows import Window, windows

__all__ = ["RasterPredictor"]

logger = logging.getLogger(__name__)

_GLOBAL_HALO = 128  # around a part, where the whole image has a say in each label


class RasterPredictor:
    """A trained network on scenes, GeoTIFF or pictures, part by part, to maps that a GIS opens.

    A part is looked at with as much around it as the network looks at, and begins where its strides do: class
    probabilities are those of the whole scene, but for rounding. Where the whole scene has a say (instance norms,
    pooling over all of it) they are not, which is logged. Memory depends on the part and the network alone.

    Args:
        network: with its weights, on ``device``.
        inferer: how a part goes through it, to class probabilities.
        statistics: of the bands, as :py:func:`medwsss.rasters.read_bands` returns them.
        class_names: of the classes.
        maps: of :py:data:`medwsss.inferers.MAPS`, to write beside the classes.
        polygons: whether to write a layer of the classes, too, see :py:func:`~medwsss.rasters.polygonize`.
        minimum_area: of a polygon, in m² on the ground.
        core: pixels a side of a part; a multiple of 512, in which files are compressed.
        halo: pixels around it; default: as many as the network looks at.
        multiple_of: product of the network's strides.
        device: to compute on.
        amp: whether in half precision.

    Raises:
        ImportError: with the command that installs what polygons need.
        ValueError: for another core, a negative halo, and an unknown map.
    """

    def __init__(
        self,
        network: nn.Module,
        inferer: Inferer,
        statistics: Mapping[str, Any],
        class_names: Sequence[str],
        maps: Sequence[str] = (),
        polygons: bool = False,
        minimum_area: float = 0.0,
        core: int = 1024,
        halo: int | None = None,
        multiple_of: int = 1,
        device: torch.device | str = "cpu",
        amp: bool = False,
    ) -> None:
        if core < BLOCK or core % BLOCK or core % multiple_of:
            raise ValueError(f"expected a core that is a multiple of {BLOCK} and of {multiple_of}, got {core}")
        if halo is not None and halo < 0 or set(maps) - set(MAPS):
            raise ValueError(f"expected a halo from 0 and maps of {', '.join(MAPS)}, got {halo} and {list(maps)}")
        if polygons:
            require_polygons()
        self.polygons, self.minimum_area = polygons, minimum_area
        self.network, self.inferer = network.eval(), inferer
        self.statistics, self.class_names = BandStatistics.from_dict(statistics), list(class_names)
        self.maps = [name for name in MAPS if name in maps]
        self.core, self.device, self.amp = core, torch.device(device), amp
        if halo is None:
            halo = reach_of(network, len(self.statistics.low), 2, multiple_of)
            if halo is None:
                halo = _GLOBAL_HALO
                logger.warning("The network looks at whole images: maps depend on where a part of %d ends.", core)
        self.halo = -(-halo // multiple_of) * multiple_of

    def __call__(self, items: Sequence[Mapping[str, Any]]) -> None:
        """Predict each item's ``image`` to its ``output`` and ``output_<map>``, of polygons ``output_polygons``.

        Raises:
            ValueError: after all, naming the images that could not be predicted.
        """
        failures, placeless = [], 0
        for item in items:
            try:
                placeless += not self.predict(item)
            except (ValueError, OSError, RuntimeError) as error:  # the others are to be predicted
                text = " ".join(str(error).split())
                failures.append(text if str(item[IMAGE]) in text else f"{text} in {item[IMAGE]}")
                logger.error("No prediction: %s", failures[-1])
        if failures:
            done = len(items) - len(failures)
            raise ValueError(f"{done} predicted, {len(failures)} failed: {'; '.join(failures)}")
        if placeless:
            logger.info(
                "%d of them say no reference system: their maps lie on their pixels, not on the earth.", placeless
            )
        logger.info("%d predicted, 0 failed.", len(items))

    def predict(self, item: Mapping[str, Any]) -> bool:
        """Write the maps of one scene, whole or not at all.

        Returns:
            whether the scene says where on the earth it lies.

        Raises:
            ValueError: naming the image, for one that is no raster of the bands that the network was trained with, and
                for polygons of one without a reference system.
        """
        image = str(item[IMAGE])
        if not is_raster(image):
            raise ValueError(f"expected a GeoTIFF or a picture, got {image}: gdal_translate makes one")
        bands = band_numbers(image, self.statistics.names)
        logger.info("Bands %s of %s.", ", ".join(map(str, bands)), image)
        place = Georeference.of(image)
        if self.polygons and place.crs is None:
            raise ValueError(f"expected a reference system for polygons, got none in {image}")
        parts = list(windows(place.shape, [self.core] * 2, [self.halo] * 2))
        with ExitStack() as stack:
            names = {"uncertainty": ["uncertainty"], "probabilities": self.class_names}
            writers = [stack.enter_context(RasterWriter(item[OUTPUT], image, self.class_names))]
            for name in self.maps:
                path = item[MAP_OUTPUT.format(name)]
                writers.append(stack.enter_context(RasterWriter(path, image, bands=names[name])))
            sizes = [1, *(len(names[name]) for name in self.maps)]
            for window in tqdm(parts, desc=image, disable=None if len(parts) > 1 else True):
                for writer, values in zip(writers, self._maps(image, bands, window, sizes)):
                    writer.write(values, window.core[0][0], window.core[1][0])
        if self.polygons:
            polygonize(item[OUTPUT], item[MAP_OUTPUT.format("polygons")], self.class_names, self.minimum_area)
        return place.crs is not None

    def _maps(self, image: str, bands: Sequence[int], window: Window, sizes: Sequence[int]) -> Iterator[np.ndarray]:
        """Classes, and maps, of a part; nodata where no band has anything."""
        sigma, void = self.probabilities(image, bands, window)
        found = class_maps(sigma[None], self.maps)[0].cpu().numpy()
        for index, part in enumerate(np.split(found, np.cumsum(sizes)[:-1])):
            yield np.where(void, UNLABELED, part).astype(np.uint8) if not index else np.where(void, np.nan, part)

    @torch.no_grad()
    def probabilities(self, image: PathLike, bands: Sequence[int], window: Window) -> tuple[Tensor, np.ndarray]:
        """``σ`` of a part, ``K *core``, and where no band has anything, whatever it is there.

        Args:
            image: the file.
            bands: numbers of its bands, as :func:`~medwsss.rasters.bands.band_numbers` finds them.
            window: the part.
        """
        rows, columns = window.seen
        inner: tuple[Any, ...] = (..., *window.inner)
        values = read_window(image, rows, columns, bands)
        void = np.isnan(values[inner]).all(0)
        if void.all():
            return torch.zeros(len(self.class_names), *void.shape), void
        scaled = self.statistics.scale(torch.from_numpy(values))[None].to(self.device)
        with torch.autocast(self.device.type, enabled=self.amp):
            sigma: Tensor = self.inferer(scaled, self.network)
        return sigma[0][inner].float(), void
