# SPDX-License-Identifier: Apache-2.0
"""TIFF and GeoTIFF, with what they state: pages, bands, what is missing, place, scale, orientation and colours."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
from monai.config import PathLike
from monai.data import ImageReader, is_supported_format
from monai.utils import ensure_tuple, optional_import
from PIL import Image

from medwsss.study.readers.pages import Tags, arranged, read_tags
from medwsss.study.readers.pictures import PictureReader, joined, opaque, without

rasterio, has_rasterio = optional_import("rasterio")

# Values of the tag PhotometricInterpretation
_WHITE_IS_ZERO, _TRANSPARENCY, _CMYK, _YCBCR = 0, 4, 5, 6
_PALETTE = 3
PLAIN = (_WHITE_IS_ZERO, 1, 2, _PALETTE)  # 1: grey, 2: RGB
JPEG = 7  # of Compression: its decoder makes RGB of YCbCr
# Of the tag Orientation: what turns rows and columns into the displayed picture
TURNS = {
    2: lambda a: a[..., ::-1],
    3: lambda a: a[..., ::-1, ::-1],
    4: lambda a: a[..., ::-1, :],
    5: lambda a: a.swapaxes(-1, -2),
    6: lambda a: np.rot90(a, -1, (-2, -1)),
    7: lambda a: np.rot90(a, 2, (-2, -1)).swapaxes(-1, -2),
    8: lambda a: np.rot90(a, 1, (-2, -1)),
}


class RasterReader(ImageReader):
    """TIFF and GeoTIFF through rasterio (``pip install rasterio``).

    The first axis runs along a row as in MONAI's other 2-D readers; pages of one size are the third axis, or channels
    where ImageJ or OME say so; bands are the last axis, as channels. Band scale and offset are applied. What the file
    declares as missing, by a nodata value, a mask or an alpha channel, is NaN. The metadata has

    - ``void``: by what voxels are missing, where some are; ``nodata_value`` where that is declared;
    - ``affine``: the geotransform, or ImageJ's voxel size, where the file has one, in ``unit``;
    - ``crs``: the reference system, where the file has one;
    - ``mode``: ``P`` for a palette's indices.

    Raises:
        ValueError: for what cannot be used: pages of several sizes, complex numbers, other colours than grey, RGB, CMYK
            and palettes, a turned raster on the earth.
    """

    def verify_suffix(self, filename: Sequence[PathLike] | PathLike) -> bool:
        """Whether all the files are TIFF by name."""
        return is_supported_format(filename, ["tif", "tiff"])

    def read(self, data: Sequence[PathLike] | PathLike, **kwargs: Any) -> list[tuple[np.ndarray, dict]]:
        """Arrays and metadata of the files."""
        return [_read(name) for name in ensure_tuple(data)]

    def get_data(self, img: Sequence[tuple[np.ndarray, dict]]) -> tuple[np.ndarray, dict]:
        """One array, the bands of all files as its channels, with the metadata of the first."""
        return joined(img)


@contextmanager
def open_tiff(name: PathLike, mode: str = "r", driver: str = "GTiff", **profile: Any) -> Iterator[Any]:
    """A TIFF, or what else a driver is for, through rasterio, without its warning that it has no place on the earth.

    Raises:
        ImportError: with the command that installs what is missing.
    """
    if not has_rasterio:
        raise ImportError("a TIFF needs rasterio: pip install rasterio")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", rasterio.errors.NotGeoreferencedWarning)
        # without a driver, GDAL would open by content what may name other files
        with rasterio.open(name, mode, driver=driver, **profile) as raster:
            yield raster


def _read(name: PathLike) -> tuple[np.ndarray, dict]:
    tags = read_tags(name)
    if tags.photometric in (_CMYK, _YCBCR) and tags.compression != JPEG:
        if tags.on_earth:
            raise ValueError("printers' colours on the earth: save it as RGB, gdal_translate -expand rgb or similar")
        with Image.open(name, formats=["TIFF"]) as picture:
            return PictureReader().get_data(picture.convert("RGB"))
    if tags.photometric not in (*PLAIN, _CMYK, _YCBCR):
        raise ValueError(f"colours of another kind (PhotometricInterpretation {tags.photometric}): save it as RGB")
    with open_tiff(name) as raster:
        pages = [page_of(raster, tags)]
        meta = pages[0][1] | place_of(raster, tags)
        names = raster.subdatasets
    for page in names[1:]:
        with open_tiff(page) as raster:
            pages.append(page_of(raster, tags))
    bands, there = arranged([(bands, there) for bands, _, there in pages], tags)
    if turn := TURNS.get(tags.orientation):
        if tags.on_earth:
            raise ValueError(f"a turned raster on the earth (Orientation {tags.orientation}): save it upright")
        bands, there = turn(bands), turn(there)
    array, there = bands.T, there.T  # columns first, pages after rows, bands last
    meta |= {"original_channel_dim": -1, "spatial_shape": np.array(array.shape[:-1])}
    return without(array, there, meta.pop("why"), meta)


def page_of(
    raster: Any, tags: Tags, window: Any = None, chosen: Sequence[int] | None = None, nodata: float | None = None
) -> tuple[np.ndarray, dict, np.ndarray]:
    """A page's bands, or a part of them, metadata, and where they are there, both ``bands × rows × columns``."""
    kinds = [kind.name for kind in raster.colorinterp]
    indexes = list(chosen or (k for k, kind in zip(raster.indexes, kinds) if kind != "alpha"))
    if not indexes or tags.photometric == _TRANSPARENCY:
        raise ValueError("a mask and no image")
    if np.dtype(raster.dtypes[0]).kind == "c":
        raise ValueError("complex numbers: save the magnitude")
    flags = {flag.name for flag in raster.mask_flag_enums[indexes[0] - 1]}
    bands = raster.read(indexes, window=window)
    alphas = [k for k, kind in zip(raster.indexes, kinds) if kind == "alpha"]
    meta: dict[str, Any] = {"why": "mask"}
    if alphas:
        there = np.broadcast_to(opaque(raster.read(alphas, window=window)).all(0), bands.shape)
        meta["why"] = "alpha"
    elif nodata is not None and "nodata" in flags:
        there = np.ones(bands.shape, bool)
    else:
        there = raster.read_masks(indexes, window=window) != 0
    missing = raster.nodata if nodata is None else nodata
    if missing is not None:
        meta |= {"why": f"nodata {missing:g}", "nodata_value": missing}
        if "nodata" not in flags or nodata is not None:  # a mask or alpha, besides which GDAL doesn't look at it
            there = there & (bands != np.asarray(missing).astype(bands.dtype))
    if bands.dtype.kind == "f" and not there.all() and (stray := np.isnan(bands) & there).any():
        there, meta["why"] = there & ~stray, meta["why"] + " and NaN"
    if tags.photometric == _PALETTE:
        meta["mode"] = "P"
    if tags.photometric == _WHITE_IS_ZERO:
        if bands.dtype.kind != "u":
            raise ValueError(f"white as zero in {bands.dtype}: save it with black as zero")
        bands = np.array(2**tags.bits - 1, bands.dtype) - bands
    scales, offsets = (np.array(each)[[k - 1 for k in indexes]] for each in (raster.scales, raster.offsets))
    if (scales != 1).any() or (offsets != 0).any():
        bands = (bands * scales[:, None, None] + offsets[:, None, None]).astype(np.float32)
    return bands, meta, there


def place_of(raster: Any, tags: Tags) -> dict[str, Any]:
    """Affine, its unit and the reference system, as far as the file has them."""
    meta: dict[str, Any] = {}
    if not raster.transform.is_identity:
        a, b, c, d, e, f = raster.transform[:6]
        meta["affine"] = np.array([[a, b, 0, c], [d, e, 0, f], [0, 0, 1, 0], [0, 0, 0, 1.0]])
    elif tags.voxel_size is not None:
        meta |= {"affine": np.diag([*tags.voxel_size, 1.0]), "unit": tags.unit}
    if raster.crs:
        meta["crs"] = raster.crs.to_string()
        meta["unit"] = "degree" if raster.crs.is_geographic else _short(raster.crs.linear_units)
    return meta


def _short(unit: str) -> str:
    return {"metre": "m", "meter": "m", "kilometre": "km"}.get(unit, unit)
