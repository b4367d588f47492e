# SPDX-License-Identifier: Apache-2.0
"""Files of which a part can be read without the rest."""

from __future__ import annotations

import functools
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import torch
from monai.data import MetaTensor
from monai.utils import ImageMetaKey, optional_import

from medwsss.files import REMOTE
from medwsss.study.grid import Grid, is_nifti
from medwsss.study.integrity import verify
from medwsss.study.readers import loader, suffix_of
from medwsss.study.readers.parts import load_window, opened
from medwsss.study.readers.volumes import UNITS
from medwsss.study.windows import Box

zarr, has_zarr = optional_import("zarr")

__all__ = ["Source", "check_files", "create_array", "is_zarr", "open_array", "open_source", "require_zarr"]


def require_zarr() -> Any:
    """The library.

    Raises:
        ImportError: with the command that installs it.
    """
    if not has_zarr or not hasattr(zarr, "create_array"):
        raise ImportError("blocks are kept in zarr 3: pip install 'medwsss[blocks]', or 'zarr>=3'")
    return zarr


def is_zarr(name: str) -> bool:
    """Whether it is the name, or URL, of an array in zarr: a folder."""
    return suffix_of(name).lower() == ".zarr"


def open_array(name: str, mode: str) -> Any:
    """An array in zarr, by its path or URL."""
    return require_zarr().open_array(name, mode=mode, storage_options=_storage(name))


def create_array(path: Path, class_names: Sequence[str], shape: Sequence[int], core: Sequence[int], dtype: str) -> Any:
    """An array of nothing, ``K *shape``, in the place of whatever is there, which :func:`open_source` reads again."""
    return require_zarr().create_array(
        str(path),
        shape=(len(class_names), *shape),
        chunks=(len(class_names), *core),
        dtype=dtype,
        attributes={"class_names": list(class_names)},
        overwrite=True,
        storage_options=_storage(str(path)),
    )


def _storage(name: str) -> dict[str, Any] | None:
    return dict(REMOTE) if "://" in name else None


class Source(ABC):
    """A file, or several that are the channels of one image; axes are as they lie in it, rows first of pictures.

    Args:
        name: of the file.
    """

    grid: Grid  #: its shape is spatial; the affine is for comparisons among sources
    channels: int
    spacing: tuple[float, ...] | None = None  #: voxel size along each axis, of a volume that tells it

    def __init__(self, name: str) -> None:
        self.name = name

    @property
    def shape(self) -> tuple[int, ...]:
        """Voxels along each spatial axis."""
        return self.grid.shape

    def read(self, box: Box) -> MetaTensor:
        """A part, ``C *box`` in single precision, NaN where the file declares that there is nothing.

        Raises:
            ValueError: naming the file, where it cannot be read.
        """
        try:
            values, meta = self._read(box)
        except (OSError, RuntimeError) as error:
            raise ValueError(f"expected to read {self.name}, got {type(error).__name__}: {error}") from error
        told = {key: value for key, value in meta.items() if key in ("void", "nodata_value", "mode", "scl_slope")}
        plain = torch.from_numpy(np.array(values, dtype=np.float32, order="C"))
        return MetaTensor(plain, meta={**told, ImageMetaKey.FILENAME_OR_OBJ: self.name})

    @abstractmethod
    def _read(self, box: Box) -> tuple[np.ndarray, dict]:
        """``C *box``, and metadata of the study's reader."""


class _Raster(Source):
    """GeoTIFF."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        pixel, meta = load_window(name, (0, 1), (0, 1))
        with opened(name) as raster:
            shape = (raster.height, raster.width)
        self.channels = len(pixel)
        self.grid = Grid(shape, meta.get("affine"), meta.get("unit"), meta.get("crs"))

    def _read(self, box: Box) -> tuple[np.ndarray, dict]:
        rows, columns = box
        return load_window(self.name, rows, columns)  # type: ignore[arg-type]


class _Volume(Source):
    """NIfTI, of which nibabel reads a part; uncompressed, nothing else is read."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        image: Any = nib.load(name)
        shape = tuple(map(int, image.shape))
        while len(shape) > 3 and shape[-1] == 1:
            shape = shape[:-1]
        kind = image.get_data_dtype().kind
        if not 1 < len(shape) < 5 or kind not in "iufb":
            raise ValueError(f"expected a volume of numbers with at most one axis of channels, got another in {name}")
        self.channels = shape[3] if len(shape) == 4 else 1
        self._image, self._plain = image, len(shape) < 4
        self._rest = (0,) * (len(image.shape) - len(shape))
        self.grid = Grid(shape[:3], image.affine, UNITS.get(image.header.get_xyzt_units()[0]))
        self.spacing = tuple(float(f"{size:.6g}") for size in nib.affines.voxel_sizes(image.affine)[: len(self.shape)])

    def _read(self, box: Box) -> tuple[np.ndarray, dict]:
        every = () if self._plain else (slice(None),)
        part = np.asarray(self._image.dataobj[(*(slice(*ends) for ends in box), *every, *self._rest)])
        return (part[None] if self._plain else np.moveaxis(part, -1, 0)), {}


