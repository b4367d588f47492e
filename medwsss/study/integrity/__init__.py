# SPDX-License-Identifier: Apache-2.0
"""Whether the bytes of a file are whole, as far as its format can tell, before anything decodes them.

Libraries look no further than they need: nibabel stops after the voxels, where gzip's checksum is still to come, and
allocates what a header declares before it knows that there is less. Here a file is read once, block by block. The
price is that what is compressed is inflated twice, here and where it is decoded.
"""

from __future__ import annotations

from collections.abc import Callable
from mmap import ACCESS_READ
from pathlib import Path

from monai.config import PathLike

from medwsss.study.integrity.arrays import check_hdf5, check_npy, check_npz
from medwsss.study.integrity.blocks import Mapped
from medwsss.study.integrity.pictures import check_bmp, check_jpeg, check_png
from medwsss.study.integrity.rasters import check_tiff
from medwsss.study.integrity.volumes import check_dicom, check_gzip, check_nifti, check_nifti_gzip

__all__ = ["verify"]

_BY_NAME: dict[str, Callable[[Mapped], None]] = {".nii.gz": check_nifti_gzip, ".nii": check_nifti, ".gz": check_gzip}
# whatever their name is: where the first bytes are, what they are
_BY_CONTENT: tuple[tuple[int, bytes, Callable[[Mapped], None]], ...] = (
    (128, b"DICM", check_dicom),  # whose first bytes may be a TIFF's
    (0, b"\x89PNG\r\n\x1a\n", check_png),
    (0, b"\xff\xd8", check_jpeg),
    (0, b"BM", check_bmp),
    (0, b"II*\0", check_tiff),
    (0, b"II+\0", check_tiff),
    (0, b"MM\0*", check_tiff),
    (0, b"MM\0+", check_tiff),
    (0, b"\x93NUMPY", check_npy),
    (0, b"PK\x03\x04", check_npz),
    (0, b"\x89HDF\r\n\x1a\n", check_hdf5),
)
_UNCHECKED = (b"GIF8", b"RIFF")  # pictures that have no checksum, in files that are called .jpg or .png
_KNOWN = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".npy", ".npz", ".h5")


def verify(*paths: PathLike) -> None:
    """Look at every checksum and length of files, and of the DICOM files of folders.

    gzip, PNG, deflate in TIFF, NPZ and HDF5's filters have checksums: no damaged value passes. Plain NIfTI, BMP, JPEG,
    other TIFF, NPY and DICOM have none: what is seen is that a file is cut short or longer than it says, and headers
    that are impossible or declare another size than what follows. A kind of file that isn't known passes.

    Raises:
        ValueError: naming the file and what is damaged.
    """
    for path in map(Path, paths):
        if path.is_dir():
            verify(*sorted(file for file in path.iterdir() if file.is_file()))
            continue
        try:
            _verify(path)
        except (FileNotFoundError, PermissionError) as error:
            raise ValueError(f"expected a readable file, got {error}") from error
        except Exception as error:  # whatever a library raises: the user has to know which file it is
            reason = " ".join(str(error).split())
            if not reason.startswith("expected"):
                reason = f"{type(error).__name__}: {reason}"
            raise ValueError(f"expected a readable image, got a damaged file {path}: {reason}; get it again") from error


def _verify(path: Path) -> None:
    name = path.name.lower()
    with open(path, "rb") as file:
        if not file.read(1):
            raise ValueError("expected an image, got an empty file")
        with Mapped(file.fileno(), 0, access=ACCESS_READ) as data:
            check = next((check for ending, check in _BY_NAME.items() if name.endswith(ending)), None)
            if check is None:
                check = next((check for at, magic, check in _BY_CONTENT if data[at : at + len(magic)] == magic), None)
            if check is not None:
                check(data)
            elif name.endswith(_KNOWN) and not data[:4] in _UNCHECKED:
                raise ValueError(f"expected the content that the name tells, got {data[:8]!r} at its beginning")
