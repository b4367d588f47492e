# SPDX-License-Identifier: Apache-2.0
"""Which reader a file of a study is for."""

from __future__ import annotations

import functools
import logging
import warnings
from collections.abc import Sequence

import numpy as np
from monai.config import PathLike
from monai.data import ImageReader, NumpyReader
from monai.transforms import LoadImage
from monai.utils import ensure_tuple

from medwsss.study.integrity import verify
from medwsss.study.readers.names import refusal, suffix_of
from medwsss.study.readers.pictures import PictureReader
from medwsss.study.readers.rasters import RasterReader
from medwsss.study.readers.volumes import DicomReader, VolumeReader, is_dicom

# Whenever a loader is made and pydicom is there, MONAI says that a GPU decoder isn't, which nothing here would use.
logging.getLogger("monai.data.nvimgcodec_pydicom_plugin").setLevel(logging.ERROR)
warnings.filterwarnings("ignore", message="NvImgCodecPydicomReader")


_READERS: dict[type[ImageReader], tuple[str, ...]] = {
    VolumeReader: (".nii.gz", ".nii"),
    PictureReader: (".png", ".jpg", ".jpeg", ".bmp"),
    RasterReader: (".tif", ".tiff"),
    NumpyReader: (".npy", ".npz"),
}


@functools.cache
def loader() -> LoadImage:
    """Any file of a study as a ``MetaTensor`` ``C *S``."""
    return LoadImage(reader=StudyReader(), ensure_channel_first=True)


def _kind(path: PathLike) -> type[ImageReader] | None:
    known = next((kind for kind, suffixes in _READERS.items() if suffix_of(path).lower() in suffixes), None)
    return DicomReader if known is None and is_dicom(path) else known


class StudyReader(ImageReader):
    """Any file of a study, by its name: NIfTI, DICOM, TIFF, PNG, JPEG, BMP, NPY and NPZ (without pickles).

    To be used as ``LoadImage(reader=StudyReader())``. Voxels that the file declares as missing are NaN, and the
    metadata says by what in ``void`` (``nodata -9999``, ``mask``, ``alpha``, ``pixel padding …``); it also has
    ``placed``: whether the format says where in space the voxels lie, by ``affine``, in ``unit``, in ``crs``.

    Raises:
        ValueError: naming the file, for one that its reader refuses or that no reader is meant for.
    """

    def verify_suffix(self, filename: Sequence[PathLike] | PathLike) -> bool:
        """Always: the right reader is found when the data is read."""
        return True

    def read(self, data: Sequence[PathLike] | PathLike) -> tuple[PathLike, ...]:  # type: ignore[override]
        """Names alone: ``LoadImage`` meets an error in here by trying one after the other of its default readers."""
        return ensure_tuple(data)

    def get_data(self, img: Sequence[PathLike]) -> tuple[np.ndarray, dict]:
        """Array and metadata of the file, or of several as the channels of one image."""
        verify(*img)
        names = img[0] if len(img) == 1 else ", ".join(map(str, img))
        try:
            kinds = {_kind(path) for path in img}
            if len(kinds) > 1:
                raise ValueError("files of several formats for the channels of one image")
            if (kind := kinds.pop()) is None:
                raise ValueError(refusal(img[0]))
            reader = kind()
            array, meta = reader.get_data(reader.read(img))
            if array.dtype.kind == "c":
                raise ValueError("complex numbers: save the magnitude")
        except Exception as error:  # whatever a library raises: the user has to know which file it is
            reason = str(error.__cause__ or error).split("\n")[0]
            raise ValueError(f"expected a readable image, got {type(error).__name__} in {names}: {reason}") from error
        meta["placed"] = "affine" in meta
        return array, meta
