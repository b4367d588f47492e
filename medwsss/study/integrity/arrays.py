# SPDX-License-Identifier: Apache-2.0
"""NPY, NPZ and HDF5."""

from __future__ import annotations

import math
import zipfile
from collections.abc import Callable, Iterable
from functools import partial
from typing import IO, Any, cast

import numpy as np
from monai.utils import optional_import

from medwsss.parallel import contained
from medwsss.study.integrity.blocks import BLOCK, Mapped, check_size

h5py, has_h5py = optional_import("h5py")

# Processor time that a data set may take: ten times what deflate needs, and at least
_SECONDS, _BYTES_A_SECOND = 10.0, 1e7


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
    """All data sets and attributes can be read, which compares the checksums they have (Fletcher-32, Adler-32).

    On some damage HDF5's library crashes, or loops for ever, so that this is done in a process of its own.
    """
    if has_h5py:  # else it will not be read either
        contained(partial(_read_all, data))


def _read_all(data: Mapped, allow: Callable[[float], None]) -> None:
    def read(name: str, item: Any) -> None:
        parts: Iterable[Any] = ()
        seconds = _SECONDS
        if isinstance(item, h5py.Dataset):
            parts = item.iter_chunks() if item.chunks else [()]
            seconds += item.size * item.dtype.itemsize / _BYTES_A_SECOND
        allow(seconds)
        _ = dict(item.attrs)
        for part in parts:
            item[part]

    allow(_SECONDS)
    with h5py.File(data, "r") as file:
        read("/", file)
        file.visititems(read)