class _Array(Source):
    """NPY, mapped to memory, or a zarr array: spatial axes alone, as the study's reader has it.

    Of what blocks have made, classes are channels.
    """

    def __init__(self, name: str) -> None:
        super().__init__(name)
        array = self._array()
        self._plain = "class_names" not in getattr(array, "attrs", {})
        shape = tuple(array.shape)
        self.grid, self.channels = (Grid(shape), 1) if self._plain else (Grid(shape[1:]), shape[0])
        if len(self.shape) not in (1, 2, 3) or array.dtype.kind not in "iufb":
            told = f"{self.shape} {array.dtype}"
            raise ValueError(f"expected numbers along 1 to 3 spatial axes (a file a channel), got {told} in {name}")

    def _read(self, box: Box) -> tuple[np.ndarray, dict]:
        place = tuple(slice(*ends) for ends in box)
        return np.array(self._array()[(None, *place) if self._plain else (slice(None), *place)]), {}

    def _array(self) -> Any:
        """Opened for each part: what a mapping has shown stays in memory for as long as it lasts."""
        return open_array(self.name, "r") if is_zarr(self.name) else np.load(self.name, mmap_mode="r")


class _Whole(Source):
    """What has to be read at once: pictures."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self._image = loader()(name)
        if self._image.ndim != 3:
            raise ValueError(f"expected a picture, or a NIfTI, GeoTIFF, NPY or zarr, got {name}")
        self._meta = dict(self._image.meta)
        self._pixels = self._image.numpy().swapaxes(1, 2)
        self.grid, self.channels = Grid(self._pixels.shape[1:]), len(self._pixels)

    def _read(self, box: Box) -> tuple[np.ndarray, dict]:
        return self._pixels[(slice(None), *(slice(*ends) for ends in box))], self._meta


class _Channels(Source):
    """Several files on one grid."""

    def __init__(self, parts: Sequence[Source]) -> None:
        super().__init__(", ".join(part.name for part in parts))
        first, *others = self._parts = list(parts)
        for part in others:
            if part.shape != first.shape:
                raise ValueError(f"expected channels of one shape, {first.shape} of {first.name}, got {part.shape}")
        self.grid, self.spacing, self.channels = first.grid, first.spacing, sum(part.channels for part in parts)

    def _read(self, box: Box) -> tuple[np.ndarray, dict]:
        arrays, metas = zip(*(part._read(box) for part in self._parts))
        return np.concatenate([a.astype(np.float32) for a in arrays]), {k: v for m in metas for k, v in m.items()}


def _kind(name: str) -> type[Source]:
    suffix = suffix_of(name).lower()
    if suffix in (".tif", ".tiff"):
        return _Raster
    if suffix in (".npy", ".zarr"):
        return _Array
    return _Volume if is_nifti(name) else _Whole


@functools.lru_cache(maxsize=8)
def _opened(names: tuple[str, ...], changed: tuple[int, ...]) -> Source:
    try:
        parts = [_kind(name)(name) for name in names]
    except (OSError, nib.filebasedimages.ImageFileError) as error:
        raise ValueError(
            f"expected a readable file, got {type(error).__name__} in {', '.join(names)}: {error}"
        ) from error
    return parts[0] if len(parts) == 1 else _Channels(parts)


def open_source(files: str | Sequence[str]) -> Source:
    """A file, or files that are channels; one that was opened lately is not opened anew.

    Raises:
        ValueError: naming the file, for one of which no part can be read.
    """
    names = (files,) if isinstance(files, str) else tuple(files)
    return _opened(names, tuple(0 if "://" in name else Path(name).stat().st_mtime_ns for name in names))


def check_files(files: str | Sequence[str]) -> None:
    """Read files once for their checksums and lengths, as far as their formats have any.

    Raises:
        ValueError: naming the file and what is damaged.
    """
    for name in [files] if isinstance(files, str) else files:
        if not is_zarr(name):
            verify(name)
