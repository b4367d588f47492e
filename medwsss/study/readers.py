# SPDX-License-Identifier: Apache-2.0
"""One reader for every format of a study, the same for the check and for training."""

from __future__ import annotations

import functools
import logging
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from monai.config import PathLike
from monai.data import ImageReader, NibabelReader, NumpyReader, PILReader, PydicomReader, is_supported_format
from monai.transforms import LoadImage
from monai.utils import ensure_tuple, optional_import
from PIL import Image, ImageOps

from medwsss.study.integrity import verify

rasterio, has_rasterio = optional_import("rasterio")

# Whenever a loader is made and pydicom is there, MONAI says that a GPU decoder isn't, which nothing here would use.
logging.getLogger("monai.data.nvimgcodec_pydicom_plugin").setLevel(logging.ERROR)
warnings.filterwarnings("ignore", message="NvImgCodecPydicomReader")

_ORIENTATION = 0x0112  # EXIF
_PRINTED = ("CMYK", "YCbCr", "LAB", "HSV")  # modes that are colour pictures in another coordinate system


#: Endings of the files that a folder is searched for; of those that begin alike, the longest first.
SUFFIXES = (".nii.gz", ".nii", ".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".npy")


def suffix_of(path: PathLike) -> str:
    """The ending of a file's name as it stands there: one of :data:`SUFFIXES` whatever its case, else what follows
    the last dot."""
    name = Path(path).name
    known = next((suffix for suffix in SUFFIXES if name.lower().endswith(suffix)), None)
    return Path(name).suffix if known is None else name[-len(known) :]


def stem_of(path: PathLike) -> str:
    """A file's name without :func:`suffix_of`."""
    name = Path(path).name
    return name[: len(name) - len(suffix_of(name))]


@functools.cache
def loader() -> LoadImage:
    """Any file of a study as a ``MetaTensor`` ``C *S``."""
    return LoadImage(reader=StudyReader(), ensure_channel_first=True)


class RasterReader(ImageReader):
    """TIFF and GeoTIFF through rasterio (``pip install medwsss[data]``).

    The first axis runs along a row as in MONAI's other 2-D readers, and bands are the last axis, as channels. The
    metadata has ``nodata`` where the file declares it, and the geotransform as ``affine`` where it has one.
    """

    def verify_suffix(self, filename: Sequence[PathLike] | PathLike) -> bool:
        """Whether all the files are TIFF by name."""
        return is_supported_format(filename, ["tif", "tiff"])

    def read(self, data: Sequence[PathLike] | PathLike, **kwargs: Any) -> list[tuple[np.ndarray, dict]]:
        """Arrays and metadata of the files."""
        if not has_rasterio:
            raise ImportError("a TIFF needs rasterio: pip install medwsss[data]")
        return [self._read(name) for name in ensure_tuple(data)]

    def get_data(self, img: Sequence[tuple[np.ndarray, dict]]) -> tuple[np.ndarray, dict]:
        """One array, the bands of all files as its channels, with the metadata of the first."""
        shapes = {array.shape[:2] for array, _ in img}
        if len(shapes) > 1:
            raise ValueError(f"expected rasters of one size for the channels of an image, got {sorted(shapes)}")
        return np.concatenate([array for array, _ in img], axis=-1), img[0][1]

    def _read(self, name: PathLike) -> tuple[np.ndarray, dict]:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", rasterio.errors.NotGeoreferencedWarning)
            with rasterio.open(name) as raster:
                bands, transform, nodata = raster.read(), raster.transform, raster.nodata
        meta = {"original_channel_dim": -1, "spatial_shape": np.array(bands.shape[:0:-1])}
        if nodata is not None:
            meta["nodata"] = nodata
        if not transform.is_identity:
            a, b, c, d, e, f = transform[:6]
            meta["affine"] = np.array([[a, b, 0, c], [d, e, 0, f], [0, 0, 1, 0], [0, 0, 0, 1.0]])
        return bands.transpose(2, 1, 0), meta


class PictureReader(PILReader):
    """PNG, JPEG and BMP as they are displayed: turned by their EXIF orientation, printers' colours as RGB.

    A palette picture keeps its indices (its ``mode`` is ``P``), which is what a label map needs.

    Raises:
        ValueError: for an alpha channel, and for 16 bits a colour, of which Pillow would drop the lower half.
    """

    def get_data(self, img: Any) -> tuple[np.ndarray, dict]:
        """One array of all the pictures, with the metadata of the first."""
        return super().get_data([_displayed(picture) for picture in ensure_tuple(img)])  # type: ignore[no-any-return]


class StudyReader(ImageReader):
    """Any file of a study, by its name: NIfTI, DICOM, TIFF, PNG, JPEG, BMP, NPY and NPZ (without pickles).

    To be used as ``LoadImage(reader=StudyReader())``. Metadata has ``placed``: whether the format says where in space
    the voxels lie.

    Raises:
        ValueError: naming the file, for one that its reader refuses or that no reader is meant for.
    """

    def verify_suffix(self, filename: Sequence[PathLike] | PathLike) -> bool:
        """Always: the right reader is found when the data is read."""
        return True

    def read(self, data: Sequence[PathLike] | PathLike, **kwargs: Any) -> tuple[PathLike, ...]:
        """Names alone: ``LoadImage`` meets an error in here by trying one after the other of its default readers."""
        return ensure_tuple(data)

    def get_data(self, img: Sequence[PathLike]) -> tuple[np.ndarray, dict]:
        """Array and metadata of the file, or of several as the channels of one image."""
        verify(*img)
        names = img[0] if len(img) == 1 else ", ".join(map(str, img))
        try:
            for kind in (NibabelReader, PictureReader, RasterReader, NumpyReader, PydicomReader):
                reader = kind()
                if reader.verify_suffix(img):
                    opened = reader.read(img)
                    array, meta = reader.get_data(opened)
                    break
            else:
                raise ValueError("no reader for this kind of file")
        except Exception as error:  # whatever a library raises: the user has to know which file it is
            reason = str(error.__cause__ or error).split("\n")[0]
            raise ValueError(f"expected a readable image, got {type(error).__name__} in {names}: {reason}") from error
        meta["placed"] = "affine" in meta
        if getattr(opened, "SamplesPerPixel", 1) > 1:  # a DICOM in colours
            meta["original_channel_dim"], meta["spatial_shape"] = -1, array.shape[:-1]
        return array, meta


def _displayed(picture: Image.Image) -> Image.Image:
    if "A" in picture.getbands():
        raise ValueError(f"an alpha channel (mode {picture.mode}): save it without, as grey, RGB or palette")
    if len(picture.getbands()) > 1 and any("16" in str(tile[3]) for tile in getattr(picture, "tile", ())):
        raise ValueError("16 bits a colour, of which half would be lost: save it with 8 bits, or as TIFF")
    if picture.mode in _PRINTED:
        return picture.convert("RGB")
    return ImageOps.exif_transpose(picture) if picture.getexif().get(_ORIENTATION, 1) != 1 else picture
