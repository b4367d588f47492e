# SPDX-License-Identifier: Apache-2.0
"""NPY, NPZ and HDF5."""

from __future__ import annotations

import math
import zipfile
from typing import IO, Any, cast

import numpy as np
from monai.utils import optional_import

from medwsss.study.integrity.blocks import BLOCK, Mapped, check_size

h5py, has_h5py = optional_import("h5py")


def check_npy(data: Mapped) -> None:
    """As many bytes as the header's shape and type say; no Python objects. There is no checksum."""
    _check_array(data, len(data))


def check_npz(data: Mapped) -> None:
    """Every array to its CRC-32, and as many bytes as its header says."""
    with zipfile.ZipFile(cast(IO[bytes], data)) as archive:
        if not archive.infolist():
            raise ValueError("expected arrays, got none")
        for member in archive.infolist():
            with archive.open(member) as stream:
                _check_array(stream, member.file_size)
                while stream.read(BLOCK):
                    pass  # its end compares checksums


def _check_array(stream: IO[bytes] | Mapped, length: int) -> None:
    version = np.lib.format.read_magic(stream)
    read = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}.get(version)
    if read is None:
        raise ValueError(f"expected version 1 or 2 of NPY, got {version}")
    shape, _, dtype = read(stream)
    if dtype.kind not in "biufc" or min(shape, default=1) < 1:
        raise ValueError(f"expected numbers, got {dtype} of shape {shape}")
    check_size(length - stream.tell(), math.prod(shape) * dtype.itemsize, max(shape, default=1), zeros=False)


def check_hdf5(data: Mapped) -> None:
    """All data sets can be read, which compares the checksums they have (Fletcher-32, deflate's Adler-32)."""
    if not has_h5py:  # then it will not be read either
        return
    with h5py.File(data, "r") as file:
        file.visititems(_read)


def _read(name: str, item: Any) -> None:
    if isinstance(item, h5py.Dataset):
        for part in item.iter_chunks() if item.chunks else [()]:
            item[part]
