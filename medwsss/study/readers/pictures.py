# SPDX-License-Identifier: Apache-2.0
"""PNG, JPEG and BMP, as they are displayed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from monai.config import PathLike
from monai.data import PILReader
from monai.utils import ensure_tuple
from PIL import Image, ImageOps

_FORMATS = ("PNG", "JPEG", "BMP")  # by content: a TIFF named .png has facts that are read elsewhere
_ORIENTATION = 0x0112  # EXIF
_PRINTED = ("CMYK", "YCbCr")  # modes that are colour pictures in another coordinate system


class PictureReader(PILReader):
    """PNG, JPEG and BMP as they are displayed: turned by their EXIF orientation, printers' colours as RGB.

    A palette picture keeps its indices (its ``mode`` is ``P``), which is what a label map needs. What is transparent is
    NaN, and the metadata says so in ``void``.

    Raises:
        ValueError: for pixels that are partly transparent, for several frames, and for 16 bits a colour, of which
            Pillow would drop the lower half.
    """

    def read(self, data: Any, **kwargs: Any) -> Any:
        """The pictures, which Pillow opens by their content."""
        return super().read(data, formats=_FORMATS, **kwargs)

    def get_data(self, img: Any) -> tuple[np.ndarray, dict]:
        """One array, the channels of all pictures, with the metadata of the first."""
        return joined([self._shown(picture) for picture in ensure_tuple(img)])

    def _shown(self, picture: Image.Image) -> tuple[np.ndarray, dict]:
        step = _step(picture)
        picture = upright(picture)
        there = opacity(picture)
        colours = [band for band in picture.getbands() if band != "A"]
        if len(colours) < len(picture.getbands()):
            picture = picture.convert("RGB" if len(colours) == 3 else "L")
        array, meta = super().get_data(picture)
        if step > 1:
            array = array // step
        return without(array, there if there is None else there.T, "alpha", meta)


def _step(picture: Image.Image) -> int:
    """What Pillow multiplies grey levels of 2 and 4 bits by, to have 255 for white; a label map would not know them."""
    modes = {str(tile[3]) for tile in getattr(picture, "tile", ())}
    return 85 if modes == {"L;2"} else 17 if modes == {"L;4"} else 1


def joined(parts: Sequence[tuple[np.ndarray, dict]]) -> tuple[np.ndarray, dict]:
    """The channels of several files, ``*S`` or ``*S C``, as those of one, with the metadata of the first.

    Raises:
        ValueError: for files of several sizes.
    """
    if len(parts) == 1:
        return parts[0]
    arrays = [array if meta["original_channel_dim"] == -1 else array[..., None] for array, meta in parts]
    shapes = {array.shape[:-1] for array in arrays}
    if len(shapes) > 1:
        raise ValueError(f"files of several sizes for the channels of one image, {sorted(shapes)}")
    void = {key: value for _, meta in parts for key, value in meta.items() if key == "void"}
    return np.concatenate(arrays, axis=-1), {**parts[0][1], **void, "original_channel_dim": -1}


def without(array: np.ndarray, there: np.ndarray | None, why: str, meta: dict) -> tuple[np.ndarray, dict]:
    """``array``, NaN where nothing is ``there`` (of its shape, or without its channels), and metadata that says why."""
    if there is None or there.all():
        return array, meta
    there = there[..., None] if there.ndim < array.ndim else there
    return np.where(there, array, np.float32(np.nan)).astype(np.float32), {**meta, "void": why}


def opaque(alpha: np.ndarray) -> np.ndarray:
    """Where an alpha channel says that there is a picture.

    Raises:
        ValueError: for one with more than one value besides 0, whose colours are blended with something.
    """
    there: np.ndarray = alpha != 0
    if len(values := np.unique(alpha[there])) > 1:
        raise ValueError(
            f"an alpha channel of {len(values)} values from {values[0]:g} to {values[-1]:g}, where 0 and one other "
            "would say what is there and what is not: save it without, or, if it is data, as a band that is no alpha"
        )
    return there


def opacity(picture: Image.Image) -> np.ndarray | None:
    """Which pixels of a picture are there, ``rows × columns``; ``None`` where nothing says that some aren't."""
    if "A" in picture.getbands():
        return opaque(np.asarray(picture.getchannel("A")))
    key = picture.info.get("transparency")  # PNG's tRNS: the one colour that is none
    if key is None or picture.mode == "P":  # a palette's indices mean what they mean, transparent or not
        return None
    return np.asarray(np.atleast_3d(np.not_equal(np.asarray(picture), np.asarray(key))).any(-1))


def upright(picture: Image.Image) -> Image.Image:
    """The picture as it is displayed.

    Raises:
        ValueError: for several frames and for 16 bits a colour.
    """
    frames = getattr(picture, "n_frames", 1) if picture.format == "PNG" else 1
    if frames > 1:
        raise ValueError(f"an animation of {frames} frames: save each as a picture")
    if len(picture.getbands()) > 1 and any("16" in str(tile[3]) for tile in getattr(picture, "tile", ())):
        raise ValueError("16 bits a colour, of which half would be lost: save it with 8 bits, or as TIFF")
    if picture.mode in _PRINTED:
        picture = picture.convert("RGB")
    return ImageOps.exif_transpose(picture) if _turned(picture) else picture


def is_turned(path: PathLike) -> bool:
    """Whether a picture is displayed another way than it lies in the file."""
    with Image.open(path, formats=_FORMATS) as picture:
        return _turned(picture)


def _turned(picture: Image.Image) -> bool:
    return bool(picture.getexif().get(_ORIENTATION, 1) != 1)
